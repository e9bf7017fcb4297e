import { serviceOf } from '../places.js';
import { injected, missed, type ProcessNemesis, type Scene } from '../nemesis.js';

/** Passed while a process starts, or not at all in this life. */
const atStart: readonly string[] = ['projection.swapped', 'fact.spooled', 'fact.recorded'];
/** So many tasks walk by before a process is believed not to pass a place. */
const tasksMax = 12;
const outdateMs = 700;

/** The process dies at the h-th passage of a failpoint, and says so before it does: without that line it is not counted. */
export const kill: ProcessNemesis<'kill'> = async (fault, life, scene) => {
  await life.begin({ PLUMB_FAILPOINTS: `${fault.failpoint}=kill@${fault.hit}` });
  const outdating = fault.failpoint === 'projection.swapped' ? outdate(scene) : undefined;
  const from = scene.tasksEnded();
  const worthWaiting = (): boolean =>
    !atStart.includes(fault.failpoint) && scene.tasksEnded() - from < tasksMax && !scene.ending.aborted;
  let exit = await life.killed(scene.patienceMs, scene.ending);
  while (exit === undefined && worthWaiting()) exit = await life.killed(scene.patienceMs / 3, scene.ending);
  clearInterval(outdating);
  if (exit === undefined) return missed(`${fault.failpoint} was not passed ${fault.hit} times`);
  return injected(`process ${exit.pid} died at ${exit.failpoint ?? '?'}`);
};

/**
 * Read models are built anew when their recorded version is another than the ledger's, as after an upgrade. Either replica may be the one
 * that notices first, so it is said again until it was the armed one.
 */
function outdate({ house }: Scene): NodeJS.Timeout {
  return setInterval(
    () =>
      void house.system.database.admin
        .query("UPDATE es.checkpoint SET version = 0 WHERE projector <> 'notices'")
        .catch(() => undefined),
    outdateMs,
  );
}

/** For those that pass no failpoint while they work: SIGKILL wherever they are. */
export const killAny: ProcessNemesis<'kill-any'> = async (fault, life, { house }) => {
  await life.up();
  const { pid } = house.system.child(fault.process);
  if (pid === undefined || !life.running) return missed(`${fault.process} did not run`);
  await house.system.kill(fault.process, 'SIGKILL');
  return injected(`process ${pid} of ${serviceOf(fault.process)} was killed`);
};
