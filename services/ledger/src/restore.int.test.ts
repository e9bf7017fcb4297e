import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LedgerClient, request, verifyLog, type Bus } from '@plumbline/bus';
import { decodeEvent, evolve, initialTask, taskStream, type TaskState } from '@plumbline/domain';
import { freePort } from '@plumbline/embedded';
import { createLedgerPool, EventLog } from '@plumbline/event-log';
import {
  exampleSubmission,
  exampleModel,
  registerNode,
  ServiceChild,
  startTestNats,
  StepDouble,
  type TestNats,
} from '@plumbline/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Cluster, embeddedFolder, toolsFolder } from './cluster.fixture.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const tools = toolsFolder();
const apiToken = 'token-of-the-restore-test';

let nats: TestNats;
let folder: string;
let port: number;
let cluster: Cluster | undefined;
const children: ServiceChild[] = [];
beforeAll(async () => {
  nats = await startTestNats();
});
afterAll(() => nats?.stop());
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'plumb-restore-'));
  port = await freePort();
});
afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.kill('SIGKILL')));
  await cluster?.stop();
  rmSync(folder, { recursive: true, force: true });
  const { jsm } = await nats.connect('ledger');
  for (const name of ['LOG', 'INTAKE', 'DEAD', 'REDO', 'REFUSED'])
    await jsm.streams.delete(name).catch(() => undefined);
});

function service(name: 'ledger' | 'scheduler', more: Record<string, string> = {}): ServiceChild {
  const child = new ServiceChild(name, [process.execPath, join(root, 'services', name, 'dist', 'main.js')], {
    PLUMB_NATS_URL: nats.url,
    PLUMB_NATS_PASSWORD: nats.passwords[name],
    PLUMB_API_TOKEN: apiToken,
    PLUMB_RECONCILE_INTERVAL_MS: '300',
    PLUMB_STEP_IDLE_AFTER_MS: '1000',
    PLUMB_INSTANCE: `${name}-${children.length}`,
    ...more,
  });
  children.push(child);
  child.start();
  return child;
}

/** A way to keep the log's state and to go back to it; the cluster that comes back listens where the old one did. */
interface Way {
  name: string;
  available: boolean;
  bin: () => string;
  /** Returns how to go back. Called while the system runs. */
  keep: (from: Cluster) => Promise<() => Promise<Cluster>>;
  noticed: RegExp;
}

const ways: Way[] = [
  {
    name: 'a dump, restored into a new cluster',
    available: tools !== undefined,
    bin: () => tools ?? '',
    keep: async (from) => {
      const [roles, dump] = [join(folder, 'roles.sql'), join(folder, 'plumb.dump')];
      from.run('pg_dumpall', '--roles-only', '-f', roles);
      from.run('pg_dump', '-Fc', '-f', dump, 'plumb');
      return async () => {
        await from.stop();
        const to = await Cluster.create(tools ?? '', join(folder, 'new'), port);
        // That postgres exists already is the one complaint.
        to.run('psql', '-q', '-f', roles, 'postgres');
        to.run('createdb', 'plumb');
        to.run('pg_restore', '--exit-on-error', '-d', 'plumb', dump);
        return to;
      };
    },
    noticed: /the log was written at cluster (\d+), .* and is now at cluster (?!\1)/,
  },
  {
    name: 'a replica that was promoted and lacks the last commits',
    available: tools !== undefined,
    bin: () => tools ?? '',
    keep: (from) => {
      const standby = join(folder, 'standby');
      from.run('pg_basebackup', '-D', standby, '-c', 'fast', '-X', 'stream', '-R');
      return Promise.resolve(async () => {
        await from.stop();
        return from.promoted(standby);
      });
    },
    noticed: /the log was written at cluster (\d+), timeline 1, .* and is now at cluster \1, timeline 2/,
  },
  {
    name: 'a copy of the database in the same cluster',
    available: true,
    bin: embeddedFolder,
    keep: async (from) => {
      await from.query(`ALTER DATABASE plumb ALLOW_CONNECTIONS false`, 'postgres');
      await from.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'plumb'`, 'postgres');
      await from.query('CREATE DATABASE kept TEMPLATE plumb', 'postgres');
      await from.query(`ALTER DATABASE plumb ALLOW_CONNECTIONS true`, 'postgres');
      return async () => {
        await from.query('ALTER DATABASE kept ALLOW_CONNECTIONS true', 'postgres');
        await from.query('DROP DATABASE plumb WITH (FORCE)', 'postgres');
        await from.query('ALTER DATABASE kept RENAME TO plumb', 'postgres');
        await from.query('GRANT CREATE ON DATABASE plumb TO plumbline_ledger', 'postgres');
        return from;
      };
    },
    noticed:
      /the log was written at cluster (\d+), timeline 1, database (\d+), .* and is now at cluster \1, timeline 1, database (?!\2)/,
  },
  {
    name: 'files put back, in a cluster that seems the same',
    available: true,
    bin: embeddedFolder,
    keep: async (from) => {
      await from.stop();
      const kept = from.copiedTo(join(folder, 'kept'));
      await from.start();
      return async () => {
        await from.stop();
        await kept.start();
        return kept;
      };
    },
    noticed: /^events were lost: (LOG holds positions up to \d+, the log ends at \d+|at position \d+ event)/,
  },
];

describe.each(ways)('$name', ({ available, bin, keep, noticed }) => {
  it.skipIf(!available)(
    'goes on in a new epoch: what was open is asked for again, what was lost has no say',
    async () => {
      cluster = await Cluster.create(bin(), join(folder, 'first'), port);
      await cluster.query('CREATE DATABASE plumb', 'postgres');
      const urls = {
        PLUMB_DATABASE_URL: cluster.url('plumb_ledger'),
        PLUMB_DATABASE_ADMIN_URL: cluster.url(),
      };
      const first = service('ledger', urls);
      await first.ready();
      const scheduler = String((await service('scheduler').ready())['http']);
      const bus = await nats.connect('user');
      const codeHost = new LedgerClient(await nats.connect('code-host'), 'code-host');

      const kept = await submit(bus, 'kept');
      const goBack = await keep(cluster);
      await expect.poll(() => openSteps(codeHost, kept), { timeout: 30_000 }).toContain('snapshot.0.1');
      // The future that will be lost: a node, a task, and a worker that takes a step and never hears of the restore.
      await registerNode(await nats.connect('node-agent'), { models: [exampleModel({ name: 'lost', slots: 2 })] });
      await expect.poll(() => metric(scheduler, 'plumb_granted_bytes'), { timeout: 30_000 }).toContain('studio');
      const lost = await submit(bus, 'lost');
      const zombie = { taskId: kept, step: 'snapshot.0.1' as const };
      expect(await codeHost.claim({ ...zombie, holder: 'code-host/zombie' })).toMatchObject({
        outcome: 'granted',
        epoch: 1,
      });

      // What LOG does not tell of either, nobody can know when the files are put back.
      await copied(cluster);
      await first.kill('SIGKILL');
      const before = await logEnd();
      cluster = await goBack();
      const second = service('ledger', urls);
      const api = new URL(String((await second.ready())['http']));

      // The zombie's result: of a lease that was never granted in this log.
      const late = await codeHost.append(snapshotResult(kept, 1, 'late'));
      expect(late).toMatchObject({ outcome: 'fenced' });
      // An honest worker hears of the step again and ends it.
      const worker = new StepDouble(await nats.connect('code-host'), 'code-host', { holder: 'code-host/new' });
      try {
        await expect
          .poll(() => worker.reports.filter((report) => report.outcome === 'done').map((report) => report.taskId), {
            timeout: 30_000,
          })
          .toContain(kept);
      } finally {
        await worker.stop();
      }
      expect(await codeHost.append(snapshotResult(kept, 1, 'later still'))).toMatchObject({ outcome: 'fenced' });

      const pool = createLedgerPool({ url: cluster.url('plumb_ledger'), maxConnections: 2 });
      try {
        const log = new EventLog({ pool });
        const history = await log.readStream(taskStream(kept));
        expect(history.filter(({ type }) => type === 'snapshot.taken')).toHaveLength(1);
        const granted = history
          .filter(({ type }) => type === 'lease.granted')
          .map(({ data }) => (data as { epoch: number }).epoch);
        expect(Math.min(...granted)).toBeGreaterThan(1);
        expect(stateOf(history).snapshot).not.toBeNull();
        // The scheduler ran through it all and must not seat anybody on a model that only the lost future knew.
        await registerNode(await nats.connect('node-agent'), { models: [exampleModel({ name: 'there', slots: 2 })] });
        const seats = async () =>
          (await codeHost.readTask(kept)).events.flatMap((event) =>
            event.type === 'task.coding-requested' ? [event.data.model.name] : [],
          );
        await expect.poll(seats, { timeout: 30_000 }).not.toEqual([]);
        expect(new Set(await seats())).toEqual(new Set(['there']));
        // What is not in the log was never handed in; the same submission under the same key is a new one.
        expect(await log.readStream(taskStream(lost))).toEqual([]);
        expect(await submit(bus, 'lost')).toBe(lost);
        expect((await log.readStream(taskStream(lost)))[0]).toMatchObject({ version: 1, type: 'task.submitted' });

        const audit = (await (
          await fetch(new URL('/v1/audit', api), { headers: { authorization: `Bearer ${apiToken}` } })
        ).json()) as object;
        expect(audit).toMatchObject({ ok: true, epochs: [{ number: 2, why: expect.stringMatching(noticed) }] });
        await copied(cluster);
        const { epoch } = await log.head();
        expect([before.epoch === epoch, before.lastSeq > 0]).toEqual([false, true]);
      } finally {
        await pool.end();
      }
    },
    180_000,
  );
});

const metric = async (url: string, name: string): Promise<string> =>
  (await (await fetch(`${url}/metrics`)).text())
    .split('\n')
    .filter((line) => line.startsWith(name))
    .join('\n');

async function submit(bus: Bus, key: string): Promise<string> {
  for (;;) {
    const reply = await request(
      bus,
      'plumb.request.task.submit',
      { ...exampleSubmission, idempotencyKey: key },
      { timeoutMs: 10_000 },
    ).catch(() => undefined);
    if (reply?.ok === true) return (reply.value as { taskId: string }).taskId;
  }
}

const openSteps = async (ledger: LedgerClient, taskId: string): Promise<string[]> =>
  (await ledger.readTask(taskId)).events.flatMap((event) =>
    event.type === 'task.snapshot-requested' ? [event.data.step] : [],
  );

const snapshotResult = (taskId: string, epoch: number, key: string) => ({
  commandId: crypto.randomUUID(),
  streams: [
    {
      streamId: taskStream(taskId),
      events: [
        {
          type: 'snapshot.taken',
          data: {
            step: 'snapshot.0.1',
            base: '1'.repeat(40),
            tree: '2'.repeat(40),
            objectFormat: 'sha1',
            pack: { digest: 'cd'.repeat(32), sizeBytes: key.length, mediaType: 'application/octet-stream' },
          },
        },
      ],
    },
  ],
  fence: { taskId, step: 'snapshot.0.1', epoch, release: true },
});

function stateOf(history: Awaited<ReturnType<EventLog['readStream']>>): TaskState {
  return history.reduce<TaskState>((state, event) => {
    const decoded = decodeEvent(event);
    if (decoded.outcome !== 'event') throw new Error(`cannot read ${event.type}`);
    return evolve(state, decoded.event);
  }, initialTask);
}

async function logEnd(): Promise<{ epoch: string; lastSeq: number }> {
  const { jsm } = await nats.connect('ledger');
  const { config, state } = await jsm.streams.info('LOG');
  return { epoch: (config.description ?? '').split('epoch=')[1] ?? '', lastSeq: state.last_seq };
}

/** Resolves once LOG is the log. */
async function copied(from: Cluster): Promise<void> {
  const { jsm } = await nats.connect('ledger');
  const end = async (): Promise<[string, number]> => {
    const [head] = await from.query<{ epoch: string; pos: number; pending: number }>(
      'SELECT epoch, pos::int, (SELECT count(*)::int FROM es.pending) AS pending FROM es.log_head',
    );
    const found = await verifyLog(jsm, head?.epoch ?? '', () => Promise.resolve(head?.pos ?? 0), 10_000);
    return [found.outcome, (head?.pending ?? 1) + (head?.pos ?? 0) - ('lastSeq' in found ? found.lastSeq : 0)];
  };
  await expect.poll(end, { timeout: 30_000 }).toEqual(['intact', 0]);
}
