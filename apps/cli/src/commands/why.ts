import { exitCodes } from '../failure.js';
import type { TaskDocument } from '../ledger/documents.js';
import { findTaskId, unknownTask } from '../ledger/find-task.js';
import type { Session } from '../session.js';
import { openLedger } from '../system/connect.js';
import { plain } from '../terminal/text.js';
import { reasonLines } from '../terminal/verdict.js';

interface Because {
  readonly code: string;
  readonly message: string;
  readonly numbers: Readonly<Record<string, number>>;
}

/** `plumb why`: why a task waits, what it does, or what its verdict rests on. */
export async function why(session: Session, [task = '']: string[]): Promise<number> {
  const ledger = openLedger(session);
  const id = await findTaskId(ledger, task);
  const [document, { tasks }] = await Promise.all([ledger.task(id), ledger.tasks()]);
  if (document === undefined) throw unknownTask(task);
  const reasons = reasonsOf(document, tasks.find((entry) => entry.id === id)?.waitingFor ?? undefined);
  session.document({ schema: 'plumbline.why/1', subject: id, state: document.task.state, reasons });
  session.say(`${session.palette.bold(id)} is ${plain(document.task.state)}`);
  for (const line of reasonLines(session.palette, reasons.map(({ code, message }) => ({ check: code, summary: message })))) session.say(line);
  return exitCodes.ok;
}

/** What holds a task where it is, most immediate first; never empty. */
export function reasonsOf(document: TaskDocument, waitingFor?: string): Because[] {
  const because = (code: string, message: string, numbers: Record<string, number> = {}): Because => ({ code, message, numbers });
  const { task, verdict, attempts, escalations, timeline } = document;
  const last = attempts.at(-1);
  const open = escalations.filter((escalation) => escalation.open === true);
  const reasons = [
    ...(waitingFor === undefined ? [] : [because('WAITS', `it waits for ${waitingFor}`)]),
    ...open.flatMap(({ to, reasons: said = [] }) => said.map((reason) => because('ESCALATED', `${to === 'human' ? 'a human has to decide' : 'escalated'}: ${reason}`))),
    ...(verdict?.reasons ?? []).map(({ check, summary }) => because(check, summary)),
    ...(last?.ended === undefined || last.ended === null
      ? []
      : [because(last.ended.code, last.ended.detail ?? 'the attempt ended', { attempt: last.n })]),
  ];
  if (reasons.length > 0) return reasons;
  if (verdict?.verdict === 'GO') return [because('GO', 'every required check passed and the panel approved with verified evidence', { attempts: attempts.length })];
  const latest = timeline.at(-1);
  const since = latest === undefined ? 'nothing is recorded yet' : `last recorded: ${latest.type} ${latest.summary}`.trim();
  return [because('IN_PROGRESS', `it is ${task.state}; ${since}`, latest === undefined ? {} : { position: latest.position })];
}
