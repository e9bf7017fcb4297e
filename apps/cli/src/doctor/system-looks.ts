import { homeOf } from '../system/home.js';
import { isPortFree, portOwner } from '../system/port.js';
import { plain } from '../terminal/text.js';
import { broken, ok, reason, warning, type Finding, type Look } from './finding.js';

const READY_TIMEOUT_MS = 3_000;

/** The system of this home: each of its processes, or the ports it would take. */
export const system: Look = async ({ env }) => {
  const home = homeOf(env);
  const { systemState } = await import('../system/run-file.js');
  const state = systemState(home);
  if (state.is === 'running') return running(state.run);
  const findings: Finding[] = [];
  if (state.is === 'stale') {
    findings.push(
      warning(
        `The system in ${home.folder} ended without being stopped.`,
        'Run `plumb up`; it mends what was left and starts again.',
      ),
    );
  } else findings.push(ok(`system: none runs in ${home.folder}`));
  return [...findings, ...(await ports(env))];
};

async function ports(env: NodeJS.ProcessEnv): Promise<Finding[]> {
  const { portNames, readSettings } = await import('../system/settings.js');
  const settings = readSettings(homeOf(env));
  const findings = portNames.map(async (name): Promise<Finding[]> => {
    const kept = settings.ports[name];
    if (kept === undefined) return [];
    if (await isPortFree(kept.port)) return [ok(`port ${kept.port} for ${name} is free`)];
    const owner = portOwner(kept.port);
    const what = `Port ${kept.port} for ${name} is taken${owner === undefined ? '' : ` by ${owner}`}.`;
    if (!kept.asked)
      return [warning(what, '`plumb up` will take another one; stop what listens there to keep this one.')];
    return [broken(what, `Stop what listens there, or give another one with \`plumb up --${name}-port PORT\`.`)];
  });
  return (await Promise.all(findings)).flat();
}

interface Running {
  readonly state: string;
  readonly supervisor: { readonly pid: number };
  readonly processes: readonly { name: string; state: string; http?: string | undefined; restarts: number }[];
}

async function running(run: Running): Promise<Finding[]> {
  const looks = run.processes.map(async ({ name, state, http, restarts }): Promise<Finding> => {
    const again = restarts === 0 ? '' : `, restarted ${restarts} times`;
    const mend = `See ${name}.log in the logs folder; the supervisor keeps starting it again.`;
    if (state !== 'running') return broken(`${name} is not running (${state}${again}).`, mend);
    if (http === undefined) return ok(`${name} runs${again}`);
    const unready = await whyUnready(http);
    if (unready !== undefined) return broken(`${name} is not ready: ${unready}.`, mend);
    return restarts === 0 ? ok(`${name} is ready`) : warning(`${name} is ready${again}.`, mend);
  });
  return [ok(`system: ${run.state} (process ${run.supervisor.pid})`), ...(await Promise.all(looks))];
}

async function whyUnready(http: string): Promise<string | undefined> {
  try {
    const response = await fetch(new URL('/ready', http), { signal: AbortSignal.timeout(READY_TIMEOUT_MS) });
    const body = plain((await response.text()).slice(0, 200));
    return response.ok ? undefined : `it answers ${response.status}, ${body}`;
  } catch (error) {
    return reason(error instanceof TypeError && error.cause !== undefined ? error.cause : error);
  }
}
