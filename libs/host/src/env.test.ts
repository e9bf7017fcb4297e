import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { envInteger, envJson, envUrl, parseEnv, readSecretFiles } from './env.js';

const folder = mkdtempSync(join(tmpdir(), 'plumb-env-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('secrets in files', () => {
  const path = join(folder, 'secret');
  writeFileSync(path, '  s3cret with spaces \r\n\n');

  it('reads PLUMB_X_FILE into PLUMB_X, without the line ends at the end', () => {
    const { env, problems } = readSecretFiles({ PLUMB_X_FILE: path });
    expect(env['PLUMB_X']).toBe('  s3cret with spaces ');
    expect(problems).toEqual([]);
  });

  it('takes an empty file for a secret that is not set', () => {
    const empty = join(folder, 'empty');
    writeFileSync(empty, '\n');
    const { env, problems } = readSecretFiles({ PLUMB_X_FILE: empty });
    expect(env).toEqual({ PLUMB_X_FILE: empty });
    expect(problems).toEqual([]);
  });

  it('refuses a variable given both ways, and names both', () => {
    const { env, problems } = readSecretFiles({ PLUMB_X_FILE: path, PLUMB_X: 'other' });
    expect(env['PLUMB_X']).toBe('other');
    expect(problems).toEqual(['PLUMB_X and PLUMB_X_FILE are both set; keep one of them.']);
  });

  it('says which file cannot be read and why', () => {
    const { problems } = readSecretFiles({ PLUMB_X_FILE: join(folder, 'missing'), PLUMB_Y_FILE: folder });
    expect(problems).toEqual([
      `PLUMB_X_FILE names ${join(folder, 'missing')}, which cannot be read (ENOENT); correct the path or its permissions.`,
      `PLUMB_Y_FILE names ${folder}, which cannot be read (EISDIR); correct the path or its permissions.`,
    ]);
  });

  it('leaves files of others alone and takes an empty variable for one that is not set', () => {
    const { env, problems } = readSecretFiles({
      OTHER_FILE: '/nowhere',
      PLUMB_X: '',
      PLUMB_X_FILE: path,
      PLUMB_Z: undefined,
    });
    expect(problems).toEqual([]);
    expect(env['PLUMB_X']).toContain('s3cret');
    expect(Object.keys(env).sort()).toEqual(['OTHER_FILE', 'PLUMB_X', 'PLUMB_X_FILE']);
  });
});

describe('problems', () => {
  const schema = z.object({
    PLUMB_COUNT: envInteger({ min: 1, max: 64 }),
    PLUMB_URL: envUrl(['http:'], 'http://127.0.0.1:80'),
    PLUMB_LIST: envJson(z.array(z.strictObject({ name: z.string() })), 'a list of names'),
    PLUMB_PLAIN: z.string(),
  });
  const problemsOf = (env: Record<string, string>): string[] => {
    const parsed = parseEnv(schema, env);
    return parsed.ok ? [] : parsed.problems;
  };

  it('is one sentence per variable that is not set, saying what it takes', () => {
    expect(problemsOf({})).toEqual([
      'PLUMB_COUNT is not set; give it a whole number from 1 to 64.',
      'PLUMB_URL is not set; give it a URL like http://127.0.0.1:80.',
      'PLUMB_LIST is not set; give it a list of names as JSON.',
      'PLUMB_PLAIN is not set; set it.',
    ]);
  });

  it('says where in a document the problem is', () => {
    const [problem] = problemsOf({
      PLUMB_COUNT: '1',
      PLUMB_URL: 'http://x',
      PLUMB_PLAIN: 'x',
      PLUMB_LIST: '[{"name":"a"},{"name":5}]',
    });
    expect(problem).toMatch(/^PLUMB_LIST \(at 1\.name\) is not usable: /);
  });

  it('never quotes a value: it may be a secret', () => {
    const secret = 'hunter2hunter2';
    const said = problemsOf({
      PLUMB_COUNT: secret,
      PLUMB_URL: `ftp://x:${secret}@y`,
      PLUMB_LIST: `{"${secret}"`,
      PLUMB_PLAIN: 'x',
    });
    expect(said).toHaveLength(3);
    expect(said.join()).not.toContain(secret);
  });
});

describe('envInteger', () => {
  it('takes decimal digits in range and nothing else', () => {
    const schema = envInteger({ min: 0, max: 65_535 });
    for (const text of [
      '',
      ' ',
      '-1',
      '+1',
      '1.0',
      '1e3',
      '0x10',
      ' 1',
      '1 ',
      '٣',
      '65536',
      '99999999999999999999',
      'NaN',
      'Infinity',
    ])
      expect(schema.safeParse(text).success, text).toBe(false);
    fc.assert(fc.property(fc.integer({ min: 0, max: 65_535 }), (n) => schema.parse(String(n)) === n));
    fc.assert(
      fc.property(
        fc.string(),
        (text) => schema.safeParse(text).success === (/^\d+$/.test(text) && Number(text) <= 65_535),
      ),
    );
  });
});
