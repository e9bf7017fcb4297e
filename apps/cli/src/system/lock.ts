import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { CliError } from '../failure.js';
import type { Home } from './home.js';
import { identityOf, isRunning, type ProcessIdentity } from './process-identity.js';

/**
 * Makes this process the one supervisor of a home; the returned function gives the home up again. A lock left by a process that is gone
 * is replaced. Throws CliError when another supervisor has it.
 */
export function lockHome(home: Home): () => void {
  const me = identityOf(process.pid);
  if (me === undefined) throw new Error('this process has no identity');
  for (let tries = 0; tries < 20; tries += 1) {
    try {
      writeFileSync(home.lockFile, JSON.stringify(me), { flag: 'wx', mode: 0o600 });
      return () => rmSync(home.lockFile, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const text = textOf(home.lockFile);
    const holder = parse(text);
    if (holder !== undefined && isRunning(holder)) throw heldBy(home, holder);
    setAside(home, text);
  }
  throw new CliError(`The lock ${home.lockFile} cannot be had.`, 'Delete that file if no supervisor runs.');
}

function heldBy(home: Home, holder: ProcessIdentity): CliError {
  return new CliError(
    `A system already runs, or is just starting or stopping, in ${home.folder} (process ${holder.pid}).`,
    'Wait a moment or stop it with `plumb down`, or set PLUMB_HOME to another directory to run a second one beside it.',
  );
}

/** Removes the lock that was read, and no other: between reading and removing, somebody else may have replaced it. */
function setAside(home: Home, text: string): void {
  const aside = `${home.lockFile}.${process.pid}`;
  try {
    renameSync(home.lockFile, aside);
  } catch {
    return;
  }
  if (textOf(aside) === text) rmSync(aside, { force: true });
  else renameSync(aside, home.lockFile);
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function parse(text: string): ProcessIdentity | undefined {
  try {
    const { pid, started } = JSON.parse(text) as Partial<ProcessIdentity>;
    return typeof pid === 'number' && typeof started === 'string' ? { pid, started } : undefined;
  } catch {
    return undefined;
  }
}
