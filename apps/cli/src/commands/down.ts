import { existsSync, rmdirSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { CliError, exitCodes } from '../failure.js';
import type { Session } from '../session.js';
import { homeOf, type Home } from '../system/home.js';
import { lockHome } from '../system/lock.js';
import { isRunning } from '../system/process-identity.js';
import { systemState } from '../system/run-file.js';

/** Longer than every step of an orderly stop together. */
const STOP_PATIENCE_MS = 120_000;
const POLL_MS = 100;

/** `plumb down`: stops the system of this home; with `--purge` also deletes what it kept. Nothing to stop is fine. */
export async function down(session: Session, _args: string[], options: { purge?: boolean }): Promise<number> {
  const home = homeOf(session.env);
  const state = systemState(home);
  const wasUp = state.is === 'running';
  if (wasUp) {
    await session.progress.step('Stopping', () => stop(state.run.supervisor, session.signal));
    session.say('Plumbline is down.');
  } else {
    session.say(
      state.is === 'stale'
        ? 'Plumbline was not running; its last run ended without stopping.'
        : 'Plumbline was not running.',
    );
  }
  if (options.purge === true) {
    const there = existsSync(home.folder);
    purge(home);
    session.say(
      there ? `Deleted its log, artifacts and settings in ${home.folder}.` : `There is nothing in ${home.folder}.`,
    );
  }
  session.document({ schema: 'plumbline.down/1', wasUp, purged: options.purge === true });
  return exitCodes.ok;
}

async function stop(supervisor: { pid: number; started: string }, signal: AbortSignal): Promise<void> {
  const until = performance.now() + STOP_PATIENCE_MS;
  process.kill(supervisor.pid, 'SIGTERM');
  while (isRunning(supervisor)) {
    if (performance.now() > until) {
      throw new CliError(
        `The supervisor (process ${supervisor.pid}) has not stopped after ${STOP_PATIENCE_MS / 1000} s.`,
        `See supervisor.log in its logs folder; \`kill -9 ${supervisor.pid}\` ends it with everything it started.`,
      );
    }
    await sleep(POLL_MS, undefined, { signal });
  }
}

/** Deletes what is ours in the home, and the home itself if nothing else is in it. */
function purge(home: Home): void {
  const { folder, runFile, secretsFile, settingsFile, lockFile, postgres, nats, node, logs, work } = home;
  const unlock = systemState(home).is === 'absent' ? lockIfThere(home) : () => {};
  for (const path of [runFile, postgres, nats, node, logs, work, settingsFile, secretsFile, lockFile]) {
    rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
  unlock();
  try {
    rmdirSync(folder);
  } catch {
    // Somebody keeps other things there.
  }
}

/** A system that is just starting has the lock and no run file yet; deleting its data then would be cruel. */
function lockIfThere(home: Home): () => void {
  try {
    return lockHome(home);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return () => {};
    throw error;
  }
}
