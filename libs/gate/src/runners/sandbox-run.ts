import { statfs } from 'node:fs/promises';
import type { Limits, Mount, RunResult, RunSpec, Sandbox, Toolchain } from '@plumbline/sandbox';
import { GateInfraError } from '../gate-infra-error.js';

/** What judged code may use at most, unless the caller says otherwise. */
export const defaultLimits: Limits = {
  wallMs: 600_000,
  memoryBytes: 2 * 1024 ** 3,
  pids: 512,
  outputBytes: 16 << 20,
  tmpBytes: 256 << 20,
  fileBytes: 256 << 20,
};
/** With less than this left, a failure of judged code may be the disk's. */
const diskBytesMin = 32 << 20;

/** Where judged code is run and with what. */
export interface RunMeans {
  readonly sandbox: Sandbox;
  readonly toolchain: Toolchain | null;
  /** A folder with the dependencies of base, shown to judged code as node_modules, read-only. */
  readonly dependencies?: string;
  readonly limits: Limits;
  readonly signal: AbortSignal;
}

/** How a command ended that the machine let run. */
export type CommandEnd =
  | { readonly kind: 'exited'; readonly exitCode: number; readonly stdout: string; readonly stderr: string }
  /** It ran into a limit of the sandbox. */
  | { readonly kind: 'exceeded'; readonly what: string; readonly stdout: string; readonly stderr: string }
  /** It ended in a way that tells nothing. */
  | { readonly kind: 'unclear'; readonly what: string; readonly stdout: string; readonly stderr: string }
  /** The tree itself stood in the way of the sandbox. */
  | { readonly kind: 'refused'; readonly what: string; readonly stdout: string; readonly stderr: string };

/** The paths of a run as judged code sees them. Without a sandbox there is only the machine's own view. */
export function insidePaths(sandbox: Sandbox, treeDir: string, harnessDir: string): { tree: string; harness: string } {
  return sandbox.kind === 'none'
    ? { tree: treeDir, harness: harnessDir }
    : { tree: '/work/tree', harness: '/opt/harness' };
}

/**
 * Runs one command in an exported tree. Throws GateInfraError when the machine is at fault, the signal's reason when it was told to stop;
 * every other end is a value.
 */
export async function runInTree(
  means: RunMeans,
  command: {
    readonly argv: readonly string[];
    readonly treeDir: string;
    readonly harnessDir: string;
    readonly env?: Readonly<Record<string, string>>;
    readonly stdin?: string;
    /** Shows the tree read-only. Default: it may be written. */
    readonly readOnly?: boolean;
  },
): Promise<CommandEnd> {
  const { sandbox, toolchain, dependencies, limits, signal } = means;
  const { tree, harness } = insidePaths(sandbox, command.treeDir, command.harnessDir);
  const mounts: Mount[] = [
    { host: command.treeDir, inside: tree, mode: command.readOnly === true ? 'ro' : 'rw' },
    { host: command.harnessDir, inside: harness, mode: 'ro' },
  ];
  if (toolchain !== null) mounts.push(toolchain.mount);
  if (dependencies !== undefined && sandbox.kind !== 'none')
    mounts.push({ host: dependencies, inside: `${tree}/node_modules`, mode: 'ro' });
  const path = [toolchain?.pathEntry, `${tree}/node_modules/.bin`, '/usr/local/bin', '/usr/bin', '/bin'];
  const spec: RunSpec = {
    ...{ argv: command.argv, cwd: tree, mounts, limits, signal, network: 'none' },
    env: {
      ...{ CI: '1', TZ: 'UTC', LANG: 'C.UTF-8', NO_COLOR: '1', SOURCE_DATE_EPOCH: '1700000000' },
      ...command.env,
      PATH: path.filter((entry) => entry !== undefined).join(':'),
    },
    ...(command.stdin === undefined ? {} : { stdin: command.stdin }),
  };
  const result = await sandbox.run(spec);
  signal.throwIfAborted();
  return endOf(result, limits);
}

function endOf(result: RunResult, limits: Limits): CommandEnd {
  const { stdout, stderr, fault } = result;
  const output = { stdout, stderr };
  switch (result.outcome) {
    case 'aborted':
      throw new GateInfraError('the run was stopped from outside', 'Run it again.');
    case 'not-started':
      if (fault?.kind === 'change') return { kind: 'refused', what: fault.what, ...output };
      throw new GateInfraError(
        fault?.what ?? 'the sandbox did not start',
        fault?.mend ?? 'Look at the sandbox of this machine.',
      );
    case 'timed-out':
      return { kind: 'exceeded', what: `it was not done within ${limits.wallMs} ms`, ...output };
    case 'oom':
      return { kind: 'exceeded', what: `it needed more than ${limits.memoryBytes} bytes of memory`, ...output };
    case 'output-limit':
      return { kind: 'unclear', what: `it wrote more than ${limits.outputBytes} bytes of output`, ...output };
    case 'exited':
      if (fault?.kind === 'infra')
        throw new GateInfraError(fault.what, fault.mend ?? 'Look at the sandbox of this machine.');
      if (fault !== undefined || result.exitCode === null)
        return { kind: 'unclear', what: fault?.what ?? 'it ended without an exit status', ...output };
      return { kind: 'exited', exitCode: result.exitCode, ...output };
  }
}

/** Throws GateInfraError when the disk below `dir` is all but full: what failed there may have failed for that. */
export async function assertDiskSpace(
  dir: string,
  freeBytes: (dir: string) => Promise<number> = freeBytesBelow,
): Promise<void> {
  const free = await freeBytes(dir);
  if (free < diskBytesMin)
    throw new GateInfraError(
      `only ${free} bytes are free below ${dir}`,
      'Free disk space on this machine, then run the gate again.',
    );
}

async function freeBytesBelow(dir: string): Promise<number> {
  const { bavail, bsize } = await statfs(dir);
  return bavail * bsize;
}
