import { randomUUID } from 'node:crypto';
import {
  AckPolicy,
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  ReplayPolicy,
  RetentionPolicy,
  StorageType,
  type ConsumerConfig,
  type ConsumerInfo,
  type JetStreamManager,
  type StreamConfig,
  type StreamInfo,
} from '@nats-io/jetstream';
import { nanos } from '@nats-io/transport-node';
import type { Capabilities } from './capabilities.js';
import { BusError } from './errors.js';
import { DURABLES, STREAMS, type Durable, type StreamSpec } from './topology.js';

/** What the ledger decides about the topology; everything else is fixed in `topology.ts`. */
export interface TopologyOptions {
  /** The epoch of the event log that LOG mirrors, written into its description when it is created. */
  readonly logEpoch: string;
  /**
   * The log position of the first message to come into a newly created LOG (default 1). Servers before 2.10 cannot begin above 1;
   * `logState` then tells to publish from 1.
   */
  readonly logFirstPos?: number;
  /** How long LOG keeps messages; 0 (default) forever. */
  readonly logMaxAgeMs?: number;
  /**
   * Where newly created consumers of LOG begin; default the first message. At most one past the last stored message: a server
   * silently begins earlier otherwise. After a rebuild, create the durables once the replay is done.
   */
  readonly logStartSeq?: number;
}

/** What was done, by name. */
export interface TopologyChange {
  readonly created: readonly string[];
  readonly updated: readonly string[];
}

const EPOCH_MARK = 'epoch=';

/** The epoch written into a stream's description; undefined if there is none (a stream made by somebody else). */
export function epochOf(info: StreamInfo): string | undefined {
  const description = info.config.description ?? '';
  const at = description.lastIndexOf(EPOCH_MARK);
  return at < 0 ? undefined : description.slice(at + EPOCH_MARK.length);
}

/**
 * Creates every stream and durable that is missing and updates what differs: `ensureStreams`, then `ensureDurables`. Idempotent,
 * safe to run in two replicas at once.
 */
export async function ensureTopology(
  jsm: JetStreamManager,
  caps: Capabilities,
  options: TopologyOptions,
): Promise<TopologyChange> {
  const streams = await ensureStreams(jsm, caps, options);
  const durables = await ensureDurables(jsm, options);
  return {
    created: [...streams.created, ...durables.created],
    updated: [...streams.updated, ...durables.updated],
  };
}

/**
 * Creates or updates the streams.
 * @throws BusError `stream-drift` (never) if something of that name exists that cannot be turned into what is needed;
 *   `evidence.differences` lists field, expected and found
 */
export async function ensureStreams(
  jsm: JetStreamManager,
  caps: Capabilities,
  options: TopologyOptions,
): Promise<TopologyChange> {
  const changes: [string, Change][] = [];
  for (const spec of STREAMS) changes.push([spec.name, await ensureStream(jsm, caps, spec, options)]);
  return summary(changes);
}

/**
 * Creates or updates the durables.
 * @throws BusError `stream-drift` (never) as above, `start-not-reached` (later) if `logStartSeq` lies beyond the next message
 */
export async function ensureDurables(jsm: JetStreamManager, options: TopologyOptions): Promise<TopologyChange> {
  const { logStartSeq } = options;
  if (logStartSeq !== undefined) {
    const { last_seq: lastSeq } = (await jsm.streams.info('LOG')).state;
    if (logStartSeq > lastSeq + 1) {
      throw new BusError(
        'start-not-reached',
        `LOG ends at ${lastSeq}, its consumers cannot begin at ${logStartSeq} yet`,
        {
          retry: 'later',
          mend: 'publish the log up to there first',
          evidence: { lastSeq, logStartSeq },
        },
      );
    }
  }
  const changes: [string, Change][] = [];
  for (const durable of DURABLES) changes.push([durable.durable, await ensureDurable(jsm, durable, options)]);
  return summary(changes);
}

function summary(changes: readonly (readonly [string, Change])[]): TopologyChange {
  const named = (wanted: Change): string[] => changes.filter(([, change]) => change === wanted).map(([name]) => name);
  return { created: named('created'), updated: named('updated') };
}

/**
 * Deletes LOG with its consumers and creates the stream anew, for one that was restored from a backup or written to by
 * somebody else. The consumers follow with `ensureDurables`, best after the replay: then they need not see it.
 * @returns the position to publish from: `logFirstPos` where the server can begin there, else 1
 */
export async function recreateLog(
  jsm: JetStreamManager,
  caps: Capabilities,
  options: TopologyOptions,
): Promise<{ readonly nextPos: number }> {
  const spec = STREAMS.find(({ name }) => name === 'LOG');
  if (!spec) throw new Error('LOG is part of the topology');
  try {
    await jsm.streams.delete('LOG');
  } catch (error) {
    if (!hasCode(error, JetStreamApiCodes.StreamNotFound)) throw error;
  }
  await createStream(jsm, { ...streamConfig(spec, options), ...firstSeqOf(spec, caps, options) });
  return { nextPos: caps.firstSeq ? (options.logFirstPos ?? 1) : 1 };
}

async function consumerInfo(jsm: JetStreamManager, durable: Durable): Promise<ConsumerInfo | undefined> {
  try {
    return await jsm.consumers.info(durable.stream, durable.durable);
  } catch (error) {
    if (hasCode(error, JetStreamApiCodes.ConsumerNotFound)) return undefined;
    throw error;
  }
}

type Change = 'created' | 'updated' | 'unchanged';
type Difference = { readonly field: string; readonly expected: unknown; readonly found: unknown };

async function ensureStream(
  jsm: JetStreamManager,
  caps: Capabilities,
  spec: StreamSpec,
  options: TopologyOptions,
): Promise<Change> {
  const wanted = streamConfig(spec, options);
  const info = await jsm.streams.info(spec.name).catch((error: unknown) => {
    if (hasCode(error, JetStreamApiCodes.StreamNotFound)) return undefined;
    throw error;
  });
  if (!info) {
    await createStream(jsm, { ...wanted, ...firstSeqOf(spec, caps, options) });
    return 'created';
  }
  // The description tells which log the stream was made for; changing it would hide a foreign stream.
  const { description: _kept, ...comparable } = wanted;
  const differences = differencesOf(comparable, info.config);
  const drift = differences.filter(
    ({ field, expected }) => FIXED.has(field) || (ONE_WAY.has(field) && expected === false),
  );
  if (info.config.sealed) drift.push({ field: 'sealed', expected: false, found: true });
  if (drift.length > 0) throw driftError(`stream ${spec.name}`, drift);
  if (differences.length === 0) return 'unchanged';
  await jsm.streams.update(spec.name, { ...comparable });
  return 'updated';
}

async function createStream(jsm: JetStreamManager, config: StreamSettings): Promise<void> {
  try {
    await jsm.streams.add(config);
  } catch (error) {
    // Another replica was faster with the same settings, or a stranger holds the subjects.
    if (hasCode(error, SUBJECTS_OVERLAP)) {
      throw driftError(`stream ${config.name}`, [
        { field: 'subjects', expected: config.subjects, found: 'taken by another stream' },
      ]);
    }
    throw error;
  }
}

async function ensureDurable(jsm: JetStreamManager, durable: Durable, options: TopologyOptions): Promise<Change> {
  const wanted = consumerConfig(durable);
  let info = await consumerInfo(jsm, durable);
  if (!info) {
    // The description names this existence of the durable: acknowledgements for an earlier one must not reach it.
    const description = `existence=${randomUUID()}`;
    try {
      await jsm.consumers.add(durable.stream, { ...wanted, ...startOf(durable, options), description });
      return 'created';
    } catch (error) {
      // Another replica may have been faster.
      info = await consumerInfo(jsm, durable);
      if (!info) throw error;
    }
  }
  const differences = differencesOf(wanted, info.config);
  if (info.config.deliver_subject) {
    differences.push({ field: 'deliver_subject', expected: undefined, found: info.config.deliver_subject });
  }
  const drift = differences.filter(({ field }) => !CONSUMER_UPDATABLE.has(field));
  if (drift.length > 0) throw driftError(`consumer ${durable.durable} of ${durable.stream}`, drift);
  if (differences.length === 0) return 'unchanged';
  await jsm.consumers.update(durable.stream, durable.durable, wanted);
  return 'updated';
}

/** `10065`: the server's code for subjects that another stream already takes; not among the client's constants. */
const SUBJECTS_OVERLAP = 10_065;

/** What the server cannot change, and the subjects: a stream of our name with other subjects belongs to somebody else. */
const FIXED = new Set(['subjects', 'retention', 'storage']);
/** Can be switched on later, never off. */
const ONE_WAY = new Set(['deny_delete', 'deny_purge']);
const CONSUMER_UPDATABLE = new Set(['ack_wait', 'max_ack_pending', 'max_deliver']);

type StreamSettings = Partial<StreamConfig> & Pick<StreamConfig, 'name'>;

function streamConfig(spec: StreamSpec, options: TopologyOptions): StreamSettings {
  const log = spec.name === 'LOG';
  return {
    name: spec.name,
    subjects: [...spec.subjects],
    storage: StorageType.File,
    retention: spec.retention === 'workqueue' ? RetentionPolicy.Workqueue : RetentionPolicy.Limits,
    discard: spec.discard === 'new' ? DiscardPolicy.New : DiscardPolicy.Old,
    max_age: nanos(log ? (options.logMaxAgeMs ?? 0) : spec.maxAgeMs),
    max_msgs: spec.maxMessages,
    max_msg_size: spec.maxMessageBytes,
    duplicate_window: nanos(spec.duplicateWindowMs),
    deny_delete: spec.denyDelete,
    deny_purge: spec.denyDelete,
    ...(log ? { description: `copy of the event log, ${EPOCH_MARK}${options.logEpoch}` } : {}),
  };
}

function firstSeqOf(spec: StreamSpec, caps: Capabilities, options: TopologyOptions): Partial<StreamConfig> {
  const first = options.logFirstPos ?? 1;
  return spec.name === 'LOG' && caps.firstSeq && first > 1 ? { first_seq: first } : {};
}

function consumerConfig(durable: Durable): Partial<ConsumerConfig> {
  return {
    durable_name: durable.durable,
    ack_policy: AckPolicy.Explicit,
    replay_policy: ReplayPolicy.Instant,
    filter_subject: durable.filterSubject,
    ack_wait: nanos(durable.ackWaitMs),
    max_ack_pending: durable.maxAckPending,
    // Giving up is decided by the consumer, which stores a dead letter; the server would just stop delivering.
    max_deliver: -1,
  };
}

function startOf(durable: Durable, options: TopologyOptions): Partial<ConsumerConfig> {
  if (durable.stream !== 'LOG' || options.logStartSeq === undefined) return { deliver_policy: DeliverPolicy.All };
  return { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: options.logStartSeq };
}

function differencesOf(wanted: object, found: object): Difference[] {
  const differences: Difference[] = [];
  for (const [field, expected] of Object.entries(wanted)) {
    const value = (found as Record<string, unknown>)[field];
    if (JSON.stringify(value) !== JSON.stringify(expected)) differences.push({ field, expected, found: value });
  }
  return differences;
}

function driftError(what: string, differences: readonly Difference[]): BusError {
  const fields = differences.map(({ field }) => field).join(', ');
  return new BusError('stream-drift', `${what} exists but differs in ${fields}`, {
    retry: 'never',
    mend: `use a broker of your own for this system, or delete ${what} if nothing else needs it`,
    evidence: { what, differences },
  });
}

function hasCode(error: unknown, code: number): boolean {
  return error instanceof JetStreamApiError && error.code === code;
}
