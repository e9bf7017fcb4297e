import { commandId, parseCloudEvent, retryOf, taskIdOf } from '@plumbline/bus';
import {
  intakeKinds,
  parseIntake,
  parseRepositoryUrl,
  resolvePolicy,
  type IntakeKind,
  type Problem,
  type Refusal,
  type Submission,
  type TaskInput,
} from '@plumbline/domain';
import { failpoint } from '@plumbline/failpoint';
import type { TaskManager } from './task-manager.js';
import { contentDigest } from './content-digest.js';

/** Where something came from: the CloudEvent's identity. */
export interface Origin {
  source: string;
  id: string;
  traceparent?: string;
}

export type IntakeResult =
  | { outcome: 'accepted'; taskId: string; duplicate: boolean }
  | { outcome: 'refused'; refusal: Refusal; origin?: Origin };

export type IntakeRead =
  { outcome: 'read'; kind: IntakeKind; data: unknown; origin: Origin } | (IntakeResult & { outcome: 'refused' });

type Command = Extract<TaskInput, { kind: 'cancel' | 'rule' | 'retry' }>;
type Headers = Parameters<typeof parseCloudEvent>[0];

const refused = (
  code: Refusal['code'],
  message: string,
  problems: Refusal['problems'] = [],
): IntakeResult & { outcome: 'refused' } => ({
  outcome: 'refused',
  refusal: { code, message: message.slice(0, 2000), problems },
});

/**
 * Everything that people hand in, whichever door it came through: one parser, one set of refusals. What is refused leaves nothing behind;
 * what is repeated is answered as it was the first time.
 */
export class Intake {
  constructor(
    private readonly manager: TaskManager,
    private readonly options: { readonly allowLocal: boolean },
  ) {}

  /** Reads a CloudEvent from the intake stream. The kind is the last token of its subject and must agree with its type. */
  read(kind: string, headers: Headers, bytes: Uint8Array): IntakeRead {
    const parsed = parseCloudEvent(headers, bytes);
    if (!parsed.ok) {
      const problems = parsed.problems.slice(0, 20).map(bounded);
      return refused(
        'INVALID',
        `not a CloudEvent: ${problems.map((p) => `${p.field}: expected ${p.expected}`).join('; ')}`,
        problems,
      );
    }
    const { event } = parsed;
    const traceparent = event.extensions['traceparent'];
    const origin = { source: event.source, id: event.id, ...(typeof traceparent === 'string' ? { traceparent } : {}) };
    if (!isIntakeKind(kind)) {
      const message = `no intake is called ${JSON.stringify(kind.slice(0, 100))}; expected one of ${Object.keys(intakeKinds).join(', ')}`;
      return { ...refused('INVALID', message), origin };
    }
    const expected = intakeKinds[kind].type;
    if (event.type === expected) return { outcome: 'read', kind, data: event.data, origin };
    const problem = { field: 'type', value: JSON.stringify(event.type).slice(0, 200), expected };
    return { ...refused('INVALID', `type: got ${problem.value}, expected ${expected}`, [problem]), origin };
  }

  /**
   * Data of one kind, already read from JSON. With a signal, a ledger that does not answer in time is a refusal that says so; whether the
   * input was recorded is unknown then. Without one the failure is thrown, for the message to be handled again.
   */
  async data(kind: IntakeKind, data: unknown, origin: Origin, signal?: AbortSignal): Promise<IntakeResult> {
    const parsed = parseIntake(kind, data);
    if (!parsed.ok) return { outcome: 'refused', refusal: parsed.refusal, origin };
    const forbidden = kind === 'submit' ? this.forbiddenAddress(parsed.value as Submission) : undefined;
    if (forbidden !== undefined) return { ...refused('INVALID', forbidden.message, [forbidden.problem]), origin };
    failpoint('intake.received');
    const result = await this.act(kind, parsed.value, origin, signal);
    if (result.outcome === 'accepted') failpoint('intake.recorded');
    // Whoever sent it finds the answer by the identity of what they sent.
    return result.outcome === 'refused' ? { ...result, origin } : result;
  }

  /** Directories are repositories only where the owner of the machine is the one who submits. */
  private forbiddenAddress({ repository }: Submission): { message: string; problem: Problem } | undefined {
    const checked = parseRepositoryUrl(repository.url, { allowLocal: this.options.allowLocal });
    if (checked.ok) return undefined;
    const { value, expected } = checked.problem;
    const problem = { field: 'repository.url', value: value.slice(0, 200), expected };
    return { message: `submit refused: repository.url: got ${problem.value}, expected ${expected}`, problem };
  }

  private async act(kind: IntakeKind, value: unknown, origin: Origin, signal?: AbortSignal): Promise<IntakeResult> {
    try {
      if (kind === 'submit') return await this.submit(value as Submission, origin, signal);
      const { taskId, ...input } = value as { taskId: string } & Omit<Command, 'kind'>;
      return await this.command(taskId, { kind, ...input } as Command, origin, signal);
    } catch (error) {
      if (signal === undefined || !(signal.aborted || retryOf(error) === 'later')) throw error;
      return refused(
        'UNAVAILABLE',
        'the ledger did not answer in time; it may have been recorded: repeat it (a submission under the same idempotencyKey)',
      );
    }
  }

  private async submit(submission: Submission, origin: Origin, signal?: AbortSignal): Promise<IntakeResult> {
    const taskId = taskIdOf(origin, submission);
    const digest = contentDigest(submission);
    const { repository, issue, priority, publish } = submission;
    const submitted = {
      taskId,
      source: origin.source,
      submissionId: origin.id,
      contentDigest: digest,
      repository,
      issue,
      policy: resolvePolicy(submission.policy),
      priority,
      publish,
    };
    const handled = await this.manager.handle(taskId, { kind: 'submit', submitted }, patience(signal));
    if (handled.outcome !== 'accepted')
      return refused('UNAVAILABLE', 'the task could not be recorded now; submit it again');
    if (handled.state.submission?.contentDigest !== digest) {
      const problem = {
        field: 'idempotencyKey',
        value: JSON.stringify(submission.idempotencyKey ?? origin.id).slice(0, 200),
        expected: 'a key (or event id) that was not used for another submission',
      };
      return refused(
        'IDEMPOTENCY_KEY_REUSED',
        `task ${taskId} was submitted under the same key with other content; use another key`,
        [problem],
      );
    }
    return { outcome: 'accepted', taskId, duplicate: handled.events.length === 0 };
  }

  /** What people decide about a task. A message that comes again after it took effect is answered as the first time, and does nothing. */
  private async command(taskId: string, input: Command, origin: Origin, signal?: AbortSignal): Promise<IntakeResult> {
    // Whoever uses one id for two commands has sent two: neither may be taken for a repetition of the other.
    const command = commandId('intake', taskId, JSON.stringify(input), origin.source, origin.id);
    const handled = await this.manager.handle(taskId, input, { commandId: command, ...patience(signal) });
    if (handled.outcome === 'accepted') return { outcome: 'accepted', taskId, duplicate: handled.events.length === 0 };
    if (handled.outcome !== 'refused')
      return refused('UNAVAILABLE', 'other decisions on this task kept coming first; try again');
    if (handled.code !== 'UNKNOWN_TASK' && (await this.manager.wasTaken(taskId, command, signal)))
      return { outcome: 'accepted', taskId, duplicate: true };
    return refused(handled.code, handled.message);
  }
}

const patience = (signal: AbortSignal | undefined): { signal?: AbortSignal } =>
  signal === undefined ? {} : { signal };

const isIntakeKind = (kind: string): kind is IntakeKind => Object.hasOwn(intakeKinds, kind);

function bounded(problem: { field: string; value: unknown; expected: string }): Refusal['problems'][number] {
  const value = typeof problem.value === 'string' ? problem.value : (JSON.stringify(problem.value) ?? 'nothing');
  return { field: problem.field.slice(0, 500), value: value.slice(0, 200), expected: problem.expected.slice(0, 1000) };
}
