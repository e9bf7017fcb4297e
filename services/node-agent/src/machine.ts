import { readFileSync } from 'node:fs';
import { arch, platform, totalmem } from 'node:os';
import { join, posix } from 'node:path';
import type { Pool } from '@plumbline/domain';

export const hostPoolId = 'host';

const GIB = 1024 ** 3;
/** No pool is planned to the brim. */
const USABLE_SHARE = 0.9;
/** What the system and its other processes keep, at least; Apple's system needs more. */
const RESERVE_SHARE = 0.1;
const RESERVE_BYTES = 4 * GIB;
const APPLE_RESERVE_BYTES = 8 * GIB;

/** A machine's memory as measured. */
export interface Machine {
  readonly totalBytes: number;
  /** The smallest limit that a control group puts on this process; absent without one. */
  readonly limitBytes?: number;
  /** One memory for processor and accelerator. */
  readonly unified: boolean;
  readonly reserveBytes: number;
}

/** Measures this machine. `root` is the file system's, for tests. */
export function measureMachine(root = '/'): Machine {
  const totalBytes = totalmem();
  const apple = platform() === 'darwin';
  const limitBytes = cgroupLimitBytes(root);
  return {
    totalBytes,
    ...(limitBytes === undefined ? {} : { limitBytes }),
    unified: apple && arch() === 'arm64',
    reserveBytes: Math.max(apple ? APPLE_RESERVE_BYTES : RESERVE_BYTES, Math.floor(totalBytes * RESERVE_SHARE)),
  };
}

/**
 * The one pool of a machine: nine tenths of what this process may use, and never what the system needs. Zero when nothing is left; no
 * model is admitted to it then. A `givenBytes` of the operator replaces the measurement.
 */
export function hostPool(machine: Machine, givenBytes?: number): Pool {
  const capacityBytes = Math.min(machine.totalBytes, machine.limitBytes ?? Infinity);
  const measured = Math.min(Math.floor(capacityBytes * USABLE_SHARE), machine.totalBytes - machine.reserveBytes);
  return {
    id: hostPoolId,
    kind: machine.unified ? 'unified' : 'host',
    budgetBytes: givenBytes ?? Math.max(0, measured),
  };
}

/**
 * The smallest memory limit of this process's control group and all groups above it, in version 2 and version 1 (a machine may have both);
 * undefined without one. A limit may stand on any level: the group of a service often has none while its slice has.
 */
export function cgroupLimitBytes(root = '/'): number | undefined {
  const groups = read(join(root, 'proc/self/cgroup')) ?? '';
  const limits = groups.split('\n').flatMap((line) => {
    const [, controllers = '', group = ''] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (group === '') return [];
    if (controllers === '') {
      const mounts = ['sys/fs/cgroup', 'sys/fs/cgroup/unified'];
      return mounts.flatMap((mount) => limitsAbove(join(root, mount), group, 'memory.max'));
    }
    if (!controllers.split(',').includes('memory')) return [];
    return limitsAbove(join(root, 'sys/fs/cgroup/memory'), group, 'memory.limit_in_bytes');
  });
  const smallest = Math.min(...limits);
  // Version 1 writes "no limit" as the largest multiple of a page below 2^63.
  return smallest < Number.MAX_SAFE_INTEGER ? smallest : undefined;
}

/** The limits from a group up to the root. In a container the path may be the host's while only the container's own group is mounted. */
function limitsAbove(mount: string, group: string, file: string): number[] {
  const limits: number[] = [];
  for (let at = posix.normalize(group); ; at = posix.dirname(at)) {
    const text = read(join(mount, at, file))?.trim();
    if (text !== undefined && /^\d+$/.test(text)) limits.push(Number(text));
    if (at === '/') return limits;
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
