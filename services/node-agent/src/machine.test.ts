import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { cgroupLimitBytes, hostPool, measureMachine } from './machine.js';

const GIB = 1024 ** 3;
const roots: string[] = [];
afterEach(() => roots.splice(0).forEach((root) => rmSync(root, { recursive: true })));

function fileSystem(files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'plumb-machine-'));
  roots.push(root);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

describe('the limit of a control group', () => {
  it.each<[string, Record<string, string>, number | undefined]>([
    ['none without control groups', {}, undefined],
    [
      'none when version 2 says max',
      { 'proc/self/cgroup': '0::/a\n', 'sys/fs/cgroup/a/memory.max': 'max\n' },
      undefined,
    ],
    ['that of version 2', { 'proc/self/cgroup': '0::/a\n', 'sys/fs/cgroup/a/memory.max': '1073741824\n' }, GIB],
    [
      'the one of a group above',
      {
        'proc/self/cgroup': '0::/plumb.slice/agent.service\n',
        'sys/fs/cgroup/plumb.slice/agent.service/memory.max': 'max\n',
        'sys/fs/cgroup/plumb.slice/memory.max': '2147483648\n',
      },
      2 * GIB,
    ],
    [
      'that of a container, whose own group is the root',
      { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/memory.max': '3221225472\n' },
      3 * GIB,
    ],
    [
      'that of version 1, found at the root when the path is that of the host',
      {
        'proc/self/cgroup': '5:devices:/x\n4:cpu,memory:/docker/abc\n1:name=systemd:/docker/abc\n',
        'sys/fs/cgroup/memory/memory.limit_in_bytes': '4294967296\n',
      },
      4 * GIB,
    ],
    [
      'none when version 1 says its largest number',
      { 'proc/self/cgroup': '4:memory:/\n', 'sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n' },
      undefined,
    ],
    [
      'the smaller one where both versions are mounted',
      {
        'proc/self/cgroup': '4:memory:/a\n0::/a\n',
        'sys/fs/cgroup/memory/a/memory.limit_in_bytes': '4294967296\n',
        'sys/fs/cgroup/unified/a/memory.max': '1073741824\n',
      },
      GIB,
    ],
    [
      'nothing outside the mount, wherever a path points',
      {
        'proc/self/cgroup': '0::/../../secret\n',
        'secret/memory.max': '5\n',
        'sys/fs/cgroup/memory.max': '1073741824\n',
      },
      GIB,
    ],
    ['none for garbage', { 'proc/self/cgroup': 'garbage\n0::/a\n', 'sys/fs/cgroup/a/memory.max': '-1\n' }, undefined],
  ])('is %s', (_what, files, expected) => expect(cgroupLimitBytes(fileSystem(files))).toBe(expected));
});

describe('the pool', () => {
  it('is nine tenths of what may be used, and leaves the system its reserve', () => {
    const machine = { totalBytes: 128 * GIB, unified: false, reserveBytes: 12.8 * GIB };
    expect(hostPool(machine)).toEqual({ id: 'host', kind: 'host', budgetBytes: Math.floor(115.2 * GIB) });
    expect(hostPool({ ...machine, limitBytes: 10 * GIB }).budgetBytes).toBe(9 * GIB);
    expect(hostPool({ ...machine, totalBytes: 16 * GIB, reserveBytes: 4 * GIB }).budgetBytes).toBe(12 * GIB);
    expect(hostPool({ ...machine, totalBytes: 2 * GIB, reserveBytes: 4 * GIB }).budgetBytes).toBe(0);
    expect(hostPool({ ...machine, unified: true }).kind).toBe('unified');
    expect(hostPool(machine, 5).budgetBytes).toBe(5);
  });

  it('never promises more than the limit, the machine, or what the reserve leaves', () => {
    const bytes = fc.integer({ min: 0, max: 2 ** 45 });
    fc.assert(
      fc.property(bytes, fc.option(bytes, { nil: undefined }), bytes, (totalBytes, limitBytes, reserveBytes) => {
        const { budgetBytes } = hostPool({
          totalBytes,
          reserveBytes,
          unified: false,
          ...(limitBytes === undefined ? {} : { limitBytes }),
        });
        expect(Number.isSafeInteger(budgetBytes)).toBe(true);
        expect(budgetBytes).toBeGreaterThanOrEqual(0);
        expect(budgetBytes).toBeLessThanOrEqual(
          Math.min(limitBytes ?? Infinity, Math.max(0, totalBytes - reserveBytes)),
        );
      }),
    );
  });

  it('of this machine is within what Node itself reports', () => {
    const machine = measureMachine();
    const constrained = process.constrainedMemory();
    const known = constrained > 0 ? Math.min(constrained, machine.totalBytes) : machine.totalBytes;
    expect(hostPool(machine).budgetBytes).toBeLessThanOrEqual(known);
  });
});
