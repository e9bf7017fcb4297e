import type { Evidence } from '@plumbline/bus';
import { rm } from 'node:fs/promises';
import type { PlumblineEvent } from '@plumbline/domain';
import type { Run, Turn } from './propose-change.js';
import { toolDefinitions } from './tools/registry.js';
import { digestOf, type TurnRecord } from './turn-record.js';

export const turnMediaType = 'application/vnd.plumbline.turn+json';
export const packMediaType = 'application/x-git-packed-objects';
const rawCharsMax = 1 << 20;

/** Stores a turn: the tree it left (when that is news), then its record, then the event that names both. */
export function turnRecorder(
  run: Pick<Run, 'step' | 'assignment' | 'prompts' | 'sandbox' | 'metrics'>,
  evidence: Evidence,
  redact: <T>(value: T) => T,
): (turn: Turn) => Promise<void> {
  return async (turn) => {
    const { step, assignment } = run;
    const { packed, treeAfter, results } = turn.called;
    const workspace = packed === null ? undefined : await evidence.putFile(packed.bundlePath, packMediaType);
    if (packed !== null) await rm(packed.bundlePath);
    const record = recordOf(run, turn, redact);
    const transcript = await evidence.putJson(record, turnMediaType);
    const usage = turn.answered.completion.usage;
    const event: PlumblineEvent = {
      type: 'turn.recorded',
      data: {
        ...{ step: step.id, attempt: assignment.attempt, turn: turn.number, treeAfter, transcript },
        ...(workspace === undefined ? {} : { workspace }),
        tools: results.slice(0, 50).map(({ tool }) => tool),
        tokens: { prompt: usage?.promptTokens ?? 0, completion: usage?.completionTokens ?? 0 },
      },
    };
    await step.record(`turn-${turn.number}`, [event]);
    run.metrics.plumb_coder_turns_total.inc(1, { model: assignment.model.name });
    for (const { tool, outcome } of results) run.metrics.plumb_coder_tool_calls_total.inc(1, { tool, outcome });
  };
}

function recordOf(
  { step, assignment, prompts, sandbox }: Pick<Run, 'step' | 'assignment' | 'prompts' | 'sandbox'>,
  turn: Turn,
  redact: <T>(value: T) => T,
): TurnRecord {
  const { messages, answered, called } = turn;
  const { completion, tries } = answered;
  const { name, family, node, endpoint } = assignment.model;
  const { finishReason, content, reasoning, toolCalls, usage, timings, bytes, raw } = completion;
  const written = { content, reasoning, toolCalls };
  const clean = digestOf(redact(written)) === digestOf(written);
  const rawKept = clean ? Math.min(raw.length, rawCharsMax) : 0;
  const record = {
    format: 'plumbline.turn/1' as const,
    ...{ taskId: step.taskId, step: step.id, epoch: step.epoch, attempt: assignment.attempt, turn: turn.number },
    model: { name, family, node, endpoint },
    prompts: prompts.digests,
    isolation: sandbox.isolation,
    request: {
      messages: messages.length,
      digest: digestOf(redact(messages)),
      toolsDigest: digestOf(toolDefinitions),
      ...(turn.number === 1 ? { opening: messages } : {}),
      sampling: turn.sampling,
    },
    answer: {
      ...{ finishReason, content, reasoning, toolCalls, timings, bytes },
      ...(usage === undefined ? {} : { usage }),
      raw: raw.slice(0, rawKept),
      rawLeftOut: raw.length - rawKept,
      tries: tries.map(({ completion: each, waitMs }) => ({
        outcome: each.outcome === 'complete' ? 'complete' : each.code,
        message: each.outcome === 'complete' ? '' : each.message,
        ...(waitMs === undefined ? {} : { waitMs }),
      })),
    },
    ...{ said: turn.said, replied: turn.replied, results: called.results, facts: turn.facts },
    ...(called.packed === null ? {} : { workspaceHead: called.packed.head }),
    ...{ startedAt: turn.startedAt.toISOString(), durationMs: turn.durationMs },
  };
  return redact(record) as unknown as TurnRecord;
}
