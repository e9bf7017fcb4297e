import type { Evidence } from '@plumbline/bus';
import { StepFault, type ArtifactRef } from '@plumbline/domain';
import type { ChatMessage } from '@plumbline/model';
import { z } from 'zod';
import type { Assignment, EarlierTurn } from './assignment.js';
import { noProgress, observe, type Progress } from './progress.js';
import { asMessages, digestOf, turnRecordSchema, type TurnFacts, type TurnRecord } from './turn-record.js';

const recordBytesMax = 64 << 20;

/** An attempt as its recorded turns left it. */
export interface Earlier {
  readonly messages: readonly ChatMessage[];
  readonly progress: Progress;
  readonly tree: string;
  /** The pack that holds `tree`, and the commit in it; undefined when the tree is base's. */
  readonly workspace?: { readonly pack: ArtifactRef; readonly head: string };
  readonly ending?: NonNullable<TurnFacts['ending']>;
}

/**
 * Puts an attempt together again from its recorded turns. Undefined when there is nothing to go on with: no turns, or turns of another
 * model, whose conversation would be put into this one's mouth.
 */
export async function resume(
  turns: readonly EarlierTurn[],
  assignment: Assignment,
  evidence: Evidence,
): Promise<Earlier | undefined> {
  const last = turns.at(-1);
  if (last === undefined) return undefined;
  const records: TurnRecord[] = [];
  for (const turn of turns) records.push(await read(turn, evidence));
  if (records.some((record) => record.model.name !== assignment.model.name)) return undefined;
  const messages = conversationOf(records);
  const { ending } = (records.at(-1) as TurnRecord).facts;
  const progress = records.reduce<Progress>((state, { facts }) => observe(state, facts), noProgress);
  const workspace =
    last.treeAfter === assignment.snapshot.tree ? undefined : workspaceOf(turns, records, last.treeAfter);
  return {
    ...{ messages, progress, tree: last.treeAfter },
    ...(workspace === undefined ? {} : { workspace }),
    ...(ending === undefined ? {} : { ending }),
  };
}

async function read({ turn, transcript, treeAfter }: EarlierTurn, evidence: Evidence): Promise<TurnRecord> {
  const parsed = turnRecordSchema.safeParse(await evidence.getJson(transcript, recordBytesMax));
  if (!parsed.success)
    throw new StepFault(
      'HARNESS_BUG',
      `the record of turn ${turn} cannot be read: ${z.prettifyError(parsed.error)}`.slice(0, 1_900),
    );
  if (parsed.data.turn !== turn || parsed.data.facts.treeAfter !== treeAfter)
    throw new StepFault(
      'HARNESS_BUG',
      `the record of turn ${turn} is about turn ${parsed.data.turn}, or about another tree`,
    );
  return parsed.data;
}

/** The conversation after the last turn; checked against what that turn recorded of the conversation it was sent. */
function conversationOf(records: readonly TurnRecord[]): ChatMessage[] {
  const messages = asMessages(records[0]?.request.opening ?? []);
  for (const { request, said, replied, turn } of records) {
    if (digestOf(messages) !== request.digest)
      throw new StepFault('HARNESS_BUG', `the conversation before turn ${turn} cannot be put together again`);
    messages.push(...asMessages([said, ...replied]));
  }
  return messages;
}

function workspaceOf(
  turns: readonly EarlierTurn[],
  records: readonly TurnRecord[],
  tree: string,
): NonNullable<Earlier['workspace']> {
  const at = turns.findLastIndex((turn) => turn.treeAfter === tree && turn.workspace !== undefined);
  const pack = turns[at]?.workspace;
  const head = records[at]?.workspaceHead;
  if (pack === undefined || head === undefined)
    throw new StepFault('HARNESS_BUG', `no recorded turn holds the tree ${tree} that the last turn left`);
  return { pack, head };
}
