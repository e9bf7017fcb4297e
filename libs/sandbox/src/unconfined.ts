import { spawn } from 'node:child_process';
import { join, relative } from 'node:path';
import { mountFault } from './mount-check.js';
import { assertRunSpec } from './run-spec-check.js';
import type { Mount, RunResult, RunSpec, Sandbox } from './sandbox.js';
import { supervise } from './supervise.js';

/**
 * No sandbox: the payload runs as this user on this machine, with network and files in reach. Only for people who judge their own code
 * and say so; never chosen by default. Time and output limits hold; memory, process and file limits, mounts modes and the network do
 * not. Inside paths in `cwd`, `argv[0]` and `PATH` are translated to the host's; other arguments are passed as they are.
 */
export class Unconfined implements Sandbox {
  readonly kind = 'none';
  readonly isolation =
    'none (chosen explicitly): no namespaces, network and host files reachable; limits: wall clock, output; cleared environment';

  async run(spec: RunSpec): Promise<RunResult> {
    assertRunSpec(spec);
    const startedAt = performance.now();
    const since = () => Math.round(performance.now() - startedAt);
    const nothing = {
      payloadRan: false,
      exitCode: null,
      signal: null,
      stdout: '',
      stderr: '',
      truncated: false,
      oomKills: 0,
    };
    if (spec.signal?.aborted) return { ...nothing, outcome: 'aborted', durationMs: since() };
    const fault = mountFault(spec.mounts);
    if (fault !== null) return { ...nothing, outcome: 'not-started', durationMs: since(), fault };

    const [program = '', ...args] = spec.argv;
    const path = (spec.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin').split(':').map((dir) => toHost(dir, spec.mounts));
    const child = spawn(toHost(program, spec.mounts), args, {
      cwd: toHost(spec.cwd, spec.mounts),
      env: { HOME: '/nonexistent', LANG: 'C.UTF-8', ...spec.env, PATH: path.join(':') },
      stdio: 'pipe',
      detached: true,
    });
    const killGroup = () => {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // The group is already gone.
      }
    };
    child.once('exit', killGroup);
    const end = await supervise(child, spec, killGroup);
    const { stdout, stderr, truncated } = end;
    const seen = { ...nothing, stdout, stderr, truncated, durationMs: since() };
    if (end.spawnError !== undefined) {
      return { ...seen, outcome: 'not-started', fault: { kind: 'unknown', what: end.spawnError.message } };
    }
    if (end.stop !== null) return { ...seen, payloadRan: true, outcome: end.stop };
    return { ...seen, payloadRan: true, outcome: 'exited', exitCode: end.exitCode, signal: end.signal };
  }
}

function toHost(path: string, mounts: readonly Mount[]): string {
  const holder = mounts
    .filter(({ inside }) => path === inside || path.startsWith(`${inside}/`))
    .sort((a, b) => b.inside.length - a.inside.length)[0];
  return holder === undefined ? path : join(holder.host, relative(holder.inside, path));
}
