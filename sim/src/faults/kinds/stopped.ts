import { holderOf } from '../house.js';
import { stepEndings, type LeaseSeen } from '../log-eye.js';
import { injected, missed, pause, type ProcessNemesis, type Scene } from '../nemesis.js';
import type { ProcessLife } from '../process-life.js';

const slowMs = 2_000;
/** Well within a lease. */
const grownWithinMs = 15_000;
const takenOverMs = 60_000;

/**
 * Stops a worker at a failpoint, lets its leases run out (their rows are aged), waits until somebody else has the step, lets it go on, and
 * looks at what became of the late one.
 */
const outliveLease = (
  life: ProcessLife,
  scene: Scene,
  failpoint: string,
  untilDone: boolean,
): Promise<Outlived | string> => scene.alone(life.name, () => sleepOver(life, scene, failpoint, untilDone));

type Outlived = { lease: LeaseSeen; from: number };

async function sleepOver(
  life: ProcessLife,
  scene: Scene,
  failpoint: string,
  untilDone: boolean,
): Promise<Outlived | string> {
  const { house, eye } = scene;
  const from = eye.count;
  await life.begin({ PLUMB_FAILPOINTS: `${failpoint}=stop@1` });
  const hit = await life.stopped(scene.patienceMs, scene.ending);
  if (hit === undefined) return `${failpoint} was not passed`;
  try {
    const lease = await eye.until(() => eye.leasesOf(holderOf(life.name)).at(-1), 5_000);
    if (lease === undefined) return 'it was stopped and held no lease';
    await house.ageLeases(life.name);
    const ofStep = (type: string, epoch: number) =>
      eye
        .of(lease.taskId)
        .find(({ type: t, data }) => t === type && data['step'] === lease.step && Number(data['epoch']) >= epoch);
    const next = await eye.until(() => ofStep('lease.granted', lease.epoch + 1), takenOverMs);
    if (next === undefined) return `nobody took over ${lease.step} of ${lease.taskId}`;
    if (untilDone)
      await eye.until(
        () => eye.of(lease.taskId).find(({ type, data }) => stepEndings.has(type) && data['step'] === lease.step),
        takenOverMs,
      );
    return { lease, from };
  } finally {
    // The armed failpoint struck: the process goes on without it.
    life.disarm();
    if (life.running) life.signal('SIGCONT');
  }
}

/** The work is done when the machine falls asleep; when it wakes up somebody else has ended the step. Its result must be refused, on record. */
export const zombie: ProcessNemesis<'zombie'> = async (_, life, scene) => {
  const outlived = await outliveLease(life, scene, 'step.worked', true);
  if (typeof outlived === 'string') return missed(outlived);
  const { taskId, step, epoch } = outlived.lease;
  const refused = await scene.eye.until(
    () =>
      scene.eye
        .of(taskId)
        .find(
          ({ type, data }) =>
            type === 'lease.result-refused' && data['step'] === step && Number(data['epoch']) === epoch,
        ),
    10_000,
  );
  return refused === undefined
    ? missed(`the late result of ${step} of ${taskId} never came`)
    : injected(`the late result of ${step} of ${taskId} under epoch ${epoch} was refused at position ${refused.pos}`);
};

/** The machine falls asleep at the beginning of a step, for longer than its lease. */
export const sleep: ProcessNemesis<'sleep'> = async (_, life, scene) => {
  const outlived = await outliveLease(life, scene, 'step.acknowledged', false);
  if (typeof outlived === 'string') return missed(outlived);
  const { taskId, step, epoch } = outlived.lease;
  return injected(`${step} of ${taskId} went to another worker while the holder of epoch ${epoch} slept`);
};

/** Stopped for a while, well within its leases, while the others go on. */
export const slow: ProcessNemesis<'slow'> = async (fault, life, scene) => {
  await life.up();
  if (!life.running) return missed(`${fault.process} did not run`);
  const from = scene.eye.count;
  life.signal('SIGSTOP');
  try {
    await pause(slowMs);
    const grown = await scene.eye.until(
      () => (scene.eye.count > from ? scene.eye.count - from : undefined),
      grownWithinMs,
    );
    if (grown === undefined) return missed('nothing happened while it was stopped');
    return injected(`the log grew by ${grown} events while it was stopped for ${slowMs} ms or more`);
  } finally {
    if (life.running) life.signal('SIGCONT');
  }
};
