import type { PoolClient } from 'pg';
import {
  decodeEvent,
  eventCatalogue,
  isEventType,
  streamEntity,
  type EventType,
  type PlumblineEvent,
} from '@plumbline/domain';
import type { ProjectedEvent, Projection } from '@plumbline/event-log';
import { phaseAfter } from './phase.js';
import { writeTasks, type TaskChange, type TaskInsert, type TaskWrites } from './task-writes.js';

/** What the row of a task is made of; of any other event it only matters that and when it happened. */
const telling = [
  'task.submitted',
  'task.capacity-awaited',
  'task.coding-requested',
  'verdict.reached',
  'escalation.opened',
  'task.closed',
] as const satisfies readonly EventType[];
const isTelling: ReadonlySet<string> = new Set(telling);

/** The list of tasks as people see it: one row a task. */
export const tasksProjection: Projection = {
  name: 'tasks',
  version: 2,
  ddl: (schema) => `
    CREATE TABLE ${schema}.task (
      task_id text PRIMARY KEY,
      phase text NOT NULL,
      title text NOT NULL,
      repository text NOT NULL,
      base text NOT NULL,
      policy text NOT NULL,
      priority text NOT NULL,
      attempts integer NOT NULL DEFAULT 0,
      verdict text,
      outcome text,
      waiting_for text,
      source text COLLATE "C" NOT NULL,
      submission_id text COLLATE "C" NOT NULL,
      submitted_pos bigint NOT NULL,
      updated_pos bigint NOT NULL,
      submitted_at timestamptz NOT NULL,
      updated_at timestamptz NOT NULL,
      closed_at timestamptz
    );
    CREATE INDEX ON ${schema}.task (submitted_pos);
    CREATE INDEX ON ${schema}.task (phase, submitted_pos);
    CREATE INDEX ON ${schema}.task (submission_id);
    CREATE INDEX ON ${schema}.task (updated_at);`,
  dataOf: telling,
  apply: (client, schema, recorded) => applyBatch(client, schema, [recorded]),
  applyBatch,
};

async function applyBatch(client: PoolClient, schema: string, events: readonly ProjectedEvent[]): Promise<void> {
  await writeTasks(client, schema, writesOf(events));
}

/** What a run of events does to the rows: at most one change a task, whatever happened to it. Throws on data that does not fit its type. */
export function writesOf(events: readonly ProjectedEvent[]): TaskWrites {
  const inserts: TaskInsert[] = [];
  /** What is to be changed of a row: one that is there already, or the one being inserted. */
  const open = new Map<string, TaskChange>();
  for (const recorded of events) {
    if (!recorded.streamId.startsWith('task-')) continue;
    const taskId = streamEntity(recorded.streamId).id;
    const event = isTelling.has(recorded.type) ? plumblineEvent(recorded) : undefined;
    if (event === undefined && !isKnown(recorded)) continue;
    if (event?.type === 'task.submitted') {
      const insert = insertOf(taskId, event, recorded);
      inserts.push(insert);
      // What came before on this stream would have found no row to change.
      open.set(taskId, insert);
      continue;
    }
    const change = open.get(taskId) ?? unchanged(taskId);
    open.set(taskId, change);
    note(change, event, recorded);
  }
  const inserted = new Set<TaskChange>(inserts);
  return { inserts, changes: [...open.values()].filter((change) => !inserted.has(change)) };
}

function insertOf(
  taskId: string,
  { data }: Extract<PlumblineEvent, { type: 'task.submitted' }>,
  { pos, recordedAt }: ProjectedEvent,
): TaskInsert {
  const { issue, repository, policy, priority, source, submissionId } = data;
  const { title } = issue;
  const said = {
    title,
    repository: repository.url,
    base: repository.base,
    policy: policy.name,
    priority,
    source,
    submissionId,
  };
  const stands = { ...unchanged(taskId), phase: 'submitted', submittedPos: pos, submittedAt: recordedAt };
  return { ...said, ...stands, updatedPos: pos, updatedAt: recordedAt };
}

const unchanged = (taskId: string): TaskChange => ({
  taskId,
  phase: null,
  verdict: null,
  outcome: null,
  attempts: 0,
  waitingFor: null,
  closedAt: null,
  updatedPos: 0,
  updatedAt: '',
});

/** Lays one more event on top of a change. */
function note(change: TaskChange, event: PlumblineEvent | undefined, recorded: ProjectedEvent): void {
  const phase = phaseAfter(event ?? { type: recorded.type as Exclude<EventType, (typeof telling)[number]> });
  if (phase !== undefined) {
    change.phase = phase;
    if (phase === 'closed') change.closedAt = recorded.recordedAt;
    change.waitingFor = event === undefined ? null : waitingFor(event);
  }
  if (event?.type === 'verdict.reached') change.verdict = event.data.judgement.verdict;
  if (event?.type === 'task.closed') {
    change.verdict = event.data.verdict ?? change.verdict;
    change.outcome = event.data.outcome;
  }
  if (event?.type === 'task.coding-requested') change.attempts = Math.max(change.attempts, event.data.attempt);
  change.updatedPos = recorded.pos;
  change.updatedAt = recorded.recordedAt;
}

/** What a task waits for after an event, in a word, or null when something is under way. */
function waitingFor(event: PlumblineEvent): string | null {
  if (event.type === 'task.capacity-awaited') return `a model for the seat ${event.data.seat}`;
  if (event.type === 'escalation.opened' && event.data.to === 'human') return 'a ruling';
  return null;
}

/** Whether this build knows the event's type and version: what a newer one wrote is left to the newer one. */
function isKnown({ type, schemaVersion }: ProjectedEvent): boolean {
  return isEventType(type) && schemaVersion >= 1 && schemaVersion <= eventCatalogue[type].version;
}

/** The event in its current version; undefined for what this build does not know. Data that does not fit its type parks the stream. */
export function plumblineEvent(recorded: ProjectedEvent): PlumblineEvent | undefined {
  const decoded = decodeEvent(recorded);
  if (decoded.outcome === 'event') return decoded.event;
  if (decoded.outcome === 'unknown') return undefined;
  const first = decoded.problems[0];
  throw new Error(
    `${recorded.type} at ${recorded.pos}: ${first?.field ?? 'data'}: expected ${first?.expected ?? 'data of its type'}`,
  );
}
