import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { request, toBinaryHeaders, toStructured } from '@plumbline/bus';
import { serviceNames, type ServiceName } from '@plumbline/domain';
import { startOtlpReceiver, type OtlpReceiver, type ReceivedSpan } from '../otlp-receiver.js';
import { MetricWatch } from './metric-watch.js';
import { sampleFolder } from './sample-origin.js';
import { WholeSystem } from './whole-system.js';

/** Everybody who has a part in a task; a node's agent speaks of machines only. */
const atWork: readonly ServiceName[] = ['ledger', 'scheduler', 'code-host', 'coder', 'gate', 'reviewer'];

let receiver: OtlpReceiver;
let whole: WholeSystem;
let metrics: MetricWatch;
/** Tasks whose traces are looked at once more when everybody has sent all spans. */
const traced = new Map<string, { traceId: string; outside?: string }>();

beforeAll(async () => {
  receiver = await startOtlpReceiver();
  whole = await WholeSystem.start({ otlp: receiver.url });
  metrics = new MetricWatch(() => whole.addresses);
});
afterAll(async () => {
  await metrics?.stop();
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
  it('goes through all services, one for each of three tasks at once, and continues the sender’s', async () => {
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
  }, 90_000);

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
