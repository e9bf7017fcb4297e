import { holderOf } from '../house.js';
import { injected, missed, type ProcessNemesis, type Scene, type Struck } from '../nemesis.js';
import type { ProcessLife } from '../process-life.js';

const takenOverMs = 60_000;
const deliveriesDoubled = 8;
const dripMs = 25;
const chunksDripped = 20;

/** Cut off from NATS while it holds a lease, until the lease is somebody else's; then back. */
export const cut: ProcessNemesis<'cut'> = (_, life, scene) => scene.alone(life.name, () => cutOff(life, scene));

async function cutOff(life: ProcessLife, { house, eye, patienceMs }: Scene): Promise<Struck> {
  const wire = house.wiresOf(life.name).nats;
  const lease = await eye.until(() => eye.leasesOf(holderOf(life.name)).at(-1), patienceMs);
  if (lease === undefined) return missed('it never held a lease');
  wire.cut();
  try {
    const aged = await house.ageLeases(life.name);
    if (aged === 0) return missed(`${lease.step} of ${lease.taskId} was over before its lease could run out`);
    const next = await eye.until(
      () =>
        eye
          .of(lease.taskId)
          .find(
            ({ type, data }) =>
              type === 'lease.granted' && data['step'] === lease.step && Number(data['epoch']) > lease.epoch,
          ),
      takenOverMs,
    );
    if (next === undefined) return missed(`nobody took over ${lease.step} of ${lease.taskId}`);
    return injected(`${lease.step} of ${lease.taskId} went to epoch ${String(next.data['epoch'])} meanwhile`);
  } finally {
    wire.heal();
  }
}

/** Every JetStream delivery to it comes twice, until several did. */
export const double: ProcessNemesis<'double'> = async (_, life, { house, eye, patienceMs }) => {
  const wire = house.wiresOf(life.name).nats;
  const before = wire.counts.doubled;
  wire.double();
  try {
    await eye.until(() => (wire.counts.doubled - before >= deliveriesDoubled ? true : undefined), patienceMs / 2);
    const doubled = wire.counts.doubled - before;
    return doubled === 0 ? missed('nothing was delivered to it') : injected(`${doubled} deliveries came twice`);
  } finally {
    wire.heal();
  }
};

/** What NATS sends it arrives slowly. */
export const drip: ProcessNemesis<'drip'> = async (_, life, { house, eye, patienceMs }) => {
  const wire = house.wiresOf(life.name).nats;
  const before = wire.counts.dripped;
  wire.drip(dripMs);
  try {
    await eye.until(() => (wire.counts.dripped - before >= chunksDripped ? true : undefined), patienceMs / 2);
    const dripped = wire.counts.dripped - before;
    return dripped === 0 ? missed('nothing was sent to it') : injected(`${dripped} chunks waited ${dripMs} ms each`);
  } finally {
    wire.heal();
  }
};

/** The next artifact it stores breaks off in the middle. */
export const uploadCut: ProcessNemesis<'upload-cut'> = async (_, life, { house, eye, patienceMs }) => {
  const wire = house.wiresOf(life.name).ledger;
  const before = wire.counts.uploadsCut;
  wire.cutNextUpload();
  try {
    await eye.until(() => (wire.counts.uploadsCut > before ? true : undefined), patienceMs);
    return wire.counts.uploadsCut === before
      ? missed('it stored no artifact')
      : injected('an upload was cut when half of it was sent');
  } finally {
    wire.heal();
  }
};
