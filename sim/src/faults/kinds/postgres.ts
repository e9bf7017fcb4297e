import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { injected, missed, skipped, type HouseNemesis, type Scene } from '../nemesis.js';
import { goesOn } from './recovery.js';

export const postgresRestart: HouseNemesis<'postgres-restart'> = (_, scene) =>
  losePostgres(scene, () => scene.house.system.restartPostgres());
export const postgresKill: HouseNemesis<'postgres-kill'> = (_, scene) =>
  losePostgres(scene, () => scene.house.system.crashPostgres());

/** Counts when something was being recorded at that time: events came shortly before it and again after it. */
async function losePostgres(scene: Scene, lose: () => Promise<void>): Promise<ReturnType<typeof injected>> {
  const { eye } = scene;
  const quiet = eye.count;
  if ((await eye.until(() => (eye.count > quiet ? true : undefined), scene.patienceMs)) === undefined)
    return missed('nothing was being recorded');
  await scene.outage(lose);
  const from = eye.count;
  return injected(`struck ${from - quiet} events into a burst; ${await goesOn(scene, from)}`);
}

/**
 * A cold copy is taken, the run goes on for a while, then both ledgers are stopped, the copy becomes the database of a new server, and the
 * ledgers start again. NATS still has what came after the copy.
 */
export const restore: HouseNemesis<'restore'> = async (fault, scene) => {
  const { house, eye, lives } = scene;
  const backup = join(house.folder, `backup-${fault.id}`);
  if (existsSync(backup)) return skipped(`${backup} exists already`);
  await scene.outage(() => house.system.backUpPostgres(backup));
  const from = eye.count;
  await eye.until(() => (eye.count >= from + 40 ? true : undefined), scene.patienceMs);
  const ledgers = (['ledger', 'ledger/2'] as const).map((name) => lives.get(name));
  const taken = await scene.outage(async () => {
    const before = await house.system.restorePostgres(backup);
    const { pos } = await house.system.log.head();
    eye.restored(before, pos);
    return before.length - pos;
  });
  void ledgers;
  rmSync(backup, { recursive: true, force: true });
  return taken > 0 ? injected(`${taken} events were taken back`) : missed('nothing had been recorded since the copy');
};
