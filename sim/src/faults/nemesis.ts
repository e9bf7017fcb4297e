import type { FaultRecord } from './history.js';
import type { House } from './house.js';
import type { LogEye } from './log-eye.js';
import type { HouseFault, HouseKind, ProcessFault, ProcessKind } from './plan.js';
import type { ProcessLife } from './process-life.js';

/** What a fault came to: how it was seen to happen, or why it did not. */
export type Struck = Pick<FaultRecord, 'outcome' | 'evidence'>;

export const injected = (evidence: string): Struck => ({ outcome: 'injected', evidence });
/** It was tried and nothing showed that it happened: it proves nothing and counts as nothing. */
export const missed = (evidence: string): Struck => ({ outcome: 'missed', evidence });
/** It cannot be done on this machine. */
export const skipped = (evidence: string): Struck => ({ outcome: 'skipped', evidence });

/** Where a fault is injected. */
export interface Scene {
  house: House;
  eye: LogEye;
  lives: ReadonlyMap<string, ProcessLife>;
  /** No fault waits longer than this for its moment, unless it says otherwise. */
  patienceMs: number;
  /** How many tasks have ended: on a slow machine a moment is long in coming, and comes with work. */
  tasksEnded(): number;
  /** Aborts when the run ends. */
  ending: AbortSignal;
  /** One at a time among the processes of this one's service: whoever takes a step over must be able to. */
  alone<T>(process: string, during: () => Promise<T>): Promise<T>;
  /** The server is being kept away on purpose: what cannot start meanwhile is no crash. */
  outage<T>(during: () => Promise<T>): Promise<T>;
}

/** Injects one kind of fault and undoes it; returns once it is undone. `life` is the process it strikes, alone in its hands meanwhile. */
export type ProcessNemesis<K extends ProcessKind> = (
  fault: ProcessFault<K>,
  life: ProcessLife,
  scene: Scene,
) => Promise<Struck>;
export type HouseNemesis<K extends HouseKind> = (fault: HouseFault<K>, scene: Scene) => Promise<Struck>;

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
