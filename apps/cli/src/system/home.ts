import { chmodSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

/** The places below the state directory of one system. Another PLUMB_HOME is another system. */
export interface Home {
  readonly folder: string;
  readonly runFile: string;
  readonly secretsFile: string;
  readonly settingsFile: string;
  readonly lockFile: string;
  readonly postgres: string;
  readonly nats: string;
  readonly node: string;
  readonly logs: string;
  readonly work: string;
}

/** Where the system's state is: PLUMB_HOME, else `plumbline` under XDG_STATE_HOME, else under `~/.local/state`. */
export function homeOf(env: NodeJS.ProcessEnv): Home {
  const given = env['PLUMB_HOME'] ?? '';
  const state = env['XDG_STATE_HOME'] ?? '';
  const base = state === '' ? join(homedir(), '.local', 'state') : state;
  return homeAt(given === '' ? join(base, 'plumbline') : given);
}

/** The places below `folder`. */
export function homeAt(folder: string): Home {
  const at = resolve(folder);
  return {
    folder: at,
    runFile: join(at, 'run.json'),
    secretsFile: join(at, 'secrets.json'),
    settingsFile: join(at, 'settings.json'),
    lockFile: join(at, 'supervisor.lock'),
    postgres: join(at, 'pgdata'),
    nats: join(at, 'nats'),
    node: join(at, 'node'),
    logs: join(at, 'logs'),
    work: join(at, 'work'),
  };
}

/** Makes the directories, readable for their owner alone. */
export function makeHome(home: Home): void {
  for (const folder of [home.folder, home.node, home.logs, home.work]) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    chmodSync(folder, 0o700);
  }
}
