import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { diskMetrics, spaceAt, watchDisk } from './disk.js';
import { Metrics } from './metrics.js';

describe('the space of a folder', () => {
  it('is what df says of its file system', async () => {
    const said = execFileSync('df', ['-kP', tmpdir()], { encoding: 'utf8' }).trim().split('\n').at(-1)?.split(/\s+/);
    const { sizeBytes, freeBytes } = await spaceAt(tmpdir());
    expect(Math.abs(sizeBytes / 1_024 - Number(said?.[1]))).toBeLessThan(4_096);
    // Others write meanwhile.
    expect(Math.abs(freeBytes / 1_024 - Number(said?.[3]))).toBeLessThan(1_048_576);
  });

  it('is that of the nearest folder above while the folder does not exist', async () => {
    expect(await spaceAt(join(tmpdir(), 'no', 'such', 'folder'))).toMatchObject({
      sizeBytes: (await spaceAt(tmpdir())).sizeBytes,
    });
  });

  it('is not known below a file, and the gauges then say nothing', async () => {
    const metrics = new Metrics({ processDefaults: false });
    const { promise, resolve } = Promise.withResolvers<unknown>();
    watchDisk(metrics.register(diskMetrics), 'work', '/dev/null/below', resolve);
    expect(await promise).toMatchObject({ code: 'ENOTDIR' });
    expect((await metrics.page()).text).not.toMatch(/^plumb_disk/m);
  });

  it('stands in the gauges under what the folder is for', async () => {
    const metrics = new Metrics({ processDefaults: false });
    watchDisk(metrics.register(diskMetrics), 'state', tmpdir(), () => undefined);
    let text = '';
    while (!text.includes('plumb_disk_size_bytes{')) {
      await new Promise((next) => setImmediate(next));
      text = (await metrics.page()).text;
    }
    expect(text).toMatch(/^plumb_disk_free_bytes\{folder="state"\} [1-9]/m);
  });
});
