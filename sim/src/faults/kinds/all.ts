import type { HouseNemesis, ProcessNemesis, Scene, Struck } from '../nemesis.js';
import type { HouseFault, HouseKind, ProcessFault, ProcessKind } from '../plan.js';
import type { ProcessLife } from '../process-life.js';
import { kill, killAny } from './kill.js';
import { logForeign, logDelete, natsKill, natsRestart, natsWipe } from './nats.js';
import { postgresKill, postgresRestart, restore } from './postgres.js';
import { sleep, slow, zombie } from './stopped.js';
import { diskFull, skew } from './surroundings.js';
import { cut, double, drip, uploadCut } from './wires.js';

const ofProcesses: { readonly [K in ProcessKind]: ProcessNemesis<K> } = {
  ...{ kill, 'kill-any': killAny, zombie, sleep, slow },
  ...{ cut, double, drip, 'upload-cut': uploadCut, skew, 'disk-full': diskFull },
};

const ofTheHouse: { readonly [K in HouseKind]: HouseNemesis<K> } = {
  ...{ 'nats-restart': natsRestart, 'nats-kill': natsKill, 'nats-wipe': natsWipe },
  ...{ 'log-foreign': logForeign, 'log-delete': logDelete },
  ...{ 'postgres-restart': postgresRestart, 'postgres-kill': postgresKill, restore },
};

/** Injects a fault that strikes one process, and undoes it. */
export function strikeProcess<K extends ProcessKind>(
  fault: ProcessFault<K>,
  life: ProcessLife,
  scene: Scene,
): Promise<Struck> {
  const nemesis: ProcessNemesis<K> = ofProcesses[fault.kind as K];
  return nemesis(fault, life, scene);
}

/** Injects a fault that strikes the house as a whole, and undoes it. */
export function strikeHouse<K extends HouseKind>(fault: HouseFault<K>, scene: Scene): Promise<Struck> {
  const nemesis: HouseNemesis<K> = ofTheHouse[fault.kind as K];
  return nemesis(fault, scene);
}
