import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IDENTITIES } from '@plumbline/bus';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { prepareSecrets, putGiven } from '../deploy/start/prepare-secrets.mjs';

const FOLDERS = [
  'ledger',
  'scheduler',
  'coder',
  'gate',
  'reviewer',
  'code-host',
  'node-agent',
  'migrate',
  'nats',
  'postgres',
  'grafana',
  'operator',
];
let root: string;
let umask: number;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'plumb-secrets-'));
  for (const name of FOLDERS) mkdirSync(join(root, name));
  umask = process.umask(0);
});
afterEach(() => {
  process.umask(umask);
  rmSync(root, { recursive: true });
});

const secret = (path: string): string => readFileSync(join(root, path), 'utf8');
const everything = (): Record<string, string> =>
  Object.fromEntries(
    FOLDERS.flatMap((folder) =>
      readdirSync(join(root, folder)).map((name) => [`${folder}/${name}`, secret(`${folder}/${name}`)]),
    ),
  );

describe('the secrets of the containers', () => {
  it('are those that each service needs, and nobody else has the database', () => {
    prepareSecrets(root);
    const held = Object.fromEntries(FOLDERS.map((folder) => [folder, readdirSync(join(root, folder)).sort()]));
    const worker = ['api-token', 'nats-password'];
    expect(held).toEqual({
      ledger: ['api-token', 'database-password', 'database-url', 'nats-password'],
      scheduler: ['nats-password'],
      coder: worker,
      gate: worker,
      reviewer: worker,
      'code-host': ['api-token', 'git-ssh-key', 'git-token', 'nats-password', 'ssh-known-hosts'],
      'node-agent': ['nats-password'],
      migrate: ['admin-password', 'database-admin-url', 'database-url', 'ledger-password'],
      nats: ['nats.conf'],
      postgres: ['password'],
      grafana: ['admin-password'],
      operator: ['api-token', 'nats-password', 'nats-user-password'],
    });
    expect(secret('ledger/database-url')).toBe(
      `postgres://plumb_ledger:${secret('ledger/database-password')}@postgres:5432/plumbline`,
    );
    expect(secret('migrate/database-admin-url')).toContain(`//plumb_admin:${secret('postgres/password')}@`);
    expect(secret('migrate/database-url')).toBe(secret('ledger/database-url'));
  });

  it('differ from one another, but for the token that all show to the ledger', () => {
    prepareSecrets(root);
    const passwords = Object.entries(everything()).filter(
      ([name, text]) => /(password|token)$/.test(name) && text !== '',
    );
    const tokens = passwords.filter(([name]) => name.endsWith('api-token'));
    expect(new Set(tokens.map(([, text]) => text)).size).toBe(1);
    // Two of the database's stand in two places each: with their owner and with who migrates.
    const others = passwords.filter(([name]) => !name.endsWith('api-token')).map(([, text]) => text);
    expect(new Set(others).size).toBe(others.length - 2);
    for (const text of others) expect(text).toMatch(/^[0-9a-f]{48}$/);
  });

  it('give the broker every identity with its password, and its monitoring to nobody outside', () => {
    prepareSecrets(root);
    const config = secret('nats/nats.conf');
    for (const { name } of IDENTITIES) expect(config).toContain(`user: "${name}"`);
    expect(config).toContain(`user: "gate"\n        password: "${secret('gate/nats-password')}"`);
    expect(config).toContain(`user: "user"\n        password: "${secret('operator/nats-user-password')}"`);
    expect(config.match(/http:.*/g)).toEqual(['http: "127.0.0.1:8222"']);
  });

  it('can be read by their group and written by nobody, those put by hand by their owner alone', () => {
    prepareSecrets(root);
    const mode = (path: string): string => (statSync(join(root, path)).mode & 0o777).toString(8);
    expect(
      Object.keys(everything())
        .map((path) => mode(path))
        .sort(),
    ).toEqual([...Array(3).fill('400'), ...Array(24).fill('440')]);
    expect(mode('code-host/git-ssh-key')).toBe('400');
  });

  it('stay as they are when it is run again', () => {
    expect(prepareSecrets(root)).not.toEqual([]);
    const before = everything();
    expect(prepareSecrets(root)).toEqual([]);
    expect(everything()).toEqual(before);
  });

  it('that were lost are made again, and whoever shares them is told; what a kill left behind is no hindrance', () => {
    prepareSecrets(root);
    const before = everything();
    for (const lost of ['gate/nats-password', 'coder/api-token', 'postgres/password']) rmSync(join(root, lost));
    writeFileSync(join(root, 'gate', 'nats-password.new'), 'half', { mode: 0o400 });
    expect(prepareSecrets(root)).toEqual([
      'gate/nats-password',
      'nats/nats.conf',
      'coder/api-token',
      'postgres/password',
    ]);
    const after = everything();
    expect(after['gate/nats-password']).not.toBe(before['gate/nats-password']);
    expect(after['nats/nats.conf']).toContain(after['gate/nats-password']);
    // The database knows its password already; a new one would lock everybody out.
    expect(after['postgres/password']).toBe(before['postgres/password']);
    expect(after['coder/api-token']).toBe(before['ledger/api-token']);
    expect(Object.keys(after)).toEqual(Object.keys(before));
  });

  it('that an empty file stands for are made', () => {
    writeFileSync(join(root, 'ledger', 'api-token'), '');
    prepareSecrets(root);
    expect(secret('ledger/api-token')).toHaveLength(48);
  });
});

describe('a secret put by hand', () => {
  it('is kept as it was read, and survives the next run', () => {
    prepareSecrets(root);
    putGiven(root, 'git-ssh-key', '-----BEGIN\nkey\n');
    expect(prepareSecrets(root)).toEqual([]);
    expect(secret('code-host/git-ssh-key')).toBe('-----BEGIN\nkey\n');
    putGiven(root, 'git-ssh-key', '');
    expect(secret('code-host/git-ssh-key')).toBe('');
  });

  it.each(['api-token', '../ledger/api-token', 'constructor', undefined])('is refused as %s', (name) => {
    expect(() => putGiven(root, name, 'x')).toThrow('expected git-token, git-ssh-key, ssh-known-hosts');
  });

  it('is refused when it is none, by its size', () => {
    expect(() => putGiven(root, 'git-token', 'x'.repeat(65_537))).toThrow('has 65537 characters');
  });
});
