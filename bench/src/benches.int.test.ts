import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { benchDocumentSchema } from '@plumbline/domain';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Report } from './report/document.js';

const program = join(resolve(dirname(fileURLToPath(import.meta.url)), '..'), 'dist', 'main.js');

/** Next to no load: what is shown here is that every benchmark runs and says what it should, never how fast it was. */
async function run(...args: string[]): Promise<Report> {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [program, ...args, '--json'], {
    maxBuffer: 1e7,
  });
  expect(stderr).toContain('bench: ');
  return JSON.parse(stdout) as Report;
}

const names = {
  append: [
    ...[1, 8, 16].flatMap((n) => [`append/single/${n}/same-indexes`, `append/single/${n}/primary-key-only`]),
    ...['append/batched/16x64', 'append/grouped/256x1', 'append/door/16/same-indexes'],
  ],
  latency: [
    ...['latency/append-to-projected/p50', 'latency/append-to-projected/p99', 'latency/intake-to-dispatch/p50'],
    ...['latency/intake-to-dispatch/p99', 'latency/intake-to-dispatch/sustained'],
  ],
  rebuild: ['rebuild/all-read-models'],
  relay: ['relay/log-to-jetstream'],
};
const targets = {
  'append/single/16/same-indexes': 0.6,
  'append/batched/16x64': 2.5,
  'latency/append-to-projected/p99': 50,
  'latency/intake-to-dispatch/sustained': 200,
  'rebuild/all-read-models': 40_000,
  'relay/log-to-jetstream': 0.6,
};

describe('the benchmarks', () => {
  let report: Report;
  beforeAll(async () => {
    expect(existsSync(program), `${program} is not built: npm run build`).toBe(true);
    report = await run('all', '--seconds', '0.05', '--rounds', '1', '--events', '300');
  }, 300_000);

  it('give one document with every figure', () => {
    expect(benchDocumentSchema.parse(report)).toMatchObject({ schema: 'plumbline.bench/1', bench: 'all' });
    expect(report.results.map(({ name }) => name)).toEqual(Object.values(names).flat());
    expect(report.machine).toMatchObject({
      postgres: expect.stringMatching(/^\d+/) as string,
      node: process.versions.node,
    });
    expect(report.machine['fdatasync µs']).toBeGreaterThan(0);
  });

  it('measure something, everywhere', () => {
    for (const { name, value, baseline, ratio } of report.results) {
      expect(value, name).toBeGreaterThan(0);
      if (baseline !== undefined) expect([baseline.value > 0, (ratio ?? 0) > 0], name).toEqual([true, true]);
    }
    const compared = report.results.filter(({ baseline }) => baseline !== undefined).map(({ name }) => name);
    expect(compared).toEqual(
      Object.values(names)
        .flat()
        .filter((name) => !name.endsWith('/sustained')),
    );
  });

  it('hold the promised figures against their targets', () => {
    const judged = report.results.filter(({ target }) => target !== undefined);
    expect(Object.fromEntries(judged.map(({ name, target }) => [name, target]))).toEqual(targets);
    for (const { name, value, ratio, target = 0, targetOf, targetIs, met } of judged) {
      const shown = targetOf === 'ratio' ? (ratio ?? Number.NaN) : value;
      expect(met, name).toBe(targetIs === 'at-most' ? shown <= target : shown >= target);
    }
  });
});
