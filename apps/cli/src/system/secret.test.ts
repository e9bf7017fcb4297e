import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { secretFrom } from './secret.js';

const folder = mkdtempSync(join(tmpdir(), 'plumb-secret-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'token');
writeFileSync(path, 'from-the-file\r\n');
const empty = join(folder, 'empty');
writeFileSync(empty, '\n');

describe('a secret', () => {
  it.each([
    ['of a variable', { PLUMB_API_TOKEN: 'plain' }, 'plain'],
    ['of a file', { PLUMB_API_TOKEN_FILE: path }, 'from-the-file'],
    ['of a file, the variable being empty', { PLUMB_API_TOKEN: '', PLUMB_API_TOKEN_FILE: path }, 'from-the-file'],
    ['of an empty file', { PLUMB_API_TOKEN_FILE: empty }, undefined],
    ['that nobody set', { PLUMB_API_TOKEN: '', PLUMB_API_TOKEN_FILE: '' }, undefined],
    ['of another name', { PLUMB_NATS_PASSWORD: 'other' }, undefined],
  ])('%s', (_what, env, expected) => {
    expect(secretFrom(env, 'PLUMB_API_TOKEN')).toBe(expected);
  });

  it('given both ways is refused, without repeating it', () => {
    const both = (): unknown => secretFrom({ PLUMB_API_TOKEN: 'plain', PLUMB_API_TOKEN_FILE: path }, 'PLUMB_API_TOKEN');
    expect(both).toThrow('PLUMB_API_TOKEN and PLUMB_API_TOKEN_FILE are both set.');
  });

  it('in a file that cannot be read names the file and why', () => {
    const missing = join(folder, 'missing');
    expect(() => secretFrom({ PLUMB_NATS_PASSWORD_FILE: missing }, 'PLUMB_NATS_PASSWORD')).toThrow(
      `PLUMB_NATS_PASSWORD_FILE names ${missing}, which cannot be read (ENOENT).`,
    );
  });
});
