import type { Fault, PlannedTask } from './plan.js';

/** What was observed of a run, from outside: data, so that a checker needs nothing else and a test can make up any. */
export interface History {
  seed: string;
  /** Who handed in what, and what they were told. */
  tasks: SubmittedTask[];
  /** The whole log, by position, read from Postgres at the end. */
  events: LogEvent[];
  /** Events that were seen and that a restore took away; with none, nothing may be missing. */
  lost: LogEvent[];
  /** The chain, as the audit of the log found it. */
  audit: { ok: boolean; events: number; detail?: string };
  /** The origin's branches at the end (without the base), and every update of one, in order. */
  branches: { branch: string; commit: string; tree: string }[];
  pushes: { branch: string; commit: string }[];
  /** Hashes of the tables of each read model, as served and as built anew from the first event. */
  readModels: { name: string; served: string; rebuilt: string; parked: number }[];
  deadLetters: { subject: string; reason: string }[];
  /** Rows of leases that are neither over nor expected to be. */
  openLeases: { taskId: string; step: string; state: string }[];
  /** Processes that ended without having been told to. */
  crashes: { process: string; code: number | null; signal: string | null; words: string }[];
  /** What each planned fault came to. */
  faults: FaultRecord[];
}

export interface SubmittedTask extends PlannedTask {
  /** The id in the answer; absent when nobody answered. */
  taskId?: string;
  /** Every id that was ever answered for this key. */
  answers: string[];
}

export interface LogEvent {
  pos: number;
  /** When it was recorded, by Postgres's clock, in milliseconds. */
  at: number;
  streamId: string;
  version: number;
  type: string;
  data: Record<string, unknown>;
}

/** `evidence` says by what it was seen that the fault happened; without any it counts as not injected. */
export interface FaultRecord {
  fault: Fault;
  outcome: 'injected' | 'missed' | 'skipped';
  evidence: string;
}
