import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { evolve } from '../task/evolve.js';
import { initialTask } from '../task/state.js';
import { summariseEvent } from '../task/summaries.js';
import { cloudEventType, eventCatalogue, eventTypes, isEventType, logSubject } from './catalogue.js';
import { decodeEvent, type Schemas, type Upcasters } from './codec.js';

const folder = new URL('../../corpus/events/', import.meta.url);
const files = readdirSync(folder).sort();
const read = (file: string): { type: string; schemaVersion: number; data: unknown } =>
  JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as { type: string; schemaVersion: number; data: unknown };

/** `<type>.v<n>.with-<field>.json`: the same version once more, with a field that was added to it later. */
const variant = /\.with-[a-z-]+\.json$/;
const isVariant = (file: string): boolean => variant.test(file) && files.includes(file.replace(variant, '.json'));

describe('the golden corpus', () => {
  it('has one example of every version of every type there ever was, and nothing else', () => {
    const wanted = eventTypes.flatMap((type) =>
      Array.from({ length: eventCatalogue[type].version }, (_, i) => `${type}.v${i + 1}.json`),
    );
    expect(files.filter((file) => !isVariant(file))).toEqual(wanted.sort());
  });
  it.each(files)('%s is still read, as it was written', (file) => {
    const recorded = read(file);
    expect(`${recorded.type}.v${recorded.schemaVersion}.json`).toBe(file.replace(variant, '.json'));
    const decoded = decodeEvent(recorded);
    expect(decoded).toEqual({ outcome: 'event', event: { type: recorded.type, data: recorded.data } });
    if (decoded.outcome !== 'event') return;
    expect(evolve(initialTask, decoded.event).version).toBe(1);
    expect(summariseEvent(decoded.event)).toMatch(/^\P{C}{3,300}$/u);
  });
});

describe('decoding', () => {
  const schemas: Schemas = {
    'thing.made': { version: 3, data: z.strictObject({ name: z.string(), sizeBytes: z.int() }) },
  };
  const steps: Upcasters = {
    'thing.made': {
      1: (data) => ({ ...(data as object), sizeKiB: 2 }),
      2: (data) => {
        const { sizeKiB, ...rest } = data as { sizeKiB: number };
        return { ...rest, sizeBytes: sizeKiB * 1024 };
      },
    },
  };
  const decode = (schemaVersion: number, data: unknown, type = 'thing.made') =>
    decodeEvent({ type, schemaVersion, data }, steps, schemas);
  it('brings every old version to the current one, step by step', () => {
    for (const [version, data] of [
      [1, { name: 'a' }],
      [2, { name: 'a', sizeKiB: 2 }],
      [3, { name: 'a', sizeBytes: 2048 }],
    ] as const)
      expect(decode(version, data)).toEqual({
        outcome: 'event',
        event: { type: 'thing.made', data: { name: 'a', sizeBytes: 2048 } },
      });
  });
  it.each([4, 0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])('does not know version %s', (version) => {
    expect(decode(version, {}).outcome).toBe('unknown');
  });
  it.each(['thing.unmade', '__proto__', 'constructor', 'toString'])('does not know the type %s', (type) => {
    expect(decode(1, {}, type).outcome).toBe('unknown');
    expect(decodeEvent({ type, schemaVersion: 1, data: {} }).outcome).toBe('unknown');
    expect(isEventType(type)).toBe(false);
  });
  it('says what is wrong with data that does not fit, also when a step fails on it', () => {
    expect(decode(3, { name: 1, sizeBytes: 2 })).toMatchObject({
      outcome: 'invalid',
      problems: [{ field: 'name', value: '1' }],
    });
    expect(decode(2, null)).toMatchObject({ outcome: 'invalid', problems: [{ value: 'version 2' }] });
  });
  it('holds a missing step for a bug', () => {
    expect(() => decodeEvent({ type: 'thing.made', schemaVersion: 1, data: {} }, {}, schemas)).toThrow('no upcaster');
  });
  it('never fails on data', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...eventTypes),
        fc.anything({ withNullPrototype: true, withBigInt: true }),
        (type, data) => {
          expect(decodeEvent({ type, schemaVersion: 1, data }).outcome).toMatch(/^(invalid|event)$/);
        },
      ),
      { seed: 6, numRuns: 500 },
    );
  });
  it('names events on the bus', () => {
    expect(cloudEventType('task.submitted', 1)).toBe('dev.plumbline.task.submitted.v1');
    expect(logSubject('task.submitted', 't-1')).toBe('log.task.submitted.t-1');
  });
});
