import { commandId } from '@plumbline/bus';
import {
  appendRequestSchema,
  eventCatalogue,
  isEventType,
  parseStepId,
  problemsOf,
  stepWorkers,
  taskStream,
  type AppendReply,
  type AppendRequest,
  type EventType,
  type ServiceName,
} from '@plumbline/domain';
import type { AppendBatch, AppendResult, EventLog, NewEvent } from '@plumbline/event-log';

/** Why the door did not take a request. Nothing was recorded. */
export interface DoorRefusal {
  code:
    | 'invalid-request'
    | 'unknown-event-type'
    | 'not-your-event'
    | 'not-your-stream'
    | 'invalid-event'
    | 'event-too-large'
    | 'lease-required'
    | 'not-your-step'
    | 'not-your-part';
  message: string;
  details?: unknown;
}
export type DoorAnswer = { ok: true; value: AppendReply } | { ok: false; refusal: DoorRefusal };

const eventBytesMax = 262_144;

/**
 * The one door to the log. The caller is who the bus says it is (the last token of the subject), never who it claims to be. Each event type
 * has one service that may append it; a worker's facts are taken only under a lease of that very task; only the scheduler may expect
 * versions, open and close steps, and set timers.
 */
export class AppendDoor {
  constructor(
    private readonly log: EventLog,
    private readonly hooks: {
      onAppended: (service: ServiceName, types: readonly string[]) => void;
      onStale: (service: ServiceName) => void;
    },
  ) {}

  async append(service: ServiceName, body: unknown): Promise<DoorAnswer> {
    const parsed = appendRequestSchema.safeParse(body);
    if (!parsed.success) {
      const problems = problemsOf(parsed.error, body);
      const first = problems[0];
      return refuse(
        'invalid-request',
        `append refused: ${first?.field}: got ${first?.value}, expected ${first?.expected}`,
        problems,
      );
    }
    const request = parsed.data;
    const refusal =
      partRefusal(service, request) ??
      fenceRefusal(service, request) ??
      request.streams
        .flatMap((stream) => stream.events.map((event) => eventRefusal(service, request, stream.streamId, event)))
        .find((found) => found !== undefined);
    if (refusal !== undefined) return { ok: false, refusal };
    const types = request.streams.flatMap((stream) => stream.events.map((event) => event.type));
    const result = await this.log.append(batchOf(service, request));
    if (result.outcome === 'appended' && !result.duplicate) this.hooks.onAppended(service, types);
    if (result.outcome === 'fenced') await this.recordStale(service, request, result, types);
    const { commandId: asked } = request;
    return { ok: true, value: result.outcome === 'command-reused' ? { ...result, commandId: asked } : result };
  }

  /** A late result is refused and leaves a trace in the history of its task; it changes nothing else. */
  private async recordStale(
    service: ServiceName,
    request: AppendRequest,
    result: AppendResult & { outcome: 'fenced' },
    types: string[],
  ): Promise<void> {
    this.hooks.onStale(service);
    // A step nobody ever opened, or an epoch nobody was ever granted, is no stale result but nonsense: it gets no entry in a history.
    if (result.current === null || request.fence === undefined) return;
    const { taskId, step, epoch } = request.fence;
    if (epoch > result.current.epoch) return;
    const why = `the lease of epoch ${epoch} is over: the step is ${result.current.state} at epoch ${result.current.epoch}`;
    const kinds = [...new Set(types)].sort();
    const data = { step, epoch, service, types: kinds, why };
    const meta = metaOf('ledger', request);
    await this.log.append({
      // Once for each kind of result under a lease: a worker that never gives up must not fill a history.
      commandId: commandId('result-refused', taskId, step, epoch, ...kinds),
      streams: [
        {
          streamId: taskStream(taskId),
          category: 'task',
          events: [{ type: 'lease.result-refused', schemaVersion: 1, data, meta }],
        },
      ],
    });
  }
}

const refuse = (
  code: DoorRefusal['code'],
  message: string,
  details?: unknown,
): { ok: false; refusal: DoorRefusal } => ({
  ok: false,
  refusal: { code, message, ...(details === undefined ? {} : { details }) },
});

/** What only the scheduler may do, because it alone decides. */
function partRefusal(service: ServiceName, request: AppendRequest): DoorRefusal | undefined {
  if (service === 'scheduler') return undefined;
  const decides =
    request.steps !== undefined ||
    request.timers !== undefined ||
    (service !== 'node-agent' && request.streams.some((stream) => stream.expectedVersion !== undefined));
  if (!decides) return undefined;
  return {
    code: 'not-your-part',
    message: `${service} may only state facts; steps, timers and expected versions are the scheduler's`,
  };
}

/** A lease is held by the worker of its step's kind; whoever else names it in a fence could end it with `release`. */
function fenceRefusal(service: ServiceName, { fence }: AppendRequest): DoorRefusal | undefined {
  if (fence === undefined) return undefined;
  const worker = stepWorkers[parseStepId(fence.step).kind];
  if (worker === service) return undefined;
  return {
    code: 'not-your-step',
    message: `${fence.step} is worked on by ${worker}; ${service} has no lease of it to send facts under`,
  };
}

function eventRefusal(
  service: ServiceName,
  request: AppendRequest,
  streamId: string,
  event: { type: string; data?: unknown },
): DoorRefusal | undefined {
  const { type } = event;
  if (!isEventType(type))
    return {
      code: 'unknown-event-type',
      message: `there is no event type ${JSON.stringify(type)}; update the ledger or the caller`,
    };
  const entry = eventCatalogue[type];
  if (entry.owner !== service)
    return { code: 'not-your-event', message: `${type} is appended by ${entry.owner} alone, not by ${service}` };
  const stream = streamRefusal(type, streamId, event.data);
  if (stream !== undefined) return stream;
  if (entry.fenced && (request.fence === undefined || streamId !== taskStream(request.fence.taskId))) {
    return {
      code: 'lease-required',
      message: `${type} is taken only under a lease of the task it is about; send a fence`,
    };
  }
  if (entry.fenced && (event.data as { step?: unknown } | null)?.step !== request.fence?.step) {
    return { code: 'lease-required', message: `${type} is about another step than the lease it is sent under` };
  }
  const bytes = Buffer.byteLength(JSON.stringify(event.data ?? null));
  if (bytes > eventBytesMax)
    return {
      code: 'event-too-large',
      message: `${type} has ${bytes} bytes of data; at most ${eventBytesMax} are taken, large things go to artifacts`,
    };
  const parsed = entry.data.safeParse(event.data);
  if (parsed.success) return undefined;
  const problems = problemsOf(parsed.error, event.data);
  return {
    code: 'invalid-event',
    message: `${type}: ${problems[0]?.field}: got ${problems[0]?.value}, expected ${problems[0]?.expected}`,
    details: problems,
  };
}

/** Which streams a type belongs into, so that nobody can write into somebody else's history. */
function streamRefusal(type: EventType, streamId: string, data: unknown): DoorRefusal | undefined {
  const category = type.slice(0, type.indexOf('.'));
  const expected =
    category === 'grant'
      ? 'fleet'
      : category === 'node' || category === 'model'
        ? `node-${String((data as { node?: unknown } | null)?.node)}`
        : 'task-';
  const fits = expected === 'task-' ? streamId.startsWith(expected) : streamId === expected;
  return fits
    ? undefined
    : {
        code: 'not-your-stream',
        message: `${type} belongs into ${expected === 'task-' ? "its task's stream" : expected}, not into ${streamId}`,
      };
}

const metaOf = (actor: ServiceName, request: AppendRequest): Record<string, unknown> => ({
  actor,
  commandId: request.commandId,
  ...(request.traceparent === undefined ? {} : { traceparent: request.traceparent }),
  ...(request.causationId === undefined ? {} : { causationId: request.causationId }),
});

function batchOf(service: ServiceName, request: AppendRequest): AppendBatch {
  const meta = metaOf(service, request);
  const set = request.timers?.set?.map(({ timerId, taskId, kind, dueInMs, step }) => ({
    timerId,
    streamId: taskStream(taskId),
    category: 'task',
    kind,
    dueInMs,
    data: { step },
    meta,
  }));
  const cancelStreams = request.timers?.cancelTask === undefined ? undefined : [taskStream(request.timers.cancelTask)];
  return {
    // Command ids are made of what they are about, so anybody can work out another service's next one. Each caller has ids of its own:
    // nobody can use one up that somebody else is going to need.
    commandId: commandId('door', service, request.commandId),
    streams: request.streams.map(({ streamId, expectedVersion, events }) => ({
      streamId,
      category: streamId.split('-')[0] ?? streamId,
      ...(expectedVersion === undefined ? {} : { expectedVersion }),
      events: events.map((event): NewEvent => {
        const { version } = eventCatalogue[event.type as EventType];
        return {
          type: event.type,
          schemaVersion: version,
          data: event.data,
          meta,
          ...(event.occurredAt === undefined ? {} : { occurredAt: event.occurredAt }),
        };
      }),
    })),
    ...(request.fence === undefined
      ? {}
      : {
          fence: {
            taskId: request.fence.taskId,
            step: request.fence.step,
            epoch: request.fence.epoch,
            release: request.fence.release ?? false,
          },
        }),
    ...(request.steps === undefined
      ? {}
      : { steps: { open: request.steps.open ?? [], close: request.steps.close ?? [] } }),
    ...(request.timers === undefined
      ? {}
      : {
          timers: {
            set: set ?? [],
            cancel: request.timers.cancel ?? [],
            ...(cancelStreams === undefined ? {} : { cancelStreams }),
          },
        }),
  };
}
