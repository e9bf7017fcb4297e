import { AckPolicy, StorageType } from '@nats-io/jetstream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Bus } from './connection.js';
import { ensureTopology, type TopologyChange } from './ensure-topology.js';
import { TestBroker } from './nats.fixture.js';
import { DURABLES, STREAMS } from './topology.js';

let broker: TestBroker;
let ledger: Bus;
const ensure = (extra: object = {}): Promise<TopologyChange> =>
  ensureTopology(ledger.jsm, ledger.capabilities, { logEpoch: 'epoch-1', ...extra });

beforeEach(async () => {
  broker = await TestBroker.start();
  ledger = await broker.connect('ledger');
});
afterEach(() => broker.close());

describe('the topology', () => {
  it('is created once, and the second time there is nothing to do', async () => {
    const names = [...STREAMS.map(({ name }) => name), ...DURABLES.map(({ durable }) => durable)];
    expect(await ensure()).toEqual({ created: names, updated: [] });
    expect(await ensure()).toEqual({ created: [], updated: [] });
  });

  it('two ledgers at once do not disturb each other', async () => {
    const second = await broker.connect('ledger');
    const both = await Promise.all([
      ensure(),
      ensureTopology(second.jsm, second.capabilities, { logEpoch: 'epoch-1' }),
    ]);
    expect(both.flatMap(({ updated }) => updated)).toEqual([]);
    expect(await ensure()).toEqual({ created: [], updated: [] });
  });

  it('names consist of service and purpose, filters are single and lie inside their stream', () => {
    for (const { service, durable, stream, filterSubject } of DURABLES) {
      expect(durable.startsWith(`${service}-`)).toBe(true);
      const prefix = STREAMS.find(({ name }) => name === stream)?.subjects[0]?.replace('>', '') ?? '?';
      expect(filterSubject.startsWith(prefix)).toBe(true);
    }
    expect(new Set(DURABLES.map(({ durable }) => durable)).size).toBe(DURABLES.length);
  });

  it('single messages of LOG cannot be deleted or purged, the stream can', async () => {
    await ensure();
    await ledger.js.publish('log.task.submitted.t1', '{}');
    await expect(ledger.jsm.streams.deleteMessage('LOG', 1)).rejects.toThrow(/not permitted/);
    await expect(ledger.jsm.streams.purge('LOG')).rejects.toThrow(/not permitted/);
    expect(await ledger.jsm.streams.delete('LOG')).toBe(true);
  });

  it('changeable differences are mended, messages and epoch stay', async () => {
    await ensure();
    await ledger.js.publish('log.task.submitted.t1', '{}');
    await ledger.jsm.streams.update('INTAKE', { max_msgs: 7 });
    await ledger.jsm.consumers.update('LOG', 'gate-steps', { ack_wait: 1e9 });
    expect(await ensure({ logMaxAgeMs: 86_400_000, logEpoch: 'epoch-9' })).toEqual({
      created: [],
      updated: ['LOG', 'INTAKE', 'gate-steps'],
    });
    const log = await ledger.jsm.streams.info('LOG');
    expect(log.state.messages).toBe(1);
    expect(log.config.description).toContain('epoch=epoch-1');
    expect((await ledger.jsm.streams.info('INTAKE')).config.max_msgs).toBe(1_000_000);
  });

  it('a full intake refuses the next submission instead of forgetting an old one', async () => {
    await ensure();
    await ledger.jsm.streams.update('INTAKE', { max_msgs: 1 });
    const user = await broker.connect('user');
    await user.js.publish('plumb.intake.task.submit', '1');
    await expect(user.js.publish('plumb.intake.task.submit', '2')).rejects.toThrow(/maximum messages/);
  });
});

describe('drift', () => {
  it('a stream of that name with other subjects belongs to somebody else', async () => {
    await ledger.jsm.streams.add({ name: 'LOG', subjects: ['logs.>'] });
    await expect(ensure()).rejects.toMatchObject({
      code: 'stream-drift',
      retry: 'never',
      evidence: {
        what: 'stream LOG',
        differences: expect.arrayContaining([{ field: 'subjects', expected: ['log.>'], found: ['logs.>'] }]) as unknown,
      },
    });
    expect((await ledger.jsm.streams.info('LOG')).config.subjects).toEqual(['logs.>']);
  });

  it('another stream that holds our subjects', async () => {
    await ledger.jsm.streams.add({ name: 'EVERYTHING', subjects: ['log.task.>'] });
    await expect(ensure()).rejects.toMatchObject({
      code: 'stream-drift',
      message: expect.stringContaining('subjects') as string,
    });
  });

  it('memory storage cannot be changed into file', async () => {
    await ledger.jsm.streams.add({ name: 'DEAD', subjects: ['plumb.dead.>'], storage: StorageType.Memory });
    await expect(ensure()).rejects.toMatchObject({
      code: 'stream-drift',
      message: expect.stringContaining('storage') as string,
    });
  });

  it('a durable that acknowledges differently or pushes', async () => {
    await ensure();
    await ledger.jsm.consumers.delete('LOG', 'gate-steps');
    await ledger.jsm.consumers.add('LOG', { durable_name: 'gate-steps', ack_policy: AckPolicy.None });
    await expect(ensure()).rejects.toMatchObject({
      code: 'stream-drift',
      message: expect.stringContaining('ack_policy') as string,
    });
  });
});
