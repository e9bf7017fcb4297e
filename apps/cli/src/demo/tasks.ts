import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NatsConnection } from '@nats-io/transport-node';
import { CliError } from '../failure.js';
import { advance, noProgress, readLog, type Progress } from '../ledger/follow.js';
import type { EventDocument } from '../ledger/documents.js';
import type { LedgerApi } from '../ledger/ledger-api.js';
import { cloudEvent, publishIntake, publishIntakeBinary } from '../system/bus-client.js';
import { parseIssue } from '../system/issue.js';
import { plain } from '../terminal/text.js';
import { baseBranch } from './sample-repository.js';

/** The two tasks, in the order in which they are handed in. */
export const demoTasks = [
  { name: 'fix', issue: 'lost-cent.md', promise: 'an honest fix with its tests' },
  {
    name: 'trap',
    issue: 'long-names.md',
    promise: 'a clean, tested change that touches none of the files the issue names',
  },
] as const;
export type DemoName = (typeof demoTasks)[number]['name'];

/** A task of the demo on its way. */
export interface DemoTask {
  readonly name: DemoName;
  readonly eventId: string;
  id: string | undefined;
  head: string | undefined;
  progress: Progress;
}

/** Publishes both tasks as CloudEvents, one in each of the two modes, as any NATS client could. */
export async function submitBoth(nc: NatsConnection, options: { issues: string; origin: string }): Promise<DemoTask[]> {
  const tasks: DemoTask[] = [];
  for (const { name, issue } of demoTasks) {
    const event = cloudEvent('submit', {
      repository: { url: options.origin, base: baseBranch },
      issue: parseIssue(readFileSync(join(options.issues, issue), 'utf8')),
      policy: 'strict',
      publish: 'branch',
    });
    await (name === 'fix' ? publishIntake : publishIntakeBinary)(nc, 'submit', event);
    tasks.push({ name, eventId: String(event['id']), id: undefined, head: undefined, progress: noProgress });
  }
  return tasks;
}

/** Rejects with the scheduler's words if it refuses one of the tasks; never resolves. */
export function refusalOf(nc: NatsConnection, tasks: readonly DemoTask[]): Promise<never> {
  return new Promise((_, reject) => {
    nc.subscribe('plumb.intake.refused', {
      callback: (_error, message) => {
        const { data } = JSON.parse(message.string()) as { data?: { id?: string; message?: string } };
        const task = tasks.find(({ eventId }) => eventId === data?.id);
        if (task === undefined) return;
        const why = plain(data?.message ?? 'without a reason');
        reject(
          new CliError(
            `The scheduler refused the task ${task.name}: ${why}`,
            'This is a defect of the demo; please report it.',
          ),
        );
      },
    });
  });
}

/** Reads the log as it grows until both tasks rest; every event goes to `onEvent` with the task it is about. */
export async function followBoth(
  ledger: LedgerApi,
  tasks: readonly DemoTask[],
  onEvent: (event: EventDocument, task: DemoTask | undefined) => void,
  signal: AbortSignal,
): Promise<void> {
  for await (const event of readLog(ledger, { after: 0, follow: true, signal })) {
    if (event.type === 'task.submitted') {
      const submitted = tasks.find(({ eventId }) => eventId === (event.data as { submissionId?: string }).submissionId);
      if (submitted !== undefined) submitted.id = event.task;
    }
    const task = event.task === undefined ? undefined : tasks.find(({ id }) => id === event.task);
    if (task !== undefined) {
      task.progress = advance(task.progress, event);
      if (event.type === 'change.published') task.head = (event.data as { head?: string }).head;
    }
    onEvent(event, task);
    if (tasks.every(({ progress }) => progress.resting)) return;
  }
}

/** An escalation that is open. */
export interface OpenEscalation {
  readonly task: string;
  readonly to: string | undefined;
}

/** The open escalations of the tasks, by their histories: the inbox is a read model and may be a moment behind. */
export async function openEscalations(ledger: LedgerApi, tasks: readonly DemoTask[]): Promise<OpenEscalation[]> {
  const documents = await Promise.all(tasks.map(({ id }) => (id === undefined ? undefined : ledger.task(id))));
  return documents.flatMap((document) =>
    (document?.escalations ?? []).flatMap(({ open, to }) =>
      open === true ? [{ task: document?.task.id ?? '', to }] : [],
    ),
  );
}
