import { serviceOf } from '../places.js';
import { injected, missed, type ProcessNemesis } from '../nemesis.js';

/** The process dies at the h-th passage of a failpoint, and says so before it does: without that line it is not counted. */
export const kill: ProcessNemesis<'kill'> = async (fault, life, scene) => {
  // Read models are built anew when their recorded version is another than the ledger's, as after an upgrade.
  if (fault.failpoint === 'projection.swapped')
    await scene.house.system.database.admin.query('UPDATE es.checkpoint SET version = 0');
  await life.begin({ PLUMB_FAILPOINTS: `${fault.failpoint}=kill@${fault.hit}` });
  const exit = await life.killed(scene.patienceMs, scene.ending);
  if (exit === undefined) return missed(`${fault.failpoint} was not passed ${fault.hit} times`);
  return injected(`process ${exit.pid} died at ${exit.failpoint ?? '?'}`);
};

/** For those that pass no failpoint while they work: SIGKILL wherever they are. */
export const killAny: ProcessNemesis<'kill-any'> = async (fault, life, { house }) => {
  const { pid } = house.system.child(fault.process);
  if (pid === undefined || !life.running) return missed(`${fault.process} did not run`);
  await house.system.kill(fault.process, 'SIGKILL');
  return injected(`process ${pid} of ${serviceOf(fault.process)} was killed`);
};
