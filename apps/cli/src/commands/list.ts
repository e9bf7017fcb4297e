import { taskStateSchema } from '@plumbline/domain';
import { badInput, exitCodes } from '../failure.js';
import type { Session } from '../session.js';
import { openLedger } from '../system/connect.js';
import { columns, plain } from '../terminal/text.js';
import { paintVerdict } from '../terminal/verdict.js';

/** `plumb list`: all tasks, or those in one state. */
export async function list(session: Session, _args: string[], options: { state?: string }): Promise<number> {
  if (options.state !== undefined && !taskStateSchema.safeParse(options.state).success) {
    throw badInput(
      `--state is ${JSON.stringify(options.state)}, which is no state of a task.`,
      `Give one of ${taskStateSchema.options.join(', ')}.`,
    );
  }
  const document = await openLedger(session).tasks(options.state === undefined ? {} : { state: options.state });
  const { tasks } = document;
  session.document(document);
  const { palette } = session;
  const rows = tasks.map(({ id, state, verdict, title, waitingFor }) => [
    palette.accent(id.slice(0, 10)),
    verdict === undefined || verdict === null ? palette.dim('…') : paintVerdict(palette, verdict),
    plain(state),
    plain(title) + (waitingFor === undefined || waitingFor === null ? '' : ` (waits for ${plain(waitingFor)})`),
  ]);
  for (const line of columns(rows, 0)) session.say(line);
  if (tasks.length === 0)
    session.say(
      palette.dim(
        options.state === undefined ? 'No tasks yet: plumb submit hands one over.' : `No task is ${options.state}.`,
      ),
    );
  return exitCodes.ok;
}
