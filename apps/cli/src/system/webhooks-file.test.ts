import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { exitCodes } from '../failure.js';
import { checkWebhooksFile } from './webhooks-file.js';

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'plumb-webhooks-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const secret = `whsec_${Buffer.alloc(32, 5).toString('base64')}`;
const file = (value: unknown, mode = 0o600): string => {
  const path = join(folder, 'webhooks.json');
  writeFileSync(path, typeof value === 'string' ? value : JSON.stringify(value));
  chmodSync(path, mode);
  return path;
};

describe('the file of webhooks', () => {
  it('is taken as the ledger takes it, with a warning when others may read it', () => {
    const hooks = [{ name: 'phone', url: 'http://10.0.0.2/x', secret }];
    expect(checkWebhooksFile(file(hooks))).toBeUndefined();
    expect(checkWebhooksFile(file(hooks, 0o644))).toContain('chmod 600');
  });
  it.each([
    ['no JSON', '{', 'are no JSON'],
    ['no list', {}, 'the top'],
    ['a bad address', [{ name: 'a', url: 'hunter2', secret }], '0.url'],
    ['a bad secret', [{ name: 'a', url: 'http://h/', secret: 'hunter2' }], '0.secret'],
    ['an unknown field', [{ name: 'a', url: 'http://h/', secret, token: 'hunter2' }], '0'],
  ])('is refused with %s, and no value of it is quoted', (_name, value, why) => {
    let error: unknown;
    try {
      checkWebhooksFile(file(value));
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({ exitCode: exitCodes.usage, message: expect.stringContaining(why) as string });
    expect(String(error)).not.toContain('hunter2');
  });
  it('is refused when it is not there', () => {
    expect(() => checkWebhooksFile(join(folder, 'none.json'))).toThrow('cannot be read (ENOENT)');
  });
});
