import { statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { MetricDefinition, MetricHandles } from './metrics.js';

/** How full the disk below a service's own folder is; `folder` is what the folder is for (`work`, `state`), never its path. */
export const diskMetrics = [
  {
    kind: 'gauge',
    name: 'plumb_disk_free_bytes',
    help: 'Bytes that this service may still write on the file system of its folder.',
    labels: ['folder'],
  },
  {
    kind: 'gauge',
    name: 'plumb_disk_size_bytes',
    help: 'Size of the file system of the folder.',
    labels: ['folder'],
  },
] as const satisfies readonly MetricDefinition[];

const everyMs = 15_000;

/**
 * Measures the file system of `path` from now on, without keeping the process alive. A folder that does not exist yet is measured by the
 * nearest one above it that does. What cannot be read is told to `onError` once in a row and leaves the last figures standing.
 */
export function watchDisk(
  measures: MetricHandles<typeof diskMetrics>,
  folder: 'work' | 'state',
  path: string,
  onError: (error: unknown) => void,
): void {
  let looking = false;
  let failing = false;
  const look = async (): Promise<void> => {
    // A file system that hangs must not collect questions.
    if (looking) return;
    looking = true;
    try {
      const { freeBytes, sizeBytes } = await spaceAt(path);
      measures.plumb_disk_free_bytes.set(freeBytes, { folder });
      measures.plumb_disk_size_bytes.set(sizeBytes, { folder });
      failing = false;
    } catch (error) {
      if (!failing) onError(error);
      failing = true;
    } finally {
      looking = false;
    }
  };
  void look();
  setInterval(() => void look(), everyMs).unref();
}

/** Space on the file system of `path`, or of the nearest folder above it that exists. Throws what the system says otherwise. */
export async function spaceAt(path: string): Promise<{ freeBytes: number; sizeBytes: number }> {
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    try {
      const { bavail, blocks, bsize } = await statfs(folder);
      return { freeBytes: bavail * bsize, sizeBytes: blocks * bsize };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || folder === dirname(folder)) throw error;
    }
  }
}
