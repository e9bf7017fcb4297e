import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir, rmdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Limits } from './sandbox.js';

const PREFIX = 'plumbline-run-';
const STALE_AFTER_MS = 600_000;
const REMOVAL_WAIT_MS = 3_000;

/** Where groups for single runs can be made on this machine: one parent directory per controller (v1) or one for both (v2). */
export interface GroupRoot {
  readonly version: 1 | 2;
  readonly memory: string;
  readonly pids: string;
}

/**
 * Finds where this process may create control groups with memory and process limits, and proves it by making and removing one.
 * Returns null when it may not (read-only hierarchy, no delegation). Groups are made below this process's own group (or, with
 * v2, beside it), so that limits set from outside go on to apply. Leftovers of runs whose process died are swept on the way.
 */
export async function findGroupRoot(
  mountPoint = '/sys/fs/cgroup',
  selfFile = '/proc/self/cgroup',
): Promise<GroupRoot | null> {
  const lines = (await readFile(selfFile, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '');
  for (const root of [...v1Roots(mountPoint, lines), ...v2Roots(mountPoint, lines)]) {
    if (root.version === 2) await enableControllers(root.memory);
    if (!(await canHost(root))) continue;
    for (const parent of parents(root)) await sweep(parent);
    return root;
  }
  return null;
}

function v1Roots(mountPoint: string, lines: readonly string[]): GroupRoot[] {
  const pathOf = (controller: string): string | null => {
    const line = lines.find((entry) => (entry.split(':')[1] ?? '').split(',').includes(controller));
    const dir = line === undefined ? '' : join(mountPoint, controller, line.split(':').slice(2).join(':'));
    // Inside a container the path is often the host's; the container's own view then starts at the mount.
    return dir === '' ? null : existsSync(dir) ? dir : join(mountPoint, controller);
  };
  const memory = pathOf('memory');
  const pids = pathOf('pids');
  return memory !== null && pids !== null ? [{ version: 1, memory, pids }] : [];
}

function v2Roots(mountPoint: string, lines: readonly string[]): GroupRoot[] {
  const line = lines.find((entry) => entry.startsWith('0::'));
  if (line === undefined || !existsSync(join(mountPoint, 'cgroup.controllers'))) return [];
  const own = join(mountPoint, line.slice('0::'.length));
  // A v2 group that holds processes cannot give controllers to children (except the root), so its parent is the next candidate.
  const candidates = own === mountPoint || own === `${mountPoint}/` ? [mountPoint] : [own, dirname(own)];
  return candidates.map((dir) => ({ version: 2, memory: dir, pids: dir }));
}

async function enableControllers(dir: string): Promise<void> {
  const file = join(dir, 'cgroup.subtree_control');
  const enabled = (await readFile(file, 'utf8').catch(() => '')).trim().split(' ');
  if (enabled.includes('memory') && enabled.includes('pids')) return;
  // Refused when this process may not: `canHost` then finds the controllers missing.
  await writeFile(file, '+memory +pids').catch(() => undefined);
}

async function canHost(root: GroupRoot): Promise<boolean> {
  try {
    const group = await ControlGroup.create(root, { memoryBytes: 64 << 20, pids: 16 });
    await group.remove();
    return true;
  } catch {
    return false;
  }
}

function parents(root: GroupRoot): string[] {
  return [...new Set([root.memory, root.pids])];
}

async function sweep(parent: string): Promise<void> {
  for (const name of (await readdir(parent).catch(() => [])).filter((entry) => entry.startsWith(PREFIX))) {
    const owner = name.slice(PREFIX.length).split('-')[0] ?? '';
    const dir = join(parent, name);
    const madeAt = (await stat(dir).catch(() => null))?.mtimeMs ?? Date.now();
    // The age guards against an owner in another pid namespace, whose process id means nothing here.
    if (existsSync(`/proc/${owner}`) || Date.now() - madeAt < STALE_AFTER_MS) continue;
    await rmdir(dir).catch(() => undefined);
  }
}

/** The control group of one run: limits, out-of-memory counter, and removal. */
export class ControlGroup {
  private constructor(
    private readonly version: 1 | 2,
    private readonly memory: string,
    private readonly pids: string,
  ) {}

  /** Makes the group with its limits set; leaves nothing behind when that fails. */
  static async create(root: GroupRoot, limits: Pick<Limits, 'memoryBytes' | 'pids'>): Promise<ControlGroup> {
    const name = `${PREFIX}${process.pid}-${randomBytes(6).toString('hex')}`;
    const group = new ControlGroup(root.version, join(root.memory, name), join(root.pids, name));
    try {
      for (const dir of group.dirs()) await mkdir(dir);
      await group.setLimits(limits);
      return group;
    } catch (error) {
      await group.remove();
      throw error;
    }
  }

  /** Puts a process into the group; what it forks afterwards follows. */
  async add(pid: number): Promise<void> {
    for (const dir of this.dirs()) await writeFile(join(dir, 'cgroup.procs'), String(pid));
  }

  /** How many processes of the group the kernel killed for memory. */
  async oomKills(): Promise<number> {
    const file = this.version === 1 ? 'memory.oom_control' : 'memory.events';
    const text = await readFile(join(this.memory, file), 'utf8');
    return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
  }

  /** Kills every process of the group. */
  async killMembers(): Promise<void> {
    for (const dir of this.dirs()) await killMembers(dir);
  }

  /** Kills what is left in the group and removes it. A group that resists is left to the sweep of a later start. */
  async remove(): Promise<void> {
    const deadline = Date.now() + REMOVAL_WAIT_MS;
    for (const dir of this.dirs()) {
      while (!(await gone(dir)) && Date.now() < deadline) {
        await killMembers(dir);
        await delay(5);
      }
    }
  }

  private dirs(): string[] {
    return this.memory === this.pids ? [this.memory] : [this.memory, this.pids];
  }

  private async setLimits(limits: Pick<Limits, 'memoryBytes' | 'pids'>): Promise<void> {
    const memory = String(limits.memoryBytes);
    if (this.version === 1) {
      await writeFile(join(this.memory, 'memory.limit_in_bytes'), memory);
      await setIfPresent(join(this.memory, 'memory.memsw.limit_in_bytes'), memory);
    } else {
      await writeFile(join(this.memory, 'memory.max'), memory);
      await setIfPresent(join(this.memory, 'memory.swap.max'), '0');
    }
    await writeFile(join(this.pids, 'pids.max'), String(limits.pids));
  }
}

async function setIfPresent(file: string, value: string): Promise<void> {
  if (existsSync(file)) await writeFile(file, value);
}

async function gone(dir: string): Promise<boolean> {
  try {
    await rmdir(dir);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}

async function killMembers(dir: string): Promise<void> {
  const members = await readFile(join(dir, 'cgroup.procs'), 'utf8').catch(() => '');
  for (const pid of members.split('\n').filter((line) => line !== '' && line !== '0')) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // Already gone.
    }
  }
}
