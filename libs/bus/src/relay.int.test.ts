import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Bus } from './connection.js';
import { consume } from './consume.js';
import { ensureDurables, ensureTopology, recreateLog } from './ensure-topology.js';
import { eventually, TestBroker } from './nats.fixture.js';
import { logState, publishLog, verifyLog, type LogMessage } from './relay.js';

const EPOCH = 'epoch-1';
let broker: TestBroker;
let ledger: Bus;

beforeEach(async () => {
  broker = await TestBroker.start();
  ledger = await broker.ledger(EPOCH);
});
afterEach(() => broker.close());

const messages = (from: number, to: number, epoch = EPOCH): LogMessage[] =>
  Array.from({ length: to - from + 1 }, (_, i) => ({
    epoch,
    pos: from + i,
    subject: `log.task.submitted.t${from + i}`,
    body: new TextEncoder().encode(`{"n":${from + i}}`),
    headers: { 'ce-sequence': String(from + i) },
  }));

const tally = (outcomes: readonly { outcome: string }[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const { outcome } of outcomes) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
};

describe('publishing the log', () => {
  it('keeps stream sequence and position the same, in order, with a window in flight', async () => {
    expect(await verify(EPOCH, 0)).toEqual({ outcome: 'empty', lastSeq: 0 });
    const outcomes = await publishLog(ledger, messages(1, 1_000), { windowSize: 64 });
    expect(tally(outcomes)).toEqual({ published: 1_000 });
    expect(outcomes.map(({ pos }) => pos)).toEqual(messages(1, 1_000).map(({ pos }) => pos));
    for (const seq of [1, 500, 1_000]) {
      const stored = await ledger.jsm.streams.getMessage('LOG', { seq });
      expect(stored?.subject).toBe(`log.task.submitted.t${seq}`);
      expect(stored?.header.get('Nats-Msg-Id')).toBe(`${EPOCH}:${seq}`);
      expect(stored?.header.get('ce-sequence')).toBe(String(seq));
    }
    expect(await logState(ledger.jsm)).toEqual({ lastSeq: 1_000, firstSeq: 1, messages: 1_000, createdEpoch: EPOCH });
    expect(await verify(EPOCH, 1_000)).toMatchObject({ outcome: 'intact', lastSeq: 1_000 });
  });

  it('publishing the same again stores nothing twice, also after the duplicate window', async () => {
    await ledger.jsm.streams.update('LOG', { duplicate_window: 100e6 });
    await publishLog(ledger, messages(1, 10));
    await new Promise((done) => setTimeout(done, 300));
    expect(tally(await publishLog(ledger, messages(5, 12)))).toEqual({ duplicate: 6, published: 2 });
    expect((await logState(ledger.jsm)).lastSeq).toBe(12);
  });

  it('two relays at once make one stream', async () => {
    const second = await broker.connect('ledger');
    const [a, b] = await Promise.all([publishLog(ledger, messages(1, 300)), publishLog(second, messages(1, 300))]);
    const stored = [...a, ...b].filter(({ outcome }) => outcome === 'published').map(({ pos }) => pos);
    expect(new Set(stored).size).toBe(stored.length);
    const { lastSeq } = await logState(ledger.jsm);
    expect(stored.length).toBe(lastSeq);
    expect(await verify(EPOCH, 300)).toMatchObject({ outcome: 'intact', lastSeq });
  });

  it('a gap stores nothing of what follows and says where the stream stands', async () => {
    await publishLog(ledger, messages(1, 3));
    const outcomes = await publishLog(ledger, messages(6, 20), { windowSize: 4 });
    expect(outcomes[0]).toEqual({ outcome: 'gap', pos: 6, lastSeq: 3 });
    expect(tally(outcomes)).toEqual({ gap: outcomes.length });
    // Only what was in flight when the first answer came was sent at all.
    expect(outcomes.length).toBeLessThanOrEqual(4);
    expect((await logState(ledger.jsm)).lastSeq).toBe(3);
  });

  it('a broker that goes away in the middle: unknown, and publishing again completes it', async () => {
    const halted = broker.halt('SIGKILL');
    const outcomes = await publishLog(ledger, messages(1, 50), { timeoutMs: 500 });
    await halted;
    expect(outcomes.at(-1)?.outcome).toBe('unknown');
    await broker.launch();
    await eventually('back', () => ledger.connected);
    const { lastSeq } = await logState(ledger.jsm);
    const rest = await publishLog(ledger, messages(lastSeq + 1, 50));
    expect(rest.every(({ outcome }) => outcome === 'published')).toBe(true);
    expect(await verify(EPOCH, 50)).toMatchObject({ outcome: 'intact', lastSeq: 50 });
  });
});

const verify = (epoch: string, headPos: number) => verifyLog(ledger.jsm, epoch, () => Promise.resolve(headPos));

describe('a stream that is not a copy of this log', () => {
  it('a foreign message stops the relay and is found, although messages in flight behind it are stored', async () => {
    await publishLog(ledger, messages(1, 3));
    await ledger.js.publish('log.task.submitted.evil', '{}');
    const outcomes = await publishLog(ledger, messages(4, 200), { windowSize: 8 });
    expect(outcomes[0]).toEqual({ outcome: 'foreign', pos: 4, found: undefined });
    expect(outcomes.length).toBeLessThanOrEqual(8);
    const { lastSeq } = await logState(ledger.jsm);
    expect(lastSeq).toBeGreaterThan(4);
    expect(await verify(EPOCH, 200)).toEqual({
      outcome: 'foreign',
      seq: 4,
      expected: `${EPOCH}:4`,
      found: undefined,
    });
  });

  it('a foreign message before the very first one is found', async () => {
    await ledger.js.publish('log.task.submitted.evil', '{}');
    expect(await publishLog(ledger, messages(1, 1))).toEqual([{ outcome: 'foreign', pos: 1, found: undefined }]);
    expect(await verify(EPOCH, 10)).toMatchObject({ outcome: 'foreign', seq: 1 });
  });

  it('the stream of another epoch is found even where positions agree', async () => {
    await publishLog(ledger, messages(1, 3));
    expect(await verify('epoch-2', 3)).toMatchObject({ outcome: 'foreign', found: EPOCH });
    await recreateLog(ledger.jsm, ledger.capabilities, { logEpoch: 'epoch-2' });
    await publishLog(ledger, messages(1, 3));
    expect(await verify('epoch-2', 3)).toEqual({
      outcome: 'foreign',
      seq: 1,
      expected: 'epoch-2:1',
      found: `${EPOCH}:1`,
    });
  });

  it('ahead of the log tells that the log lost events, behind it is intact, gone is missing', async () => {
    await publishLog(ledger, messages(1, 3));
    expect(await verify(EPOCH, 2)).toEqual({ outcome: 'ahead', lastSeq: 3, headPos: 2 });
    expect(await verify(EPOCH, 9)).toMatchObject({ outcome: 'intact', lastSeq: 3 });
    await ledger.js.publish('log.task.submitted.evil', '{}');
    // A stranger behind the end of the log is no sign of a loss; behind messages of ours that the log lacks, it hides nothing.
    expect(await verify(EPOCH, 3)).toEqual({ outcome: 'foreign', seq: 4, expected: 'nothing', found: undefined });
    expect(await verify(EPOCH, 2)).toEqual({ outcome: 'ahead', lastSeq: 4, headPos: 2 });
    await ledger.jsm.streams.delete('LOG');
    expect(await verify(EPOCH, 9)).toEqual({ outcome: 'missing' });
  });

  it('a recreated stream begins where the server can, and its consumers where they are told', async () => {
    await publishLog(ledger, messages(1, 3));
    const options = { logEpoch: 'epoch-2', logFirstPos: 100 };
    const { nextPos } = await recreateLog(ledger.jsm, ledger.capabilities, options);
    expect(nextPos).toBe(ledger.capabilities.firstSeq ? 100 : 1);
    expect(await logState(ledger.jsm)).toMatchObject({ lastSeq: nextPos - 1, messages: 0, createdEpoch: 'epoch-2' });
    await expect(ensureDurables(ledger.jsm, { ...options, logStartSeq: 120 })).rejects.toMatchObject({
      code: 'start-not-reached',
      retry: 'later',
    });
    expect(tally(await publishLog(ledger, messages(nextPos, 130, 'epoch-2')))).toEqual({ published: 131 - nextPos });
    expect(await verify('epoch-2', 130)).toMatchObject({ outcome: 'intact', lastSeq: 130 });
    expect((await ensureDurables(ledger.jsm, { ...options, logStartSeq: 120 })).created).toContain('scheduler-facts');
    const scheduler = await broker.connect('scheduler');
    const seen: number[] = [];
    const consumption = consume(scheduler, {
      stream: 'LOG',
      durable: 'scheduler-facts',
      concurrency: 1,
      handler: async ({ streamSequence }) => (seen.push(streamSequence), { outcome: 'ack' }),
    });
    await eventually('caught up', () => seen.at(-1) === 130);
    expect(seen).toEqual([120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 130]);
    await consumption.stop();
    expect(await ensureTopology(ledger.jsm, ledger.capabilities, options)).toEqual({ created: [], updated: [] });
  });
});
