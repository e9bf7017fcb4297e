import { userInfo } from 'node:os';
import { parseIntake, type IntakeKind } from '@plumbline/domain';
import { badInput, exitCodes } from '../failure.js';
import { findTaskId } from '../ledger/find-task.js';
import type { Session } from '../session.js';
import { busLogin, cloudEvent, publishIntake, requestIntake, withBus } from '../system/bus-client.js';
import { openLedger } from '../system/connect.js';

interface Options {
  readonly why: string;
  readonly by?: string;
}

/** `plumb cancel`: stops a task, with the reason for the record. */
export function cancel(session: Session, [task = '']: string[], { why, by }: Options): Promise<number> {
  return intervene(session, 'cancel', task, { why, by: by ?? person(session) }, 'Cancelled');
}

/** `plumb retry`: lets a task that waits for a human try again. */
export function retry(session: Session, [task = '']: string[], { why, by }: Options): Promise<number> {
  return intervene(session, 'retry', task, { why, by: by ?? person(session) }, 'Trying again');
}

/** `plumb rule`: a human's decision on a task that waits for one. Exactly one of `--go` and `--no-go`. */
export async function rule(
  session: Session,
  [task = '']: string[],
  // Commander reads `--no-go` as the negation of `--go`.
  { go, why, by }: Options & { go?: boolean },
): Promise<number> {
  if (go === undefined) throw badInput('A ruling needs a decision.', 'Give --go or --no-go.');
  const decision = go ? 'go' : 'no-go';
  // The ruling is about the attempt that can be seen now: if another takes its place before it arrives, it is refused.
  const ledger = openLedger(session);
  const shown = await ledger.task(await findTaskId(ledger, task));
  const attempt = shown?.attempts.at(-1)?.n;
  return intervene(
    session,
    'rule',
    task,
    { decision, why, by: by ?? person(session), ...(attempt === undefined ? {} : { attempt }) },
    `Ruled ${decision.toUpperCase()}`,
  );
}

async function intervene(
  session: Session,
  kind: Exclude<IntakeKind, 'submit'>,
  task: string,
  said: Record<string, unknown>,
  done: string,
): Promise<number> {
  const taskId = await findTaskId(openLedger(session), task);
  const data = { taskId, ...said };
  const parsed = parseIntake(kind, data);
  if (!parsed.ok) throw badInput(parsed.refusal.message, 'Correct it and try again.');
  const event = cloudEvent(kind, data);
  const answer = await session.progress.step('Asking the scheduler', () =>
    withBus(busLogin(session, 'user'), async (nc) => {
      const asked = await requestIntake(nc, kind, data);
      // Retries are only ever asked for, so that nobody's forgotten message starts work much later.
      if (asked.outcome === 'nobody' && kind !== 'retry') await publishIntake(nc, kind, event);
      return asked;
    }),
  );
  const answered = answer.outcome === 'accepted';
  if (!answered && kind === 'retry') {
    throw badInput('No scheduler is there to answer, so nothing was asked for.', 'See `plumb doctor`, then try again.');
  }
  if (!answered) session.note('No scheduler answers just now; this waits in the intake stream until one is back.');
  session.say(answered ? `${done}: ${taskId}` : `Published for ${taskId}`);
  session.document({ schema: 'plumbline.intervention/1', kind, taskId, accepted: answered, eventId: event['id'] });
  return exitCodes.ok;
}

/** Who is at the keyboard, as the record will say. */
function person(session: Session): string {
  try {
    return userInfo().username;
  } catch {
    return session.env['USER'] ?? 'unnamed';
  }
}
