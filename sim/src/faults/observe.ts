import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { listDead } from '@plumbline/bus';
import { tableHash, type EventLog } from '@plumbline/event-log';
import type { History, LogEvent } from './history.js';
import type { House } from './house.js';
import type { ProcessLife } from './process-life.js';

const run = promisify(execFile);
const quietMs = 90_000;
const models = ['tasks', 'verdicts', 'escalations', 'queue'] as const;

/** Everything that can be seen of a run once its tasks have ended: waits until the log is numbered and projected, then reads it all. */
export async function observe(
  house: House,
  lives: ReadonlyMap<string, ProcessLife>,
): Promise<Pick<History, 'events' | 'audit' | 'branches' | 'pushes' | 'readModels' | 'deadLetters' | 'openLeases'>> {
  const { system, origin } = house;
  await projected(house);
  const served = await hashes(house);
  const deadLetters = await deadLettersOf(house);
  const rebuilt = await rebuild(house, lives);
  const audit = await system.log.audit();
  const parked = await system.database.admin.query<{ projector: string; n: string }>(
    'SELECT projector, count(*) AS n FROM es.parked GROUP BY projector',
  );
  const parkedOf = (name: string): number => Number(parked.rows.find(({ projector }) => projector === name)?.n ?? 0);
  return {
    events: await allEvents(system.log),
    audit: {
      ok: audit.ok,
      events: audit.events,
      ...(audit.firstBad === undefined ? {} : { detail: `${audit.firstBad.position}: ${audit.firstBad.what}` }),
    },
    branches: await branches(origin.path),
    pushes: origin.pushes.filter(({ branch }) => branch !== 'main'),
    readModels: models.map((name) => ({
      name,
      served: served.get(name) ?? '',
      rebuilt: rebuilt.get(name) ?? '',
      parked: parkedOf(name),
    })),
    deadLetters,
    openLeases: await openLeases(house),
  };
}

async function allEvents(log: EventLog): Promise<LogEvent[]> {
  const events: LogEvent[] = [];
  for (;;) {
    const page = await log.readLog({ afterPos: events.at(-1)?.pos ?? 0, limit: 5_000 });
    if (page.length === 0) return events;
    for (const { pos, recordedAt, streamId, version, type, data } of page)
      events.push({ pos, at: Date.parse(recordedAt), streamId, version, type, data: data as Record<string, unknown> });
  }
}

async function hashes(house: House): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const name of models)
    found.set(name, JSON.stringify(await tableHash(house.system.database.ledger, `rm_${name}`)));
  return found;
}

/** Waits until nothing is left to number and every read model has come to the head. */
async function projected({ system }: House): Promise<void> {
  const until = performance.now() + quietMs;
  for (;;) {
    const { rows } = await system.database.admin.query<{ done: boolean }>(
      `SELECT NOT EXISTS (SELECT FROM es.pending)
          AND count(*) FILTER (WHERE c.pos = h.pos) = cardinality($1::text[]) AS done
         FROM es.log_head h LEFT JOIN es.checkpoint c ON c.generation = 'live' AND c.projector = ANY($1) GROUP BY h.pos`,
      [models],
    );
    if (rows[0]?.done === true) return;
    if (performance.now() > until)
      throw new Error(`the read models did not come to the head of the log within ${quietMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** As an upgrade would: the recorded version of each read model is not the one that is wanted, and the next ledger builds it anew. */
async function rebuild(house: House, lives: ReadonlyMap<string, ProcessLife>): Promise<Map<string, string>> {
  const ledgers = ['ledger', 'ledger/2'] as const;
  for (const name of ledgers) {
    lives.get(name)?.over();
    await house.system.kill(name, 'SIGKILL');
  }
  await house.system.database.admin.query('UPDATE es.checkpoint SET version = 0 WHERE projector = ANY($1)', [models]);
  await house.system.restart('ledger');
  await projected(house);
  return hashes(house);
}

async function deadLettersOf({ system }: House): Promise<History['deadLetters']> {
  const { entries } = await listDead(await system.client('ledger'), { limit: 1_000 });
  return entries.map(({ letter, service }) => ({
    subject: letter?.subject ?? service,
    reason: letter?.reason ?? 'what is stored is not a dead letter',
  }));
}

async function branches(origin: string): Promise<History['branches']> {
  const format = '--format=%(refname:short) %(objectname) %(tree)';
  const { stdout } = await run('git', ['for-each-ref', format, 'refs/heads'], { cwd: origin });
  return stdout
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('main '))
    .map((line) => {
      const [branch = '', commit = '', tree = ''] = line.split(' ');
      return { branch, commit, tree };
    });
}

/** Steps that could still be worked on although their task is over. */
async function openLeases({ system }: House): Promise<History['openLeases']> {
  const { rows } = await system.database.admin.query<{ task_id: string; step: string; state: string }>(
    `SELECT task_id, step, state FROM es.step_lease l WHERE state IN ('open', 'held')
        AND EXISTS (SELECT FROM es.event e WHERE e.stream_id = l.stream_id AND e.type = 'task.closed')`,
  );
  return rows.map(({ task_id: taskId, step, state }) => ({ taskId, step, state }));
}
