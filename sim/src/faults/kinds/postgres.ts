import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { injected, missed, type HouseNemesis, type Scene } from '../nemesis.js';
import { goesOn, recoveryMs } from './recovery.js';

const eventsAfterCopy = 40;

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
 * A cold copy is taken, the run goes on for a while, then the copy becomes the database of a new server at the same address. NATS and the
 * origin still have what came after it, and the ledgers may only notice by that.
 */
export const restore: HouseNemesis<'restore'> = async (fault, scene) => {
  const { house, eye } = scene;
  const backup = join(house.folder, `backup-${fault.id}`);
  rmSync(backup, { recursive: true, force: true });
  await scene.outage(() => house.system.backUpPostgres(backup));
  const from = eye.count;
  await eye.until(() => (eye.count >= from + eventsAfterCopy ? true : undefined), scene.patienceMs);
  const taken = await scene.outage(async () => {
    const before = await house.system.restorePostgres(backup);
    const { rows } = await house.system.database.admin.query<{ pos: string }>('SELECT pos FROM es.log_head');
    // Whatever the new server has numbered already is none of what was seen on the old one.
    const epochs = await house.system.database.admin.query<{ pos: string }>(
      `SELECT (e.data->>'afterPosition') AS pos FROM es.event e WHERE e.type = 'log.epoch-started' ORDER BY e.ingest_id DESC LIMIT 1`,
    );
    const head = Number(epochs.rows[0]?.pos ?? rows[0]?.pos ?? 0);
    eye.restored(before, head);
    return before.length - head;
  });
  rmSync(backup, { recursive: true, force: true });
  if (taken <= 0) return missed('nothing had been recorded since the copy');
  const epoch = await eye.until(() => eye.find(0, ({ type }) => type === 'log.epoch-started'), recoveryMs);
  return injected(
    `${taken} events were taken back; ${epoch === undefined ? 'no new epoch of the log began' : `a new epoch began at ${epoch.pos}`}`,
  );
};
