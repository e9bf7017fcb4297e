import { BlockList, isIP } from 'node:net';

/**
 * The networks of the house: loopback, RFC 1918, link-local (RFC 3927, RFC 4291) and unique local (RFC 4193).
 * Carrier-grade NAT (100.64.0.0/10) is left out: it is shared with strangers, and overlay networks that use it can be
 * allowed by name.
 */
const LOCAL = new BlockList();
LOCAL.addSubnet('127.0.0.0', 8, 'ipv4');
LOCAL.addSubnet('10.0.0.0', 8, 'ipv4');
LOCAL.addSubnet('172.16.0.0', 12, 'ipv4');
LOCAL.addSubnet('192.168.0.0', 16, 'ipv4');
LOCAL.addSubnet('169.254.0.0', 16, 'ipv4');
LOCAL.addAddress('::1', 'ipv6');
LOCAL.addSubnet('fe80::', 10, 'ipv6');
LOCAL.addSubnet('fc00::', 7, 'ipv6');

const MAPPED = new BlockList();
MAPPED.addSubnet('::ffff:0:0', 96, 'ipv6');

/**
 * Whether `host` is, by its spelling alone, a machine of the house: an IP address in loopback, private or link-local
 * space (IPv4-mapped IPv6 judged by the IPv4 address inside), `localhost`, or a name under `.localhost` or `.local`.
 *
 * Fails closed. Only the canonical spelling of an address is one: `010.0.0.1` is 10.0.0.1 to one reader and 8.0.0.1 to
 * another, so decimal, octal, hexadecimal and shortened forms are not local; nor are 0.0.0.0 and ::, other names, or
 * ''. A name is only a claim: whoever connects must judge the addresses it resolves to (see `checkEndpoint`).
 */
export function isLocalAddress(host: string): boolean {
  const bare = (/^\[(.*)\]$/.exec(host)?.[1] ?? host).toLowerCase();
  const address = bare.includes(':') ? bare.replace(/%[^%\]]+$/, '') : bare;
  const family = isIP(address);
  if (family === 4) return LOCAL.check(address, 'ipv4');
  if (family === 6) {
    const mapped = MAPPED.check(address, 'ipv6') ? mappedIpv4(address) : undefined;
    return mapped === undefined ? LOCAL.check(address, 'ipv6') : LOCAL.check(mapped, 'ipv4');
  }
  const name = bare.replace(/\.$/, '');
  return /^(?:[a-z0-9_-]{1,63}\.)*(?:localhost|local)$/.test(name) && name !== 'local';
}

/** The IPv4 address inside an IPv4-mapped IPv6 address in any of its spellings. */
function mappedIpv4(address: string): string {
  const compact = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const [high = 0, low = 0] = compact
    .split(':')
    .slice(-2)
    .map((group) => Number.parseInt(group, 16));
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
}
