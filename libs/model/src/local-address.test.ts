import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isLocalAddress } from './local-address.js';

const LOCAL = [
  '127.0.0.1',
  '127.255.255.254',
  '10.0.0.1',
  '10.255.255.255',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.0.1',
  '169.254.10.10',
  '::1',
  '[::1]',
  '0:0:0:0:0:0:0:1',
  'fe80::1',
  'fe80::1%eth0',
  '[fe80::1%25en0]',
  'febf::1',
  'fc00::1',
  'fdff:ffff::1',
  'FD00::A',
  '::ffff:127.0.0.1',
  '::ffff:10.1.2.3',
  '::ffff:c0a8:1',
  '0:0:0:0:0:ffff:192.168.1.1',
  'localhost',
  'LOCALHOST',
  'localhost.',
  'model.localhost',
  'mac-studio.local',
  'mac-studio.local.',
  'a.b.local',
];
const FOREIGN = [
  '8.8.8.8',
  '0.0.0.0',
  '::',
  '11.0.0.1',
  '9.255.255.255',
  '172.15.255.255',
  '172.32.0.1',
  '192.167.255.255',
  '192.169.0.1',
  '169.253.0.1',
  '128.0.0.1',
  '100.64.0.1',
  '198.18.0.1',
  '224.0.0.1',
  '255.255.255.255',
  '2001:db8::1',
  'fec0::1',
  'fe7f::1',
  'fbff::1',
  'fe00::1',
  'ff02::1',
  '::ffff:8.8.8.8',
  '::ffff:808:808',
  '::7f00:1',
  '::127.0.0.1',
  '64:ff9b::7f00:1',
  '2002:7f00:1::',
  '::fffe:7f00:1',
  '::2',
  // Other spellings of 127.0.0.1 and 10.0.0.1, which readers disagree about.
  '2130706433',
  '0x7f000001',
  '017700000001',
  '0177.0.0.1',
  '127.1',
  '127.0.1',
  '010.0.0.1',
  '0x7f.0.0.1',
  '127.0.0.1.',
  '127.0.0.01',
  '１２７.0.0.1',
  ' 127.0.0.1',
  '127.0.0.1 ',
  '127.0.0.1:80',
  '127.0.0.1/8',
  '127.0.0.1%eth0',
  '10.0.0',
  '[127.0.0.1',
  '',
  '.',
  'local',
  'localhost.example.com',
  'example.com',
  'local.example.com',
  'notlocal',
  'xlocalhost',
  'a..local',
  'a b.local',
  '127.0.0.1.nip.io',
  'evil.com#.local',
  'evil.com/.local',
  '[::1',
  '::1]',
  '%::1',
  '::1%',
  'localhost\n',
  'a.local\0',
];

describe('isLocalAddress', () => {
  it.each(LOCAL)('%j is local', (host) => expect(isLocalAddress(host)).toBe(true));
  it.each(FOREIGN)('%j is not', (host) => expect(isLocalAddress(host)).toBe(false));

  it('judges an IPv4-mapped address as the address inside, in every spelling', () => {
    const part = fc.integer({ min: 0, max: 255 });
    fc.assert(
      fc.property(fc.tuple(fc.constantFrom(10, 127, 172, 192, 169, 8), part, part, part), ([a, b, c, d]) => {
        const plain = `${a}.${b}.${c}.${d}`;
        const groups = [a * 256 + b, c * 256 + d].map((group) => group.toString(16));
        const expected = isLocalAddress(plain);
        expect(isLocalAddress(`::ffff:${plain}`)).toBe(expected);
        expect(isLocalAddress(`::ffff:${groups.join(':')}`)).toBe(expected);
        expect(isLocalAddress(`[0000:0:0:0:0:FFFF:${groups.map((g) => g.padStart(4, '0')).join(':')}]`)).toBe(expected);
      }),
      { seed: 21 },
    );
  });

  it('is total: never throws, and the answer does not depend on case', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.ipV6(), fc.domain(), fc.ipV4Extended()), (host) => {
        expect(isLocalAddress(host.toUpperCase())).toBe(isLocalAddress(host.toLowerCase()));
      }),
      { seed: 22, numRuns: 500 },
    );
  });
});
