import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { identityOf } from '../system/process-identity.js';
import { readable, readyAddress, startService, type ServicePlan } from './service-process.js';

const stub = fileURLToPath(new URL('./stub-service.fixture.mjs', import.meta.url));
const alive = new AbortController().signal;
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'plumb-service-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const plan = (behaviour: string, change: Partial<ServicePlan> = {}): ServicePlan => ({
  name: 'stub',
  command: [process.execPath, stub],
  env: { STUB: behaviour, PATH: process.env['PATH'] ?? '' },
  cwd: folder,
  logPath: join(folder, 'stub.log'),
  readyTimeoutMs: 10_000,
  stopPatienceMs: 10_000,
  ...change,
});

describe('startService', () => {
  it('returns with the address once the service is ready, keeps its log private, and stops it cleanly', async () => {
    const service = await startService(plan('ready'), alive);
    expect(await (await fetch(service.http ?? '')).text()).toBe('ok');
    expect(identityOf(service.pid)).toBeDefined();
    expect(await service.stop()).toBe(true);
    expect(await service.exited).toEqual({ code: 0, signal: null });
    expect(identityOf(service.pid)).toBeUndefined();
    expect(readFileSync(join(folder, 'stub.log'), 'utf8')).toMatch(/ready[^]*bye/);
    expect(statSync(join(folder, 'stub.log')).mode & 0o077).toBe(0);
  });

  it('quotes the last words of a service that ends while starting', async () => {
    await expect(startService(plan('fail'), alive)).rejects.toMatchObject({
      message: 'The service stub ended while starting (exit code 2).',
      detail: ['hello', 'cannot start: the moon is in the way'],
    });
  });

  it('gives up on a service that never gets ready, and leaves nothing of it', async () => {
    const started = startService(plan('silent', { readyTimeoutMs: 400 }), alive);
    await expect(started).rejects.toMatchObject({ message: 'The service stub was not ready after 0.4 s.' });
  });

  it('says so when the program does not exist', async () => {
    const started = startService(plan('ready', { command: ['/nowhere/program'] }), alive);
    await expect(started).rejects.toMatchObject({ message: expect.stringMatching(/ended while starting/) as string });
  });

  it('stops starting when it is interrupted', async () => {
    const stop = new AbortController();
    const started = startService(plan('silent'), stop.signal);
    stop.abort();
    await expect(started).rejects.toMatchObject({ name: 'Interrupted' });
  });

  it('kills a service that does not stop in time', async () => {
    const service = await startService(plan('stubborn', { stopPatienceMs: 200 }), alive);
    expect(await service.stop()).toBe(false);
    expect(await service.exited).toEqual({ code: null, signal: 'SIGKILL' });
  });

  it('puts a log that has grown large aside', async () => {
    writeFileSync(join(folder, 'stub.log'), Buffer.alloc(11 * 1024 * 1024, 'x'));
    const service = await startService(plan('ready'), alive);
    await service.stop();
    expect(statSync(join(folder, 'stub.log.1')).size).toBe(11 * 1024 * 1024);
    expect(statSync(join(folder, 'stub.log')).size).toBeLessThan(10_000);
  });
});

describe('lines of services', () => {
  it('only the ready line carries an address', () => {
    expect(readyAddress('{"level":30,"msg":"ready","http":"http://127.0.0.1:1"}')).toBe('http://127.0.0.1:1');
    for (const line of [
      'ready',
      '{"msg":"ready"}',
      '{"msg":"almost","http":"http://x"}',
      '{"msg":"ready","http":1}',
      '{"ready"',
    ]) {
      expect(readyAddress(line)).toBeUndefined();
    }
  });

  it('are readable and cannot move the cursor', () => {
    expect(readable('{"msg":"no","err":{"message":"broker"}}')).toBe('no: broker');
    expect(readable('Error: \u001b[2Jboom')).toBe('Error: boom');
  });
});
