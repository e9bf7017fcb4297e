import { createHash } from 'node:crypto';
import type { AppendBatch, StreamAppend, TaskStream } from './append-batch.js';
import { InvalidInputError } from './errors.js';
import { eventIdOf } from './event-id.js';
import { checkedInstant, checkedInteger, checkedName, checkedUuid, jsonText } from './json-text.js';

const maxVersion = 2_147_483_647;
const maxDelayMs = 10 * 366 * 86_400_000;

interface EncodedEvent {
  id: string;
  type: string;
  schemaVersion: number;
  data: string;
  meta: string;
  occurredAt: string | null;
}

/** A batch in the form the SQL function takes, with the keys that other batches of the same call must not share. */
export interface EncodedBatch {
  commandId: string;
  hash: string;
  streams: { streamId: string; category: string; expected: number | null; events: EncodedEvent[] }[];
  extras: BatchExtras | undefined;
  keys: readonly string[];
  events: number;
  sizeBytes: number;
}

/** Fence, steps and timers of one batch. */
export interface BatchExtras {
  fences: { task: string; step: string; epoch: number; release: boolean }[];
  closes: { task: string; step: string }[];
  opens: { task: string; step: string; stream: string; category: string }[];
  cancels: { timer: string }[];
  cancelStreams: { stream: string }[];
  sets: { timer: string; stream: string; category: string; kind: string; due: number; data: string; meta: string }[];
}

/** Checks a batch and turns it into columns; throws InvalidInputError naming the first field that cannot be stored. */
export function encodeBatch(batch: AppendBatch, taskStream: TaskStream): EncodedBatch {
  const commandId = checkedUuid(batch.commandId, 'commandId');
  let index = 0;
  let sizeBytes = 0;
  const streams = batch.streams.map((stream, s) => {
    const encoded = encodeStream(stream, `streams[${s}]`, () => eventIdOf(commandId, index++));
    for (const event of encoded.events) sizeBytes += event.data.length + event.meta.length;
    return encoded;
  });
  const ids = new Set(streams.map((stream) => stream.streamId));
  if (ids.size !== streams.length)
    throw new InvalidInputError('streams', 'names the same stream twice: join its events');
  const extras = encodeExtras(batch, taskStream);
  if (streams.length === 0 && extras === undefined)
    throw new InvalidInputError('streams', 'is empty: nothing to record');
  return {
    commandId,
    hash: contentHash(streams, extras),
    streams,
    extras,
    keys: keysOf(commandId, streams, extras),
    events: index,
    sizeBytes,
  };
}

function encodeStream(stream: StreamAppend, path: string, nextId: () => string): EncodedBatch['streams'][number] {
  if (stream.events.length === 0) throw new InvalidInputError(`${path}.events`, 'is empty: leave the stream out');
  return {
    streamId: checkedName(stream.streamId, `${path}.streamId`),
    category: checkedName(stream.category, `${path}.category`),
    expected:
      stream.expectedVersion === undefined
        ? null
        : checkedInteger(stream.expectedVersion, `${path}.expectedVersion`, 0, maxVersion),
    events: stream.events.map((event, e) => {
      const at = `${path}.events[${e}]`;
      return {
        id: nextId(),
        type: checkedName(event.type, `${at}.type`),
        schemaVersion: checkedInteger(event.schemaVersion, `${at}.schemaVersion`, 1, 32_767),
        data: jsonText(event.data, `${at}.data`),
        meta: jsonObjectText(event.meta, `${at}.meta`),
        occurredAt: event.occurredAt === undefined ? null : checkedInstant(event.occurredAt, `${at}.occurredAt`),
      };
    }),
  };
}

function jsonObjectText(value: unknown, path: string): string {
  const text = jsonText(value, path);
  if (!text.startsWith('{')) throw new InvalidInputError(path, 'must be an object');
  return text;
}

function encodeExtras(batch: AppendBatch, taskStream: TaskStream): BatchExtras | undefined {
  const { fence, steps, timers } = batch;
  if (fence === undefined && steps === undefined && timers === undefined) return undefined;
  const opens = (steps?.open ?? []).map((open, i) => ({
    ...step(open, `steps.open[${i}]`),
    ...owner(open.taskId, taskStream),
  }));
  if (new Set(opens.map((open) => `${open.task}\0${open.step}`)).size !== opens.length) {
    throw new InvalidInputError('steps.open', 'names the same step twice');
  }
  const sets = (timers?.set ?? []).map((timer, i) => encodeTimer(timer, `timers.set[${i}]`));
  if (new Set(sets.map((set) => set.timer)).size !== sets.length) {
    throw new InvalidInputError('timers.set', 'names the same timer twice');
  }
  return {
    fences:
      fence === undefined
        ? []
        : [
            {
              ...step(fence, 'fence'),
              epoch: checkedInteger(fence.epoch, 'fence.epoch', 0, Number.MAX_SAFE_INTEGER),
              release: fence.release === true,
            },
          ],
    closes: (steps?.close ?? []).map((close, i) => step(close, `steps.close[${i}]`)),
    opens,
    cancels: (timers?.cancel ?? []).map((timer, i) => ({ timer: checkedName(timer, `timers.cancel[${i}]`) })),
    cancelStreams: (timers?.cancelStreams ?? []).map((stream, i) => ({
      stream: checkedName(stream, `timers.cancelStreams[${i}]`),
    })),
    sets,
  };
}

function step(value: { taskId: string; step: string }, path: string): { task: string; step: string } {
  return { task: checkedName(value.taskId, `${path}.taskId`), step: checkedName(value.step, `${path}.step`) };
}

function owner(taskId: string, taskStream: TaskStream): { stream: string; category: string } {
  const { streamId, category } = taskStream(taskId);
  return {
    stream: checkedName(streamId, 'taskStream.streamId'),
    category: checkedName(category, 'taskStream.category'),
  };
}

type Timer = NonNullable<NonNullable<AppendBatch['timers']>['set']>[number];

function encodeTimer(timer: Timer, path: string): BatchExtras['sets'][number] {
  return {
    timer: checkedName(timer.timerId, `${path}.timerId`),
    stream: checkedName(timer.streamId, `${path}.streamId`),
    category: checkedName(timer.category, `${path}.category`),
    kind: checkedName(timer.kind, `${path}.kind`),
    due: checkedInteger(timer.dueInMs, `${path}.dueInMs`, 0, maxDelayMs),
    data: jsonText(timer.data, `${path}.data`),
    meta: jsonObjectText(timer.meta ?? {}, `${path}.meta`),
  };
}

/** SHA-256 over everything that decides what the command does; lengths precede contents so that no two commands collide. */
function contentHash(streams: EncodedBatch['streams'], extras: BatchExtras | undefined): string {
  const hash = createHash('sha256');
  const shape = streams.map((s) => [s.streamId, s.category, s.expected, s.events.length]);
  hash.update(
    JSON.stringify([
      shape,
      extras === undefined ? null : { ...extras, sets: extras.sets.map((s) => ({ ...s, meta: '' })) },
    ]),
  );
  for (const stream of streams) {
    for (const event of stream.events) {
      hash.update(`\n${JSON.stringify([event.type, event.schemaVersion])}${event.data.length}:`).update(event.data);
    }
  }
  return hash.digest('hex');
}

function keysOf(commandId: string, streams: EncodedBatch['streams'], extras: BatchExtras | undefined): string[] {
  const keys = [`command ${commandId}`, ...streams.map((stream) => `stream ${stream.streamId}`)];
  if (extras === undefined) return keys;
  for (const { task } of [...extras.fences, ...extras.closes, ...extras.opens]) keys.push(`task ${task}`);
  for (const { timer } of [...extras.cancels, ...extras.sets]) keys.push(`timer ${timer}`);
  for (const { stream } of [...extras.cancelStreams, ...extras.sets]) keys.push(`stream ${stream}`);
  return [...new Set(keys)];
}
