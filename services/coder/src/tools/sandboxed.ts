import { StepFault } from '@plumbline/domain';
import type { RunResult, Sandbox } from '@plumbline/sandbox';
import type { ToolContext } from './tool.js';
import { treeInside } from './confined-path.js';

const mib = 1 << 20;

/** Runs a program over the work tree: no network, nothing of this machine but /usr and the toolchain, and no process left behind. */
export async function runInTree(
  { sandbox, toolchain, treeDir, signal }: ToolContext,
  options: {
    readonly argv: readonly string[];
    readonly mode: 'ro' | 'rw';
    readonly wallMs: number;
    readonly outputBytes: number;
  },
): Promise<RunResult> {
  const result = await sandbox.run({
    argv: options.argv,
    cwd: treeInside,
    mounts: [
      { host: treeDir, inside: treeInside, mode: options.mode },
      ...(toolchain === null ? [] : [toolchain.mount]),
    ],
    env: {
      PATH: [...(toolchain === null ? [] : [toolchain.pathEntry]), '/usr/local/bin', '/usr/bin', '/bin'].join(':'),
      CI: '1',
      NO_COLOR: '1',
    },
    network: 'none',
    limits: {
      wallMs: options.wallMs,
      outputBytes: options.outputBytes,
      memoryBytes: 4096 * mib,
      pids: 512,
      tmpBytes: 512 * mib,
      fileBytes: 256 * mib,
    },
    signal,
  });
  signal.throwIfAborted();
  if (result.outcome === 'not-started' && result.fault?.kind !== 'change')
    throw new StepFault('WORKSPACE_SETUP', `the sandbox did not start: ${describe(sandbox, result)}`);
  return result;
}

const describe = (sandbox: Sandbox, { fault }: RunResult): string =>
  `${fault?.what ?? 'no reason given'} (${sandbox.isolation})`.slice(0, 1500);
