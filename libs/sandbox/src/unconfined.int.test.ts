import { mkdtempSync, realpathSync, rmSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSandbox } from './open-sandbox.js';
import type { RunSpec, Sandbox } from './sandbox.js';

let sandbox: Sandbox;
let work: string;
const limits = {
  wallMs: 10_000,
  memoryBytes: 1 << 28,
  pids: 32,
  outputBytes: 10_000,
  tmpBytes: 1 << 20,
  fileBytes: 1 << 20,
};
const sh = (script: string, more: Partial<RunSpec> = {}) =>
  sandbox.run({
    ...{
      argv: ['/bin/sh', '-c', script],
      cwd: '/work',
      mounts: [{ host: work, inside: '/work', mode: 'rw' }],
      env: {},
      limits,
    },
    ...{ network: 'none', ...more },
  });

beforeEach(async () => {
  sandbox = await openSandbox({ kind: 'none' });
  work = realpathSync(mkdtempSync(join(tmpdir(), 'unconfined-test-')));
});
afterEach(() => rmSync(work, { recursive: true, force: true }));

describe('running without a sandbox, by explicit choice', () => {
  it('says so', () => {
    expect(sandbox.kind).toBe('none');
    expect(sandbox.isolation).toContain('no namespaces');
  });

  it('translates the working directory, passes input and clears the environment', async () => {
    const result = await sh('pwd; cat; env | grep -c ^PLUMB_PROBE', { stdin: 'in\n' });
    expect(result).toMatchObject({ outcome: 'exited', payloadRan: true, exitCode: 1, stdout: `${work}\nin\n0\n` });
  });

  it('keeps the limits of time and output', async () => {
    const marker = `7${process.pid}1`;
    const late = await sh(`sleep ${marker} & sleep ${marker}`, { limits: { ...limits, wallMs: 300 } });
    expect(late).toMatchObject({ outcome: 'timed-out', exitCode: null });
    const left = readdirSync('/proc').filter((pid) => {
      try {
        return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(marker);
      } catch {
        return false;
      }
    });
    expect(left).toEqual([]);
    expect(await sh('yes')).toMatchObject({ outcome: 'output-limit', truncated: true });
    expect(await sh('sleep 60', { signal: AbortSignal.timeout(50) })).toMatchObject({ outcome: 'aborted' });
  });

  it('reports a program that cannot be started as not started', async () => {
    expect(await sh('', { argv: ['no-such-program'] })).toMatchObject({ outcome: 'not-started', payloadRan: false });
  });
});
