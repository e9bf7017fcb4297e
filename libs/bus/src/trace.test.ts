import { headers as natsHeaders } from '@nats-io/transport-node';
import { ROOT_CONTEXT, SpanKind, trace } from '@opentelemetry/api';
import { describe, expect, it } from 'vitest';
import { contextFromTraceparent, extractTrace, injectTrace, traceparentOf, withSpan } from './trace.js';

const PARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

describe('trace context', () => {
  it('goes through headers and comes out the same, without any telemetry SDK', () => {
    const headers = injectTrace(natsHeaders(), contextFromTraceparent(PARENT, 'vendor=1'));
    expect(headers.get('traceparent')).toBe(PARENT);
    expect(headers.get('tracestate')).toBe('vendor=1');
    const ctx = extractTrace(headers);
    expect(traceparentOf(ctx)).toBe(PARENT);
    expect(trace.getSpanContext(ctx)).toMatchObject({ isRemote: true });
  });

  it('comes from the event’s meta if the headers have none', () => {
    expect(traceparentOf(extractTrace(undefined, { traceparent: PARENT }))).toBe(PARENT);
    expect(extractTrace(undefined, { traceparent: 7 })).toBe(ROOT_CONTEXT);
    expect(traceparentOf(extractTrace([['TraceParent', [PARENT]]], { traceparent: 'other' }))).toBe(PARENT);
  });

  it.each([
    'nonsense',
    '',
    `${PARENT}-more`,
    PARENT.replace('00-', 'ff-'),
    '00-00000000000000000000000000000000-b7ad6b7169203331-01',
    '00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01',
    PARENT.toUpperCase(),
  ])('ignores %j', (traceparent) => {
    expect(contextFromTraceparent(traceparent)).toBe(ROOT_CONTEXT);
    expect(injectTrace(natsHeaders(), contextFromTraceparent(traceparent)).keys()).toEqual([]);
  });

  it('accepts what a later version of the format adds', () => {
    expect(traceparentOf(contextFromTraceparent(`${PARENT.replace('00-', '01-')}-more`))).toBe(PARENT);
  });

  it('a span hands its context on, returns what the work returns, and lets a throw through', async () => {
    const ctx = contextFromTraceparent(PARENT);
    const sent = await withSpan(
      'publish',
      SpanKind.PRODUCER,
      ctx,
      { 'messaging.system': 'nats' },
      async (_span, inner) => injectTrace(natsHeaders(), inner).get('traceparent'),
    );
    expect(sent).toContain('0af7651916cd43dd8448eb211c80319c');
    const failing = withSpan('x', SpanKind.INTERNAL, ctx, {}, () => Promise.reject(new Error('no')));
    await expect(failing).rejects.toThrow('no');
  });
});
