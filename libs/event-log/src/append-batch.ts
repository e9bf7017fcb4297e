/** An event to be recorded. `occurredAt` is the producer's claim (RFC 3339); without it the recording instant is taken. */
export interface NewEvent {
  type: string;
  schemaVersion: number;
  data: unknown;
  meta: Record<string, unknown>;
  occurredAt?: string;
}

/** Events for one stream. `expectedVersion` 0 means that the stream must be new; undefined accepts any version. */
export interface StreamAppend {
  streamId: string;
  category: string;
  expectedVersion?: number;
  events: NewEvent[];
}

/** A worker's right to state facts: its lease must be held at this epoch. `release` ends the step in the same transaction. */
export interface Fence {
  taskId: string;
  step: string;
  epoch: number;
  release?: boolean;
}

/** A timer to be set; a timer of the same id is replaced. It fires as an event of its stream `dueInMs` after the commit. */
export interface NewTimer {
  timerId: string;
  streamId: string;
  category: string;
  kind: string;
  dueInMs: number;
  data: unknown;
  meta?: Record<string, unknown>;
}

/**
 * Everything one command records; all of it or nothing. The same `commandId` with the same content is answered with the first
 * result. `meta` and `occurredAt` are not content: a retry may carry another trace context, and the first one stays recorded.
 */
export interface AppendBatch {
  commandId: string;
  streams: StreamAppend[];
  fence?: Fence;
  steps?: { open?: { taskId: string; step: string }[]; close?: { taskId: string; step: string }[] };
  timers?: { set?: NewTimer[]; cancel?: string[]; cancelStreams?: string[] };
}

/** The versions a command's events took in one stream. */
export interface AppendedStream {
  streamId: string;
  firstVersion: number;
  lastVersion: number;
}

/** What became of a batch. Every outcome but `appended` has changed nothing. */
export type AppendResult =
  | { outcome: 'appended'; duplicate: boolean; streams: AppendedStream[] }
  | { outcome: 'wrong-expected-version'; streamId: string; expected: number; actual: number }
  | { outcome: 'fenced'; taskId: string; step: string; epoch: number; current: { state: string; epoch: number } | null }
  | { outcome: 'command-reused'; commandId: string };

/** Where the lease events of a task are recorded. */
export type TaskStream = (taskId: string) => { streamId: string; category: string };
