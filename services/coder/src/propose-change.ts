import type { HeldStep } from '@plumbline/bus';
import { StepFault } from '@plumbline/domain';
import {
  type ChatMessage,
  type CompletedCompletion,
  askModel,
  type Answered,
  type ModelAccess,
} from '@plumbline/model';
import type { Sandbox, Toolchain } from '@plumbline/sandbox';
import type { Assignment } from './assignment.js';
import { argumentsOf, callTools, type Called } from './call-tools.js';
import type { FastGate } from '@plumbline/gate';
import { handIn, storable } from './hand-in.js';
import { liveProgress } from './live-progress.js';
import type { CoderMetrics } from './metrics.js';
import { nudge, observe, stopReason, type Progress } from './progress.js';
import type { Prompts } from './prompts.js';
import { samplingFor } from './sampling.js';
import { toolDefinitions, tools } from './tools/registry.js';
import type { TurnFacts } from './turn-record.js';
import type { WorkTree } from './work-tree.js';

/** Everything one attempt works with. */
export interface Run {
  readonly step: HeldStep;
  readonly assignment: Assignment;
  readonly workTree: WorkTree;
  readonly sandbox: Sandbox;
  readonly toolchain: Toolchain | null;
  readonly access: ModelAccess;
  readonly prompts: Prompts;
  readonly metrics: CoderMetrics;
  readonly fastGate: FastGate | undefined;
  /** Where the attempt stands: at its beginning, or after the turns that were recorded before. */
  readonly position: Position;
  /** Stores a turn as evidence and records it; only then does the run go on. */
  readonly recordTurn: (turn: Turn) => Promise<void>;
}

export interface Position {
  readonly messages: readonly ChatMessage[];
  readonly progress: Progress;
  readonly tree: string;
  /** Set when the last recorded turn was the last there is to be. */
  readonly ending?: NonNullable<TurnFacts['ending']>;
}

/** One finished turn, before it is stored. */
export interface Turn {
  readonly number: number;
  readonly startedAt: Date;
  readonly durationMs: number;
  /** The conversation as it was sent. */
  readonly messages: readonly ChatMessage[];
  readonly sampling: ReturnType<typeof samplingFor>;
  readonly answered: Answered;
  readonly said: Extract<ChatMessage, { role: 'assistant' }>;
  readonly replied: readonly ChatMessage[];
  readonly called: Called;
  readonly facts: TurnFacts;
}

/**
 * The loop: ask the model, do what it says, record the turn, until it hands in a change that is accepted. Returns the summary of
 * the submission. Every other end is a StepFault with its one code; nothing here ever forces a good one.
 */
export async function proposeChange(run: Run): Promise<string> {
  let { messages, progress, tree, ending } = run.position;
  while (ending === undefined) {
    run.step.signal.throwIfAborted();
    const stop = progress.turns === 0 ? undefined : stopReason(progress, run.assignment.policy.coder);
    if (stop !== undefined) throw new StepFault(stop.code, stop.detail);
    const turn = await takeTurn(run, messages, progress, tree);
    await run.recordTurn(turn);
    messages = [...messages, turn.said, ...turn.replied];
    progress = observe(progress, turn.facts);
    tree = turn.called.treeAfter;
    ending = turn.facts.ending;
  }
  if (ending.kind === 'decline') throw new StepFault('MODEL_DECLINED', storable(ending.text).slice(0, 1_900));
  return storable(ending.text);
}

async function takeTurn(run: Run, messages: readonly ChatMessage[], progress: Progress, tree: string): Promise<Turn> {
  const { step, assignment, access, metrics } = run;
  const { model, attempt } = assignment;
  const number = progress.turns + 1;
  const startedAt = new Date();
  const began = performance.now();
  const sampling = samplingFor(model.family, { taskId: step.taskId, attempt, turn: number });
  const live = liveProgress(step, number);
  const { signal } = step;
  const request = { model, messages, tools: toolDefinitions, sampling, access, meters: metrics, signal };
  const answered = await askModel({ ...request, onDelta: live.onDelta });
  const { completion } = answered;
  live.tools(completion.toolCalls.map(({ name }) => name));
  const called = await callTools(benchOf(run), completion.toolCalls, tree);
  const facts = factsOf(completion, called, tree);
  return {
    ...{ number, startedAt, messages, sampling, answered, called, facts },
    durationMs: performance.now() - began,
    said: saidBy(completion),
    replied: repliesTo(run.prompts, completion, called, observe(progress, facts)),
  };
}

function benchOf({ step, assignment, workTree, sandbox, toolchain, fastGate }: Run) {
  const { signal } = step;
  const { policy, snapshot } = assignment;
  const { base } = snapshot;
  return {
    tools,
    workTree,
    context: { treeDir: workTree.treeDir, sandbox, toolchain, signal },
    handIn: (summary: string) => handIn({ workTree, base, summary, policy, fastGate, signal }),
  };
}

function factsOf(completion: CompletedCompletion, called: Called, treeBefore: string): TurnFacts {
  const { content, reasoning, finishReason, toolCalls } = completion;
  const onlyThought = toolCalls.length === 0 && content.trim() === '' && reasoning !== '' && finishReason !== 'length';
  const { calls, treeAfter, ending } = called;
  const finish = onlyThought ? 'reasoning-only' : finishReason;
  return { treeBefore, treeAfter, finish, calls, ...(ending === undefined ? {} : { ending }) };
}

/**
 * The answer as it stays in the conversation: without thoughts, never empty, and with arguments that are JSON objects, because servers
 * reject a conversation with anything else in every later turn. What was really written is in the turn's record.
 */
function saidBy({ content, toolCalls }: CompletedCompletion): Extract<ChatMessage, { role: 'assistant' }> {
  if (toolCalls.length === 0) return { role: 'assistant', content: content.trim() === '' ? '(no answer)' : content };
  const calls = toolCalls.map(({ id, name, arguments: text }) => ({
    id,
    name: name === '' ? 'unknown' : name,
    arguments: argumentsOf(text) === undefined || text.trim() === '' ? '{}' : text,
  }));
  return { role: 'assistant', content, toolCalls: calls };
}

/** What the model is told next. Reminders stand inside the last tool result: another user message would cost servers their prompt cache. */
function repliesTo(prompts: Prompts, completion: CompletedCompletion, called: Called, after: Progress): ChatMessage[] {
  const truncated = completion.finishReason === 'length';
  if (called.results.length === 0)
    return [{ role: 'user', content: prompts.text[truncated ? 'truncated' : 'no-tool-call'] }];
  const reminder = truncated ? 'truncated' : nudge(after);
  return called.results.map(({ callId, shown }, index) => {
    const last = index === called.results.length - 1;
    const content = last && reminder !== undefined ? `${shown}\n\n${prompts.text[reminder]}` : shown;
    return { role: 'tool', toolCallId: callId, content };
  });
}
