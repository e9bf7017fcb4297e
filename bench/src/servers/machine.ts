import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, totalmem, type } from 'node:os';
import { join } from 'node:path';
import { median } from '../report/statistics.js';

/** What the figures were measured on; `folder` is on the disk that the servers write to. */
export function machineOf(folder: string): Record<string, string | number> {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    'memory GiB': Math.round(totalmem() / 1024 ** 3),
    'fdatasync µs': flushMicroseconds(folder),
    'load at start': Math.round((loadavg()[0] ?? 0) * 100) / 100,
    os: type(),
    node: process.versions.node,
  };
}

const flushes = 200;

/** Median time of writing 8 KiB over the same place of a file and flushing it: what one commit costs at least. As pg_test_fsync's fdatasync. */
export function flushMicroseconds(folder: string): number {
  const path = join(folder, 'flush-probe');
  const file = openSync(path, 'w');
  const block = Buffer.alloc(8_192, 1);
  try {
    const times: number[] = [];
    for (let i = 0; i < flushes; i++) {
      const startedAt = performance.now();
      writeSync(file, block, 0, block.length, 0);
      fdatasyncSync(file);
      times.push((performance.now() - startedAt) * 1_000);
    }
    return Math.round(median(times));
  } finally {
    closeSync(file);
    rmSync(path);
  }
}
