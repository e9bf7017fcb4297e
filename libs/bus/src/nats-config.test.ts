import { describe, expect, it } from 'vitest';
import { IDENTITIES, type IdentityName } from './identities.js';
import { natsConfig, type NatsConfigOptions } from './nats-config.js';

const passwords = Object.fromEntries(IDENTITIES.map(({ name }) => [name, `secret-of-${name}`])) as Record<
  IdentityName,
  string
>;
const BASE: NatsConfigOptions = {
  identities: IDENTITIES,
  passwords,
  host: '127.0.0.1',
  port: 4333,
  storeDir: '/var/lib/plumb',
};
const config = (change: Partial<NatsConfigOptions> = {}): string => natsConfig({ ...BASE, ...change });
const coder = (password: string): string => config({ passwords: { ...passwords, coder: password } });

describe('the broker configuration', () => {
  it('has every identity with its password and its permissions, and no key that 2.9 does not know', () => {
    const text = config();
    for (const { name, publish } of IDENTITIES) {
      expect(text).toContain(`user: "${name}"`);
      expect(text).toContain(`password: "secret-of-${name}"`);
      expect(text).toContain(`"${publish[0]}"`);
    }
    expect(text).not.toMatch(/sync_interval|http:|tls/);
  });

  it('has monitoring, TLS and immediate flushing on demand', () => {
    const text = config({
      monitorPort: 8222,
      syncAlways: true,
      tls: { certFile: '/c.pem', keyFile: '/k.pem', caFile: '/ca.pem' },
    });
    expect(text).toContain('http: "127.0.0.1:8222"');
    expect(text).toContain('sync_interval: always');
    expect(text).toMatch(/cert_file: "\/c.pem"[\s\S]*verify: true/);
  });

  it.each([
    ['a double quote', 'abcdefgh"'],
    ['a backslash', 'abcdefgh\\'],
    ['a newline', 'abcdefgh\n}'],
    ['a space', 'abcd efgh'],
    ['not ASCII', 'abcdefgé'],
    ['a bcrypt mark', '$2a$11$abcdefgh'],
    ['too short', 'abc'],
    ['too long', 'x'.repeat(129)],
    ['the password of another identity', 'secret-of-gate'],
  ])('refuses %s in a password without repeating it', (_what, password) => {
    expect(() => coder(password)).toThrow(/password of (coder|gate)/);
    try {
      coder(password);
    } catch (error) {
      expect(String(error)).not.toContain(password);
    }
  });

  it('takes every other printable character', () => {
    const odd = `!#$%&'()*+,-./:;<=>?@[]^_{|}~`;
    expect(coder(odd)).toContain(`password: "${odd}"`);
  });

  it('refuses missing passwords, bad ports and paths, and rows that would allow everything', () => {
    const { coder: _none, ...rest } = passwords;
    expect(() => config({ passwords: rest })).toThrow(/no password for coder/);
    expect(() => config({ port: 0 })).toThrow(/port/);
    expect(() => config({ storeDir: '/a"\n}' })).toThrow(/storeDir/);
    expect(() => config({ host: '' })).toThrow(/host/);
    expect(() => config({ identities: [] })).toThrow(/let anybody in/);
    expect(() =>
      config({ identities: [{ name: 'coder', account: 'services', inboxPrefix: '_', publish: [], subscribe: ['a'] }] }),
    ).toThrow(/no publish permission/);
    expect(() =>
      config({
        identities: [{ name: 'coder', account: 'services', inboxPrefix: '_', publish: ['a" ] }'], subscribe: ['a'] }],
      }),
    ).toThrow(/is no subject/);
  });
});
