import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { request, toBinaryHeaders, toStructured } from '@plumbline/bus';
import { resolvePolicy, serviceNames, stepWorkers, type ServiceName } from '@plumbline/domain';
import { startOtlpReceiver, type OtlpReceiver, type ReceivedSpan } from '../otlp-receiver.js';
import { MetricWatch } from './metric-watch.js';
import { noPrometheus, panelQueries, RealPrometheus } from './real-prometheus.js';
import { sampleFolder } from './sample-origin.js';
import { WholeSystem } from './whole-system.js';

/** Everybody who has a part in a task; a node's agent speaks of machines only. */
const atWork: readonly ServiceName[] = ['ledger', 'scheduler', 'code-host', 'coder', 'gate', 'reviewer'];

const workers: ReadonlySet<string> = new Set(Object.values(stepWorkers));

let receiver: OtlpReceiver;
let whole: WholeSystem;
let metrics: MetricWatch;
let prometheus: RealPrometheus | undefined;
/** Tasks whose traces are looked at once more when everybody has sent all spans. */
const traced = new Map<string, { traceId: string; outside?: string }>();

beforeAll(async () => {
  receiver = await startOtlpReceiver();
  whole = await WholeSystem.start({ otlp: receiver.url });
  metrics = new MetricWatch(() => whole.addresses);
  if (noPrometheus === undefined) prometheus = await RealPrometheus.start(whole.addresses);
}, 120_000);
afterAll(async () => {
  await metrics?.stop();
  await prometheus?.stop();
  await whole?.stop();
  await receiver?.stop();
});

/** A span of somebody who submits, as its headers name it. */
function sendersSpan(): { traceId: string; spanId: string; traceparent: string } {
  const [traceId, spanId] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')];
  return { traceId, spanId, traceparent: `00-${traceId}-${spanId}-01` };
}

/** Publishes the sample's fix as a CloudEvent; returns the id of the task it becomes. */
async function publishFix(mode: 'structured' | 'binary', traceparent: string): Promise<string> {
  const data = whole.submission('fix');
  const attributes = { id: randomUUID(), source: 'test/trace', type: 'dev.plumbline.task.submit.v1' };
  if (mode === 'structured') {
    const { headers, body } = toStructured({ ...attributes, data, extensions: { traceparent } });
    await whole.system.publishRaw('submit', headers, body);
  } else {
    const headers = toBinaryHeaders({ ...attributes, data, extensions: {} });
    await whole.system.publishRaw(
      'submit',
      { ...headers, traceparent },
      new TextEncoder().encode(JSON.stringify(data)),
    );
  }
  const submitted = await whole.until(`task.submitted of ${attributes.id}`, (events) =>
    events.find(
      ({ type, data: sent }) =>
        type === 'task.submitted' && (sent as { submissionId?: string }).submissionId === attributes.id,
    ),
  );
  return submitted.streamId.slice('task-'.length);
}

/** Types of the events of a task by the trace in their meta; `none` for events without one. */
function eventsByTrace(taskId: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const { meta, type } of whole.system.watch.of(taskId)) {
    const trace = typeof meta['traceparent'] === 'string' ? (meta['traceparent'].split('-')[1] ?? 'none') : 'none';
    found.set(trace, [...(found.get(trace) ?? []), type]);
  }
  return found;
}

/** What is wrong with the trace of a task: services without a span in it, parents that are nowhere, spans about the task in other traces. */
function flaws(taskId: string, traceId: string, outside?: string): string[] {
  const all = receiver.spans();
  const spans = all.filter((span) => span.traceId === traceId);
  const ids = new Set([...spans.map(({ spanId }) => spanId), outside]);
  const show = ({ service, name }: ReceivedSpan): string => `${service}: ${name}`;
  const about = ({ attributes }: ReceivedSpan): boolean =>
    attributes['plumb.task.id'] === taskId || String(attributes['plumb.subject'] ?? '').endsWith(`.${taskId}`);
  return [
    ...atWork.filter((name) => !spans.some(({ service }) => service === name)).map((name) => `no span of ${name}`),
    ...spans
      .filter(({ parentSpanId }) => (parentSpanId === undefined ? outside !== undefined : !ids.has(parentSpanId)))
      .map((span) => `without its parent: ${show(span)}`),
    ...(outside === undefined && spans.filter(({ parentSpanId }) => parentSpanId === undefined).length > 1
      ? ['more than one root']
      : []),
    ...all.filter((span) => span.traceId !== traceId && about(span)).map((span) => `in another trace: ${show(span)}`),
    ...spans
      .filter((span) =>
        [...traced].some(([other, { traceId: its }]) => its !== traceId && span.attributes['plumb.task.id'] === other),
      )
      .map((span) => `about another task: ${show(span)}`),
  ];
}

async function expectWholeTrace(taskId: string): Promise<void> {
  const { traceId, outside } = traced.get(taskId) ?? { traceId: '' };
  await receiver
    .waitFor(() => flaws(taskId, traceId, outside).length === 0, 12_000)
    .catch(() => expect(flaws(taskId, traceId, outside)).toEqual([]));
}

describe('one trace per task', () => {
  it('goes through all services, one for each of several tasks at once, and continues the sender’s', async () => {
    const [structured, binary] = [sendersSpan(), sendersSpan()];
    const [own, inDocument, inHeader] = await Promise.all([
      whole.submit('fix'),
      publishFix('structured', structured.traceparent),
      publishFix('binary', binary.traceparent),
    ]);
    for (const taskId of [own, inDocument, inHeader])
      expect((await whole.event(taskId, 'task.closed')).data).toMatchObject({ outcome: 'go' });
    const ofOwn = [...eventsByTrace(own).keys()][0] ?? '';
    traced.set(own, { traceId: ofOwn });
    traced.set(inDocument, { traceId: structured.traceId, outside: structured.spanId });
    traced.set(inHeader, { traceId: binary.traceId, outside: binary.spanId });
    for (const [taskId, { traceId }] of traced) expect([...eventsByTrace(taskId).keys()]).toEqual([traceId]);
    for (const taskId of traced.keys()) await expectWholeTrace(taskId);
  }, 150_000);

  it('stands in the log lines about the task, of every service that worked on it', () => {
    for (const [taskId, { traceId }] of traced) {
      for (const name of atWork) {
        const lines = whole.logs(name).filter((line) => line['taskId'] === taskId);
        const others = lines.filter((line) => line['traceId'] !== traceId);
        expect([name, taskId, others]).toEqual([name, taskId, []]);
        expect([name, lines.length > 0]).toEqual([name, true]);
      }
    }
  });
});

describe('metrics', { timeout: 120_000 }, () => {
  it('are all registered as they are defined, and no others', async () => {
    await metrics.until(serviceNames.map((name) => `${name} plumb_nats_connected`));
    for (const name of serviceNames) {
      const mine = metrics.all.filter((metric) => metric.startsWith(`${name} `)).map((metric) => metric.split(' ')[1]);
      const lists = ['libs/host/dist/host-metrics.js', `services/${name}/dist/metrics.js`];
      if (workers.has(name)) lists.push('libs/host/dist/step-host.js');
      const defined = (await Promise.all(lists.map(definitions))).flat();
      expect([name, mine]).toEqual([name, defined.sort()]);
    }
  });

  it('are told of refusals, repetitions and failures at the intake and the doors', async () => {
    const refused = await whole.system.ask('submit', { issue: 'none' });
    expect(refused).toMatchObject({ ok: false, error: { code: 'INVALID' } });
    const again = { idempotencyKey: randomUUID(), repository: { url: 'https://127.0.0.1:9/none.git', base: 'main' } };
    const taskId = await whole.submit('fix', again);
    expect(await whole.submit('fix', again)).toBe(taskId);
    // A coder that speaks as the scheduler.
    const coder = await whole.system.client('coder');
    const streams = [{ streamId: `task-${taskId}`, events: [{ type: 'task.cancelled', data: { by: 'x', why: 'y' } }] }];
    const reply = await request(
      coder,
      'plumb.ledger.append.coder',
      { commandId: randomUUID(), streams },
      { timeoutMs: 5_000 },
    );
    expect(reply).toMatchObject({ ok: false, error: { code: 'not-your-event' } });
    // Nobody listens there: the step is tried again when its timer fires.
    await whole.event(taskId, 'task.step-retry-scheduled');
    await whole.event(taskId, 'timer.fired');
    await metrics.until([
      'scheduler plumb_intake_total',
      'scheduler plumb_step_retries_total',
      'ledger plumb_log_refusals_total',
      'ledger plumb_timers_fired_total',
    ]);
  });

  it('are told of steps that wait for a model, and of facts that wait for the ledger', async () => {
    await whole.model.stop();
    await metrics.value('node-agent', 'plumb_node_models{state="unreachable"}', (models) => models === 2);
    // One attempt, then a human: a second one would end as the first.
    const policy = { ...resolvePolicy('strict'), name: 'one-attempt', attempts: { perTier: [1] } };
    const taskId = await whole.submit('trap', { policy });
    await whole.event(taskId, 'task.capacity-awaited');
    await metrics.until(['scheduler plumb_waiting_steps', 'scheduler plumb_oldest_waiting_seconds']);
    whole.freeze('ledger');
    await whole.restartModel();
    await metrics.value('node-agent', 'plumb_node_spooled_facts', (facts) => facts > 0);
    whole.thaw('ledger');
    const verdict = await whole.event(taskId, 'verdict.reached');
    expect(verdict.data).toMatchObject({ judgement: { verdict: 'NO-GO' } });
    await whole.event(taskId, 'escalation.opened');
  });

  it('are told of a worker that lost its lease and comes back with its result', async () => {
    const taskId = await whole.submit('fix');
    await whole.event(taskId, 'snapshot.taken');
    const held = await whole.holdArtifacts('application/x-git-packed-objects');
    await held.reached();
    await metrics.until(['scheduler plumb_granted_bytes', 'ledger plumb_held_leases']);
    const { data } = await whole.event(taskId, 'lease.granted', { step: 'coding.1.1' });
    whole.freeze('coder');
    // While the broker is away nothing that happens can be published.
    await whole.system.nats.halt('SIGKILL');
    await whole.ageLease(taskId, 'coding.1.1');
    await whole.event(taskId, 'lease.expired', { step: 'coding.1.1' });
    await metrics.until(['ledger plumb_log_relay_lag_seconds']);
    await whole.system.nats.launch();
    await metrics.until(['ledger plumb_open_steps', 'ledger plumb_oldest_open_step_seconds']);
    await held.release();
    whole.thaw('coder');
    const late = await whole.event(taskId, 'lease.result-refused');
    expect(late.data).toMatchObject({ step: 'coding.1.1', epoch: (data as { epoch: number }).epoch });
    expect((await whole.event(taskId, 'task.closed')).data).toMatchObject({ outcome: 'go' });
  });

  it('are told of an event that a read model cannot take, and of a stranger in LOG', async () => {
    const title = `Poison ${randomUUID()}`;
    await whole.system.database.admin.query(
      `ALTER TABLE rm_tasks.task ADD CONSTRAINT no_poison CHECK (title <> '${title}')`,
    );
    const poisoned = await whole.submit('fix', {
      issue: { title, body: 'Nothing.' },
      repository: { url: whole.origin.path, base: 'nowhere' },
    });
    await whole.event(poisoned, 'escalation.opened');
    await metrics.until(['ledger plumb_projection_parked_events', 'scheduler plumb_escalations_total']);
    const ledger = await whole.system.client('ledger');
    await ledger.js.publish('log.task.coding-requested.nobody', 'not a request');
    await metrics.until(['ledger plumb_dead_letters', 'ledger plumb_log_stream_rebuilds_total']);
  });

  it('are told of events that get no position, and of a read model that falls behind', async () => {
    const release = await whole.holdTable('es.log_head');
    const submitted = whole.submit('fix');
    await metrics.until(['ledger plumb_log_unsequenced_events', 'ledger plumb_log_oldest_unsequenced_seconds']);
    await release();
    const releaseTasks = await whole.holdTable('rm_tasks.task');
    const taskId = await submitted;
    await metrics.until(['ledger plumb_projection_lag_seconds']);
    await releaseTasks();
    await whole.event(taskId, 'task.closed');
    await metrics.value('ledger', 'plumb_projection_lag_seconds{projection="tasks"}', (seconds) => seconds === 0);
    await metrics.value('ledger', 'plumb_log_chain_ok', (ok) => ok === 1);
  });

  it('moved, every single one', async () => {
    // But the one that moves only in tests of faults.
    const others = serviceNames.map((name) => `${name} plumb_failpoints_armed`);
    const here = metrics.all.filter((name) => !others.includes(name));
    await metrics.until(here, 20_000).catch(() => undefined);
    expect(metrics.still).toEqual(others.sort());
    expect(metrics.all.length).toBeGreaterThan(90);
  });
});

describe.skipIf(noPrometheus !== undefined)(
  `a real Prometheus${noPrometheus === undefined ? '' : ` (skipped: ${noPrometheus})`}`,
  { timeout: 60_000 },
  () => {
    const running = (): RealPrometheus => {
      if (prometheus === undefined) throw new Error('prometheus does not run');
      return prometheus;
    };

    it('reaches every service and evaluates every rule', async () => {
      const targets = Object.fromEntries(serviceNames.map((name) => [name, 'up']));
      await expect.poll(() => running().health(), { timeout: 20_000 }).toEqual({ targets, badRules: [] });
    });

    it('has data for every query of every panel', async () => {
      const empty = async (): Promise<string[]> => {
        const found = await Promise.all(
          panelQueries().map(async ({ panel, expr }) => ({ panel, expr, series: await running().query(expr) })),
        );
        return found.filter(({ series }) => series.length === 0).map(({ panel, expr }) => `${panel}: ${expr}`);
      };
      await expect.poll(empty, { timeout: 30_000, interval: 1_000 }).toEqual([]);
      expect(panelQueries().length).toBeGreaterThan(60);
    });

    it('raises the alarms that this system has reason for, and none about its chain', async () => {
      const raised = async (): Promise<string[]> => [...(await running().alerts()).keys()];
      await expect
        .poll(raised, { timeout: 20_000 })
        .toEqual(expect.arrayContaining(['PlumblineLogRebuilt', 'PlumblineDeadLetters', 'PlumblineEventsParked']));
      expect(await raised()).not.toEqual(expect.arrayContaining(['PlumblineChainBroken']));
    });

    it('hears of an old event that somebody changed', async () => {
      const { admin } = whole.system.database;
      await admin.query(`ALTER TABLE es.event DISABLE TRIGGER ALL;
        UPDATE es.event SET meta = '{"actor":"somebody else"}' WHERE ingest_id = (SELECT ingest_id FROM es.log WHERE pos = 3)`);
      // The next pass begins a minute after the last one, at the latest.
      await expect
        .poll(async () => (await running().alerts()).get('PlumblineChainBroken'), { timeout: 90_000, interval: 1_000 })
        .toBe('firing');
      expect(whole.logs('ledger').find(({ msg }) => msg === 'the chain of the log is broken')).toMatchObject({
        position: 3,
      });
    }, 120_000);
  },
);

describe('when everybody has left', { timeout: 60_000 }, () => {
  it('no span of a task lies outside its trace, whatever happened on the way', async () => {
    await metrics.stop();
    await Promise.all(serviceNames.map((name) => whole.system.kill(name, 'SIGTERM')));
    const all = whole.system.watch.events.filter(({ type }) => type === 'task.submitted');
    expect(all.length).toBeGreaterThan(traced.size);
    for (const { streamId } of all) {
      const taskId = streamId.slice('task-'.length);
      const [traceId = '', ...others] = eventsByTrace(taskId).keys();
      expect([taskId, others]).toEqual([taskId, []]);
      const known = traced.get(taskId);
      // Not every task came as far as every service, and one was handed in twice; but nothing else of it may lie elsewhere.
      const expected = /^no span of|^in another trace: scheduler: intake/;
      const found = flaws(taskId, traceId, known?.outside).filter(
        (flaw) => known !== undefined || !expected.test(flaw),
      );
      expect([taskId, found]).toEqual([taskId, []]);
    }
  });
});

/** Names of the metrics that a built module lists, whatever it calls its list. */
async function definitions(path: string): Promise<string[]> {
  const module = (await import(pathToFileURL(join(sampleFolder, '../../..', path)).href)) as Record<string, unknown>;
  return Object.values(module)
    .flatMap((value) => (Array.isArray(value) ? (value as { name: string }[]) : []))
    .map(({ name }) => name);
}
