import { writeSync } from 'node:fs';
import { failpointNames, type FailpointName } from './catalogue.js';

/**
 * Failpoints: `failpoint('append.committed')` does nothing at all unless the process was told at its start to die or to stop right there.
 * They exist in the code that runs in production, because a copy with other code proves nothing about it.
 */

/** `kill`: SIGKILL, as a power cut. `stop`: SIGSTOP, as a machine that sleeps; SIGCONT lets it go on. */
export type FailpointAction = 'kill' | 'stop';

/** Something to do at the `hit`-th passage (1 = the first) of a place. */
export interface ArmedFailpoint {
  name: FailpointName;
  action: FailpointAction;
  hit: number;
}

const signals = { kill: 'SIGKILL', stop: 'SIGSTOP' } as const;
const armed = new Map<FailpointName, ArmedFailpoint & { passed: number }>();

/**
 * Parses `NAME=kill|stop[@HIT]`, several separated by commas; '' is none. Throws an Error that names what is wrong, what was expected and,
 * for a name that does not exist, which ones do.
 */
export function parseFailpoints(text: string): ArmedFailpoint[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map((part, index, parts) => {
      const match = /^([a-z.-]+)=(kill|stop)(?:@([1-9]\d{0,8}))?$/.exec(part);
      if (match === null)
        throw new Error(
          `${JSON.stringify(part.slice(0, 100))}: expected NAME=kill or NAME=stop, with @HIT for a later passage`,
        );
      const [, name, action, hit = '1'] = match;
      if (!isName(name)) throw new Error(`there is no failpoint ${name}; there are ${failpointNames.join(', ')}`);
      if (parts.findIndex((other) => other.startsWith(`${name}=`)) !== index)
        throw new Error(`${name} is named twice; expected each failpoint once`);
      return { name, action: action as FailpointAction, hit: Number(hit) };
    });
}

/** Arms these and disarms all others. Called once at a start, by whoever read the configuration. */
export function armFailpoints(failpoints: readonly ArmedFailpoint[]): void {
  armed.clear();
  for (const failpoint of failpoints) armed.set(failpoint.name, { ...failpoint, passed: 0 });
}

/**
 * Whether a place is armed at all: for the few where bytes have to leave the process before it dies, and are waited for only then.
 */
export function isArmed(name: FailpointName): boolean {
  return armed.size > 0 && armed.has(name);
}

/** Marks a place. When it is armed and passed often enough, says so in one line on standard error and signals this process. */
export function failpoint(name: FailpointName): void {
  if (armed.size === 0) return;
  const found = armed.get(name);
  if (found === undefined) return;
  found.passed += 1;
  if (found.passed !== found.hit) return;
  // Written at once and before the signal: afterwards nobody could.
  writeSync(2, `${JSON.stringify({ failpoint: name, action: found.action, hit: found.hit })}\n`);
  process.kill(process.pid, signals[found.action]);
}

const isName = (name: string | undefined): name is FailpointName =>
  name !== undefined && (failpointNames as readonly string[]).includes(name);
