import { z } from 'zod';
import type { DeadDocument } from '@plumbline/domain';
import { badInput, exitCodes } from '../failure.js';
import type { Run } from '../program.js';
import type { Session } from '../session.js';
import { busLogin, requestDead, withBus } from '../system/bus-client.js';
import { columnsMax, cut, plain, wrap } from '../terminal/text.js';

const deadList = z.looseObject({
  entries: z.array(
    z.looseObject({
      deadSeq: z.int(),
      service: z.string(),
      storedAt: z.string().optional(),
      letter: z.looseObject({ subject: z.string(), reason: z.string(), deliveries: z.int(), at: z.string() }).nullish(),
    }),
  ),
  total: z.int().optional(),
});

const unreadable = 'What is stored cannot be read; drop it.';

function documentOf({
  deadSeq,
  service,
  letter,
}: z.infer<typeof deadList>['entries'][number]): DeadDocument['dead'][number] {
  const known = letter === undefined || letter === null ? undefined : letter;
  return {
    id: String(deadSeq),
    consumer: service,
    reason: known?.reason ?? unreadable,
    ...(known === undefined ? {} : { subject: known.subject, deliveries: known.deliveries, deadAt: known.at }),
  };
}

/** `plumb dead list|retry|drop`: messages a handler gave up on, each with its reason. */
export function dead(op: 'list' | 'retry' | 'drop'): Run {
  return (session, [seq]) => (op === 'list' ? list(session) : settle(session, op, seq ?? ''));
}

async function list(session: Session): Promise<number> {
  const value = await withBus(busLogin(session, 'operator'), (nc) => requestDead(nc, { op: 'list' }));
  const parsed = deadList.safeParse(value);
  if (!parsed.success)
    throw badInput(
      "The ledger's list of dead letters cannot be read.",
      'Check that both sides are of the same version.',
    );
  const { entries } = parsed.data;
  session.document({ schema: 'plumbline.dead/1', dead: entries.map(documentOf) });
  const { palette } = session;
  for (const { deadSeq, service, letter } of entries) {
    const title = letter === undefined || letter === null ? 'not a dead letter' : plain(letter.subject);
    session.say(
      `${palette.accent(String(deadSeq).padStart(5))}  ${palette.bold(plain(service).padEnd(10))}  ${cut(title, columnsMax - 20)}`,
    );
    for (const line of wrap(plain(letter?.reason ?? unreadable), columnsMax - 7)) session.say(`       ${line}`);
  }
  session.say(
    entries.length === 0
      ? 'No dead letters.'
      : palette.dim('plumb dead retry SEQ gives one back, plumb dead drop SEQ deletes it.'),
  );
  return exitCodes.ok;
}

async function settle(session: Session, op: 'retry' | 'drop', given: string): Promise<number> {
  if (!/^[1-9]\d{0,14}$/.test(given))
    throw badInput(`${JSON.stringify(given)} is not a number of a dead letter.`, '`plumb dead list` shows them.');
  const seq = Number(given);
  await withBus(busLogin(session, 'operator'), (nc) => requestDead(nc, { op, seq }));
  session.say(op === 'retry' ? `Dead letter ${seq} was given to its handler again.` : `Dead letter ${seq} is deleted.`);
  session.document({
    schema: 'plumbline.dead-letter/1',
    id: String(seq),
    outcome: op === 'retry' ? 'retried' : 'dropped',
  });
  return exitCodes.ok;
}
