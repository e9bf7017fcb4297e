import { StepStopped } from '@plumbline/bus';
import { StepFault } from '@plumbline/domain';
import type { ToolCall } from '@plumbline/model';
import { z } from 'zod';
import type { HandedIn } from './hand-in.js';
import { shown } from './tools/shown.js';
import type { Tool, ToolContext } from './tools/tool.js';
import { canonical, digestOf, type CallOutcome, type TurnFacts, type TurnRecord } from './turn-record.js';
import { UnusableTree, type PackedTree, type WorkTree } from './work-tree.js';

const callsMax = 50;

/** What the calls of one answer did. */
export interface Called {
  readonly results: TurnRecord['results'];
  readonly calls: TurnFacts['calls'];
  readonly treeAfter: string;
  /** The last state packed in this turn, when the tree changed to something other than base. */
  readonly packed: PackedTree | null;
  readonly ending?: NonNullable<TurnFacts['ending']>;
}

interface Bench {
  readonly tools: readonly Tool[];
  readonly context: ToolContext;
  readonly workTree: WorkTree;
  readonly handIn: (summary: string) => Promise<HandedIn>;
}

interface Done {
  readonly outcome: CallOutcome;
  readonly text: string;
  readonly args: unknown;
  readonly ending?: NonNullable<TurnFacts['ending']>;
}

/** Executes the calls of a complete answer, one after the other. After an ending, what follows in the same answer is not run. */
export async function callTools(bench: Bench, calls: readonly ToolCall[], treeBefore: string): Promise<Called> {
  const results: TurnRecord['results'] = [];
  const facts: TurnFacts['calls'] = [];
  let tree = treeBefore;
  let packed: PackedTree | null = null;
  let ending: TurnFacts['ending'];
  for (const [index, call] of calls.entries()) {
    const startedAt = performance.now();
    let done: Done;
    if (ending !== undefined || index >= callsMax) {
      const text =
        ending === undefined ? `not run: more than ${callsMax} calls in one answer` : 'not run: the attempt has ended';
      done = { outcome: 'not-run', text, args: null };
    } else {
      done = await callOne(bench, call);
    }
    const tool = bench.tools.find(({ name }) => name === call.name);
    if (tool?.writes === true && (done.outcome === 'ok' || done.outcome === 'error')) {
      const settled = await settle(bench.workTree, tree);
      if (settled.outcome === 'undone') done = { ...done, outcome: 'undone', text: `${settled.why}\n${done.text}` };
      else if (settled.tree !== tree) ({ tree, packed } = settled);
    }
    ending = done.ending ?? ending;
    const name = tool?.name ?? 'unknown';
    results.push({
      ...{ callId: call.id, tool: name, outcome: done.outcome, full: done.text, shown: shown(done.text) },
      durationMs: performance.now() - startedAt,
    });
    facts.push({
      tool: name,
      outcome: done.outcome,
      signature: digestOf([name, canonical(done.args), tree, done.text]),
    });
    bench.context.signal.throwIfAborted();
  }
  return { results, calls: facts, treeAfter: tree, packed, ...(ending === undefined ? {} : { ending }) };
}

async function callOne(bench: Bench, call: ToolCall): Promise<Done> {
  const tool = bench.tools.find(({ name }) => name === call.name);
  if (tool === undefined) {
    const names = bench.tools.map(({ name }) => name).join(', ');
    return {
      outcome: 'unknown-tool',
      text: `there is no tool ${JSON.stringify(call.name.slice(0, 100))}; the tools are ${names}`,
      args: call.arguments,
    };
  }
  const args = argumentsOf(call.arguments);
  if (args === undefined)
    return {
      outcome: 'invalid-arguments',
      text: 'the arguments are not a JSON object; nothing was run',
      args: call.arguments,
    };
  const parsed = tool.parameters.safeParse(args);
  if (!parsed.success)
    return {
      outcome: 'invalid-arguments',
      text: `the arguments do not fit; nothing was run:\n${z.prettifyError(parsed.error)}`.slice(0, 2_000),
      args,
    };
  const answer = await tool.answer(parsed.data, bench.context).catch((error: unknown) => {
    bench.context.signal.throwIfAborted();
    if (error instanceof StepFault || error instanceof StepStopped || isMachineFault(error)) throw error;
    throw new StepFault('TOOL_INTERNAL', `tool ${tool.name}: ${String(error)}`.slice(0, 1_900), { cause: error });
  });
  if (answer.ending?.kind === 'decline')
    return { outcome: 'declined', text: answer.text, args, ending: { kind: 'decline', text: answer.ending.reason } };
  if (answer.ending?.kind === 'submit') {
    const { summary } = answer.ending;
    const handedIn = await bench.handIn(summary);
    return {
      ...handedIn,
      args,
      ...(handedIn.outcome === 'accepted' ? { ending: { kind: 'submit' as const, text: summary } } : {}),
    };
  }
  return { outcome: answer.outcome, text: answer.text, args };
}

type Settled =
  | { readonly outcome: 'settled'; readonly tree: string; readonly packed: PackedTree | null }
  | { readonly outcome: 'undone'; readonly why: string };

/** The tree after a call that may have written; a tree that could never be a change is put back to what it was before. */
async function settle(workTree: WorkTree, before: string): Promise<Settled> {
  try {
    const tree = await workTree.id();
    return { outcome: 'settled', tree, packed: tree === before ? null : await workTree.pack('Work in progress\n') };
  } catch (error) {
    if (!(error instanceof UnusableTree)) throw error;
    await workTree.reset(before);
    const why = `undone: the files could not be recorded as a change (${error.message.slice(0, 500)}). All files are as they were before this call.`;
    return { outcome: 'undone', why };
  }
}

/** The arguments as an object; undefined when they are not one. An empty text is what some models write for no arguments. */
export function argumentsOf(text: string): Record<string, unknown> | undefined {
  if (text.trim() === '') return {};
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Full disks and exhausted tables are faults of the machine, whichever tool met them. */
export function isMachineFault(error: unknown): boolean {
  return (
    error instanceof Error &&
    ['ENOSPC', 'EDQUOT', 'EMFILE', 'ENFILE', 'EIO', 'ENOMEM'].includes((error as NodeJS.ErrnoException).code ?? '')
  );
}
