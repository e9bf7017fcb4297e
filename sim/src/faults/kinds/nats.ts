import { goesOn, recoveryMs } from './recovery.js';
import { injected, missed, type HouseNemesis, type Scene } from '../nemesis.js';

export const natsRestart: HouseNemesis<'nats-restart'> = (_, scene) => restartNats(scene, 'SIGTERM', false);
export const natsKill: HouseNemesis<'nats-kill'> = (_, scene) => restartNats(scene, 'SIGKILL', false);
export const natsWipe: HouseNemesis<'nats-wipe'> = (_, scene) => restartNats(scene, 'SIGKILL', true);

async function restartNats(
  scene: Scene,
  signal: 'SIGTERM' | 'SIGKILL',
  wipe: boolean,
): Promise<ReturnType<typeof injected>> {
  const { nats } = scene.house.system;
  const before = await startedAt(scene);
  await scene.outage(async () => {
    await nats.halt(signal);
    if (wipe) nats.wipe();
    await nats.launch();
  });
  const from = scene.eye.count;
  const after = await startedAt(scene);
  if (before === after) return missed('the same server answers as before');
  return injected(`${wipe ? 'its store was deleted; ' : ''}${await goesOn(scene, from)}`);
}

/** Which life of the server answers. */
async function startedAt({ house }: Scene): Promise<string> {
  const bus = await house.system.client('ledger');
  for (let tries = 0; tries < 100; tries++) {
    const id = bus.nc.info?.server_id;
    if (id !== undefined && !bus.nc.isClosed()) {
      try {
        await bus.nc.flush();
        return bus.nc.info?.server_id ?? id;
      } catch {
        // It is on its way back.
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('NATS did not come back within 10 s');
}

/** With the ledger's own rights: a message that is no copy of an event. Gone again when LOG was made anew. */
export const logForeign: HouseNemesis<'log-foreign'> = async (_, scene) => {
  const bus = await scene.house.system.client('ledger');
  const stored = await bus.js
    .publish('log.task.closed.nobody', new TextEncoder().encode('{"outcome":"go","verdict":"GO"}'))
    .catch((error: unknown) => String(error));
  if (typeof stored === 'string') return missed(`LOG did not take it: ${stored}`);
  const rebuilt = await rebuilds(scene);
  return rebuilt
    ? injected(`stored at sequence ${stored.seq}; LOG was made anew`)
    : missed(`stored at sequence ${stored.seq}, and LOG was not made anew within ${recoveryMs} ms`);
};

/** With an administrator's rights: the stream is gone, the server goes on. (Purging it, or deleting a message of it, the server refuses.) */
export const logDelete: HouseNemesis<'log-delete'> = async (_, scene) => {
  const bus = await scene.house.system.client('ledger');
  const { state } = await bus.jsm.streams.info('LOG');
  const refused = await bus.jsm.streams.purge('LOG').then(
    () => false,
    () => true,
  );
  await bus.jsm.streams.delete('LOG');
  const rebuilt = await rebuilds(scene);
  const how = `purging was ${refused ? 'refused' : 'taken'}, ${state.messages} messages were deleted with their stream`;
  return rebuilt ? injected(`${how}; LOG was made anew`) : missed(`${how}, and LOG was not made anew`);
};

/** Whether one of the ledgers says, from now on, that LOG is being made anew. */
async function rebuilds({ house, eye }: Scene): Promise<boolean> {
  const said = (): number =>
    (['ledger', 'ledger/2'] as const)
      .flatMap((name) => [...house.system.logs(name)])
      .filter(({ msg }) => typeof msg === 'string' && msg.includes('LOG is being rebuilt')).length;
  const before = said();
  return (await eye.until(() => (said() > before ? true : undefined), recoveryMs)) === true;
}
