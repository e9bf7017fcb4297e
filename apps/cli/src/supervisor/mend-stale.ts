import { rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Home } from '../system/home.js';
import { isRunning, type ProcessIdentity } from '../system/process-identity.js';
import { systemState } from '../system/run-file.js';
import type { SystemEvent } from './system.js';

const PATIENCE_MS = 25_000;
const POLL_MS = 100;

/**
 * Clears what a supervisor left behind that is gone: waits for its servers and services (which end with it), ends those that do not, and
 * removes its run file. Only processes that are the very ones recorded are touched. The caller holds the lock of the home.
 */
export async function mendStale(home: Home, tell: (event: SystemEvent) => void): Promise<void> {
  const state = systemState(home);
  if (state.is !== 'stale') return;
  tell({ type: 'note', text: 'The last run ended without stopping (crash or reboot); mending what it left.' });
  const left = (state.run?.processes ?? []).flatMap(({ pid, started }): ProcessIdentity[] =>
    pid === undefined || started === undefined ? [] : [{ pid, started }],
  );
  signal(left, 'SIGINT');
  const until = performance.now() + PATIENCE_MS;
  while (left.some(isRunning)) {
    if (performance.now() > until) signal(left, 'SIGKILL');
    await sleep(POLL_MS);
  }
  rmSync(home.runFile, { force: true });
}

function signal(processes: readonly ProcessIdentity[], name: NodeJS.Signals): void {
  for (const identity of processes.filter(isRunning)) {
    try {
      process.kill(identity.pid, name);
    } catch {
      // It has just ended.
    }
  }
}
