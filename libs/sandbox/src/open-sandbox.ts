import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { BubblewrapSandbox } from './bubblewrap.js';
import { findGroupRoot, type GroupRoot } from './control-group.js';
import { SandboxUnavailableError, type Sandbox } from './sandbox.js';
import { Unconfined } from './unconfined.js';

const BWRAP_PATHS = ['/usr/bin/bwrap', '/usr/local/bin/bwrap', '/bin/bwrap', '/run/current-system/sw/bin/bwrap'];
const PRLIMIT_PATHS = ['/usr/bin/prlimit', '/bin/prlimit'];
const PROBE_LIMITS = {
  wallMs: 20_000,
  memoryBytes: 256 << 20,
  pids: 32,
  outputBytes: 65_536,
  tmpBytes: 1 << 20,
  fileBytes: 1 << 20,
};

export interface SandboxChoice {
  /** Default `bubblewrap`. `none` runs judged code unconfined and must be asked for by name. */
  readonly kind?: 'bubblewrap' | 'none';
  /** Default: the usual places of the system. */
  readonly bwrapPath?: string;
  /** `off` does without control groups even where they could be used; the isolation line says so. Default `auto`. */
  readonly controlGroups?: 'auto' | 'off';
}

/**
 * Opens the sandbox and proves it by a first run. Throws `SandboxUnavailableError` when bubblewrap is missing or this machine refuses
 * namespaces; it never falls back to `none`.
 */
export async function openSandbox(choice: SandboxChoice = {}): Promise<Sandbox> {
  if (choice.kind === 'none') return new Unconfined();
  const bwrapPath = choice.bwrapPath ?? BWRAP_PATHS.find((path) => existsSync(path));
  if (bwrapPath === undefined || !existsSync(bwrapPath)) {
    const where = bwrapPath ?? BWRAP_PATHS.join(', ');
    throw new SandboxUnavailableError(
      `bubblewrap not found (${where})`,
      'Install it (apt-get install bubblewrap) or name its path.',
    );
  }
  const version = await bwrapVersion(bwrapPath);
  const prlimitPath = PRLIMIT_PATHS.find((path) => existsSync(path)) ?? null;
  const groupRoot = choice.controlGroups === 'off' ? null : await findGroupRoot();
  // `--disable-userns` came with 0.8.0.
  const disableUserns = version.major > 0 || version.minor >= 8;
  if (!disableUserns && process.getuid?.() === 0) {
    const what = `bubblewrap ${version.text} cannot disable nested user namespaces, which is not safe when started by root`;
    throw new SandboxUnavailableError(what, 'Install bubblewrap 0.8.0 or later, or run as an unprivileged user.');
  }
  const isolation = describe(version.text, disableUserns, groupRoot, prlimitPath !== null);
  const sandbox = new BubblewrapSandbox({ bwrapPath, prlimitPath, groupRoot, disableUserns, isolation });
  await prove(sandbox);
  return sandbox;
}

async function prove(sandbox: Sandbox): Promise<void> {
  const result = await sandbox.run({
    ...{ argv: ['true'], cwd: '/', mounts: [], env: {}, network: 'none', limits: PROBE_LIMITS },
  });
  if (result.outcome === 'exited' && result.exitCode === 0) return;
  const what = result.fault?.what ?? `${result.outcome}, exit ${result.exitCode}: ${result.stderr.trim()}`;
  throw new SandboxUnavailableError(
    `the first run failed: ${what}`,
    result.fault?.mend ?? 'Run `bwrap --unshare-all --ro-bind / / true` to see why.',
  );
}

async function bwrapVersion(path: string): Promise<{ text: string; major: number; minor: number }> {
  try {
    const { stdout } = await promisify(execFile)(path, ['--version'], { timeout: 10_000, env: {} });
    const found = /(\d+)\.(\d+)\.(\d+)/.exec(stdout);
    if (found === null) throw new Error(`unexpected answer to --version: ${stdout.slice(0, 80)}`);
    return { text: found[0], major: Number(found[1]), minor: Number(found[2]) };
  } catch (error) {
    throw new SandboxUnavailableError(`${path} does not run: ${String(error)}`, 'Name a working bubblewrap.');
  }
}

function describe(version: string, disableUserns: boolean, groups: GroupRoot | null, prlimit: boolean): string {
  const nested = disableUserns
    ? 'nested user namespaces disabled'
    : 'nested user namespaces POSSIBLE (bubblewrap older than 0.8)';
  const limits =
    groups !== null
      ? `memory and processes limited together by control groups v${groups.version}`
      : prlimit
        ? `no control groups here: memory limited PER PROCESS (RLIMIT_DATA), processes per user${rootNote()}, out-of-memory not observable`
        : 'no control groups and no prlimit here: memory and processes NOT limited';
  const files = prlimit ? 'file size limited' : 'file size NOT limited';
  return `bubblewrap ${version}: own user, mount, pid, network, ipc and uts namespaces; no capabilities; ${nested}; ${limits}; ${files}`;
}

function rootNote(): string {
  return process.getuid?.() === 0 ? ' (not enforced by the kernel for root)' : '';
}
