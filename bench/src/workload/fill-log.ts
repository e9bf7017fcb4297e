import { randomUUID } from 'node:crypto';
import { eventCatalogue } from '@plumbline/domain';
import { EventLog } from '@plumbline/event-log';
import type { BenchPostgres } from '../servers/bench-postgres.js';
import { TaskWalks } from './task-walks.js';

const tasksAtOnce = 64;
const eventsPerAppend = 3;

/**
 * Records whole histories of tasks until the log holds at least `events`, numbers them, and returns how many it holds. As in production many
 * tasks are under way at once, each growing by a few events at a time, so neighbours in the log are events of different tasks.
 */
export async function fillLog(postgres: BenchPostgres, events: number): Promise<number> {
  const log = new EventLog({ pool: postgres.ledger });
  const walks = new TaskWalks();
  let begun = 0;
  let nextTask = 0;
  const lane = async (): Promise<void> => {
    while (begun < events) {
      const { taskId, events: history } = await walks.task(nextTask++);
      begun += history.length;
      for (let version = 0; version < history.length; version += eventsPerAppend) {
        const part = history.slice(version, version + eventsPerAppend).map(({ type, data }) => ({
          type,
          schemaVersion: eventCatalogue[type].version,
          data,
          meta: { actor: eventCatalogue[type].owner, commandId: randomUUID() },
        }));
        const stream = { streamId: `task-${taskId}`, category: 'task', expectedVersion: version, events: part };
        const result = await log.append({ commandId: randomUUID(), streams: [stream] });
        if (result.outcome !== 'appended') throw new Error(`the log could not be filled: ${JSON.stringify(result)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: tasksAtOnce }, lane));
  await log.close();
  while ((await log.sequence(10_000)).count > 0);
  await postgres.admin.query('VACUUM ANALYZE');
  return (await log.head()).pos;
}
