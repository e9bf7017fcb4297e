import type { TaskPhase } from '../src/index.js';
import { aPolicy } from './builders.js';
import { World } from './world.js';

export const snapshotted = (overrides = {}): World => new World().submit(overrides).succeed('snapshot.0.1');
export const oneTry = aPolicy({ attempts: { perTier: [1] } });

/** A task at rest in each phase in which a task can rest. */
export const inPhase: Record<Exclude<TaskPhase, 'judged' | 'retrying' | 'escalated'>, () => World> = {
  none: () => new World(),
  submitted: () => new World().submit(),
  'waiting-for-capacity': () => snapshotted(),
  coding: () => snapshotted().seat('coding.1.1'),
  gating: () => snapshotted().seat('coding.1.1').succeed('coding.1.1'),
  reviewing: () => snapshotted().seat('coding.1.1').succeed('coding.1.1').succeed('gating.1.1'),
  publishing: () => snapshotted().attempt(1),
  'awaiting-ruling': () => snapshotted({ policy: oneTry }).attempt(1, { tests: 'fail' }),
  closed: () => snapshotted({ publish: 'none' }).attempt(1),
};
