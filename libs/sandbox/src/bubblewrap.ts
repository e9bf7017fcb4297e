import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { bubblewrapOptions, MADE_FILES } from './bubblewrap-options.js';
import { ControlGroup, type GroupRoot } from './control-group.js';
import { inheritedDescriptors } from './inherited-descriptors.js';
import { FDS, MonitoredRun } from './monitored-run.js';
import { mountFault } from './mount-check.js';
import { assertRunSpec } from './run-spec-check.js';
import type { Fault, RunResult, RunSpec, Sandbox } from './sandbox.js';
import { startFault } from './start-fault.js';
import { supervise, type Ended } from './supervise.js';

const SIGKILL_EXIT = 128 + 9;

/** What this machine offers; found once by `openSandbox`. */
export interface BubblewrapMeans {
  readonly bwrapPath: string;
  /** Null where util-linux is missing: file size is then not limited. */
  readonly prlimitPath: string | null;
  readonly groupRoot: GroupRoot | null;
  readonly disableUserns: boolean;
  readonly isolation: string;
}

/** Each run gets fresh namespaces and a fresh control group; when `run` answers, no process and no group of it is left. */
export class BubblewrapSandbox implements Sandbox {
  readonly kind = 'bubblewrap';

  constructor(private readonly means: BubblewrapMeans) {}

  get isolation(): string {
    return this.means.isolation;
  }

  async run(spec: RunSpec): Promise<RunResult> {
    assertRunSpec(spec);
    const startedAt = performance.now();
    const finish = (part: Partial<RunResult> & Pick<RunResult, 'outcome'>): RunResult => ({
      ...{ payloadRan: false, exitCode: null, signal: null, stdout: '', stderr: '', truncated: false, oomKills: 0 },
      durationMs: Math.round(performance.now() - startedAt),
      ...part,
    });
    if (spec.signal?.aborted) return finish({ outcome: 'aborted' });
    const fault = mountFault(spec.mounts);
    if (fault !== null) return finish({ outcome: 'not-started', fault });

    let group: ControlGroup | null = null;
    try {
      group = this.means.groupRoot === null ? null : await ControlGroup.create(this.means.groupRoot, spec.limits);
    } catch (error) {
      return finish({ outcome: 'not-started', fault: { kind: 'infra', what: `no control group: ${String(error)}` } });
    }
    try {
      return finish(await this.execute(spec, group));
    } finally {
      await group?.remove();
    }
  }

  private async execute(
    spec: RunSpec,
    group: ControlGroup | null,
  ): Promise<Partial<RunResult> & Pick<RunResult, 'outcome'>> {
    const [command, args] = this.commandLine(spec);
    const child = spawnSealed(command, args);
    const run = new MonitoredRun(child, group);
    const ended = supervise(child, spec, () => run.kill());
    let joinFault: Fault | undefined;
    if (child.pid !== undefined) {
      // bubblewrap waits for its options, so it joins the group before it forks anything: no process of the run is ever outside.
      try {
        await group?.add(child.pid);
        run.release(bubblewrapOptions(spec, FDS, this.means.disableUserns));
      } catch (error) {
        // Gone already: it failed by itself, and its own message says why.
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH')
          joinFault = { kind: 'infra', what: `the run could not join its control group: ${String(error)}` };
        run.kill();
      }
    }
    const end = await ended;
    const oomKills = (await group?.oomKills()) ?? 0;
    return judge(end, run.payloadExit, oomKills, joinFault, spec.argv[0] ?? '');
  }

  private commandLine(spec: RunSpec): [string, string[]] {
    const bwrap = [this.means.bwrapPath, '--args', String(FDS.args), '--', ...spec.argv];
    if (this.means.prlimitPath === null) return [bwrap[0] ?? '', bwrap.slice(1)];
    const { fileBytes, memoryBytes } = spec.limits;
    const limits = ['--core=0:0', `--fsize=${fileBytes}:${fileBytes}`];
    if (this.means.groupRoot === null) {
      // The kernel counts processes per user, so everything that already runs is allowed for on top.
      const nproc = spec.limits.pids + runningTasks();
      limits.push(`--data=${memoryBytes}:${memoryBytes}`, `--nproc=${nproc}:${nproc}`);
    }
    return [this.means.prlimitPath, [...limits, ...bwrap]];
  }
}

/** Starts bubblewrap with its pipes; every descriptor this process inherited is covered by /dev/null, so none leads outside. */
function spawnSealed(command: string, args: string[]): ChildProcess {
  const stdio = Array<'pipe' | 'ignore' | number>(FDS.firstFile + MADE_FILES.length).fill('pipe');
  const nothing = openSync('/dev/null', 'r');
  try {
    for (const fd of inheritedDescriptors()) {
      while (stdio.length <= fd) stdio.push('ignore');
      if (stdio[fd] === 'ignore') stdio[fd] = nothing;
    }
    return spawn(command, args, { stdio, env: {}, cwd: '/' });
  } finally {
    closeSync(nothing);
  }
}

function judge(
  end: Ended,
  payloadExit: number | null,
  oomKills: number,
  joinFault: Fault | undefined,
  program: string,
) {
  const { stdout, stderr, truncated } = end;
  const payloadRan = payloadExit !== null;
  const seen = { payloadRan, stdout, stderr, truncated, oomKills, exitCode: null, signal: null };
  if (end.stop !== null) return { ...seen, outcome: end.stop };
  if (joinFault !== undefined) return { ...seen, outcome: 'not-started' as const, fault: joinFault };
  if (end.spawnError !== undefined) {
    const what = `bubblewrap could not be started: ${end.spawnError.message}`;
    return { ...seen, outcome: 'not-started' as const, fault: { kind: 'infra', what } satisfies Fault };
  }
  if (!payloadRan) {
    if (end.signal === null) return { ...seen, outcome: 'not-started' as const, fault: startFault(stderr, program) };
    const what = `bubblewrap was killed by ${end.signal} from outside`;
    return { ...seen, outcome: 'not-started' as const, fault: { kind: 'unknown', what } satisfies Fault };
  }
  const exitCode = payloadExit;
  if (oomKills > 0) return { ...seen, exitCode, outcome: 'oom' as const };
  if (exitCode !== SIGKILL_EXIT) return { ...seen, exitCode, outcome: 'exited' as const };
  const what = 'killed with SIGKILL (or exit 137), not by a limit of this sandbox that can be observed';
  return { ...seen, exitCode, outcome: 'exited' as const, fault: { kind: 'unknown', what } satisfies Fault };
}

function runningTasks(): number {
  return Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[3]?.split('/')[1] ?? 0);
}
