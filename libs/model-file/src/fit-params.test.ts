import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Launch } from '@plumbline/domain';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runFitParams } from './fit-params.js';

const launch: Launch = {
  ctx: 8192,
  parallel: 2,
  unified: false,
  cells: 4096,
  streams: 2,
  keyType: 'q8_0',
  valueType: 'f16',
  swaFull: true,
  flashAttention: true,
  flashAttn: 'auto',
  batch: 2048,
  ubatchFlag: 512,
  ubatch: 512,
  cacheRamMiB: 0,
  ctxCheckpoints: 0,
  device: 'cpu',
};
const MiB = 1024 * 1024;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fit-params-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A program in the place of llama-fit-params. */
async function standIn(script: string): Promise<string> {
  const path = join(folder, 'fit');
  await writeFile(path, `#!/bin/sh\necho "$@" > ${folder}/arguments\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}

describe('llama-fit-params', () => {
  it('gives figures that are never below what it printed', async () => {
    const binary = await standIn('echo "some log"; echo "Host 4932 4096 258"');
    expect(await runFitParams(binary, 'm.gguf', launch)).toEqual({
      model: 4933 * MiB,
      context: 4097 * MiB,
      compute: 259 * MiB,
    });
    expect((await readFile(join(folder, 'arguments'), 'utf8')).trim()).toBe(
      '-m m.gguf -fitp on --fit off -c 8192 -np 2 -b 2048 -ub 512 -ctk q8_0 -ctv f16 -fa auto -ngl 0 --no-repack --swa-full',
    );
  });

  it.each([
    ['that fails', 'echo "Host 1 1 1"; exit 3', /ended with 3/],
    ['that is killed', 'kill -ABRT $$', /ended with/],
    ['that prints nothing', 'true', /printed no line/],
    ['that prints something else', 'echo "CUDA0 1 2 3"; echo "Host 1 2"', /printed no line/],
  ])('%s is a failed step, never a 0', async (_, script, message) => {
    const binary = await standIn(script);
    await expect(runFitParams(binary, 'm.gguf', launch)).rejects.toMatchObject({
      fault: 'oracle-failed',
      message: expect.stringMatching(message) as string,
    });
  });

  it('is not asked what it cannot say', async () => {
    await expect(runFitParams('/none', 'm.gguf', { ...launch, unified: true })).rejects.toThrow(
      /shared by several slots/,
    );
    await expect(runFitParams('/none', 'm.gguf', { ...launch, device: 'gpu' })).rejects.toThrow(/host line/);
    await expect(runFitParams('/none', 'm.gguf', launch)).rejects.toThrow(/did not run/);
  });
});
