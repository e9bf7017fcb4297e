/** One set-up at a time per checkout, across processes. */
import { mkdirSync, readFileSync, renameSync, rmSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 100;
/** A taker holds the takeover right for microseconds; one that died in between must not block for ever. */
const TAKEOVER_STALE_MS = 10_000;

/**
 * Runs `work` while holding `folder` as a lock and returns its result. Waits for a live holder (`onWait` is told its pid
 * once); a holder that died is replaced. The folder appears by rename, so it is never seen without its owner.
 */
export async function withLock(folder, work, onWait = () => {}) {
  const mine = `${folder}.${process.pid}`;
  rmSync(mine, { recursive: true, force: true });
  mkdirSync(mine, { recursive: true });
  writeFileSync(join(mine, 'owner'), identity(process.pid));
  for (let waits = 0; !acquire(mine, folder); waits += 1) {
    const owner = ownerOf(folder);
    if (owner !== undefined && !isAlive(owner)) takeOver(folder, owner);
    else if (owner !== undefined && waits === 0) onWait(owner.split(' ')[0]);
    await sleep(POLL_MS);
  }
  try {
    return await work();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function acquire(mine, folder) {
  try {
    renameSync(mine, folder); // Refused while the folder exists, because it is never empty.
    return true;
  } catch (error) {
    if (error.code === 'ENOTEMPTY' || error.code === 'EEXIST') return false;
    throw error;
  }
}

/** Two waiters may both see the dead owner; only the one that holds the takeover folder may remove it, after looking again. */
function takeOver(folder, deadOwner) {
  const right = `${folder}.takeover`;
  try {
    mkdirSync(right);
  } catch {
    try {
      if (Date.now() - statSync(right).mtimeMs > TAKEOVER_STALE_MS) rmdirSync(right);
    } catch {
      // Its holder has just finished.
    }
    return;
  }
  try {
    if (ownerOf(folder) === deadOwner) rmSync(folder, { recursive: true, force: true });
  } finally {
    rmdirSync(right);
  }
}

function ownerOf(folder) {
  try {
    return readFileSync(join(folder, 'owner'), 'utf8');
  } catch {
    return undefined;
  }
}

/** A pid alone may have been given to another process since; with its start time it is unique until the next boot. */
function identity(pid) {
  return `${pid} ${startTicks(pid)}`;
}

function startTicks(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return '-';
  }
}

function isAlive(owner) {
  const pid = Number(owner.split(' ')[0]);
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (error.code !== 'EPERM') return false;
  }
  return identity(pid) === owner;
}
