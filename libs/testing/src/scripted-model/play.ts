import type { ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Fault, ScriptedTurn } from './scenario.js';
import type { Reply } from './script.js';
import { finishChunk, openingChunk, replyChunks, usageChunk, wholeReply, type ReportedUsage } from './wire.js';

/** An answer ready to be played. */
export interface PlannedAnswer {
  readonly id: string;
  readonly model: string;
  readonly reply: Reply;
  readonly played: ScriptedTurn;
  readonly usage: ReportedUsage;
  readonly includeUsage: boolean;
  /** The fault to meet this time, if any. */
  readonly fault: Fault | undefined;
}

/** Faults that a document in one piece cannot show. */
export const STREAM_ONLY: ReadonlySet<Fault['kind']> = new Set(['pings', 'slow', 'garbage', 'no-done']);

/**
 * Plays an answer to a client as a server-sent event stream, with its fault. Returns once everything is said or the
 * client has gone, whichever is first; a silent answer ends only with the client or the server.
 */
export async function playStream(response: ServerResponse, answer: PlannedAnswer): Promise<void> {
  const { fault } = answer;
  const gone = leaving(response);
  await pause(answer.played.delayMs, gone);
  if (fault?.kind === 'rst' && fault.afterChunks === 0) return reset(response);
  if (gone.aborted) return;
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store' });
  response.flushHeaders();
  const chunks = replyChunks(answer, replyWithFault(answer), answer.played.chunkChars);
  const breakAt = fault && 'afterChunks' in fault ? Math.min(fault.afterChunks, chunks.length) : undefined;
  if (breakAt !== 0) say(response, openingChunk(answer));
  for (const [at, chunk] of [...chunks, undefined].entries()) {
    if (at === breakAt && fault && (await strike(response, fault, gone))) return;
    if (fault?.kind === 'slow') await pause(fault.everyMs, gone);
    if (gone.aborted) return;
    if (chunk !== undefined) say(response, chunk);
  }
  say(response, finishChunk(answer, answer.reply));
  if (answer.includeUsage) say(response, usageChunk(answer, answer.usage));
  if (fault?.kind === 'no-done') return untilGone(gone);
  say(response, '[DONE]');
  response.end();
}

/** Plays an answer as one JSON document. Only for faults that are not {@link STREAM_ONLY}. */
export async function playWhole(response: ServerResponse, answer: PlannedAnswer): Promise<void> {
  const { fault } = answer;
  const gone = leaving(response);
  await pause(answer.played.delayMs, gone);
  if (gone.aborted) return;
  if (fault?.kind === 'rst') return reset(response);
  response.writeHead(200, { 'content-type': 'application/json' });
  if (fault?.kind === 'silent') {
    response.flushHeaders();
    return untilGone(gone);
  }
  if (fault?.kind === 'error-event') {
    response.end(errorJson(500, fault.message, 'server_error'));
    return;
  }
  const document = wholeReply(answer, replyWithFault(answer), answer.usage);
  response.end(fault?.kind === 'eof' ? document.slice(0, document.length / 2) : document);
}

/** The body of an error as llama.cpp and OpenAI write it. */
export function errorJson(status: number, message: string, type: string): string {
  return JSON.stringify({ error: { code: status, message, type } });
}

/** Lets the fault happen; true when the answer ends with it. */
async function strike(response: ServerResponse, fault: Fault, gone: AbortSignal): Promise<boolean> {
  if (gone.aborted) return true;
  if (fault.kind === 'garbage') {
    say(response, fault.text);
    return false;
  }
  if (fault.kind === 'rst') {
    // What was said before must be out of the door, or the reset takes it along.
    await new Promise((resolve) => response.write(': reset follows\n\n', resolve));
    reset(response);
  } else if (fault.kind === 'silent') {
    await untilGone(gone);
  } else if (fault.kind === 'pings') {
    while (!gone.aborted) {
      response.write(': ping\n\n');
      await pause(fault.everyMs, gone);
    }
  } else {
    if (fault.kind === 'error-event') say(response, errorJson(500, fault.message, 'server_error'));
    response.end();
  }
  return true;
}

function replyWithFault({ reply, fault }: PlannedAnswer): Reply {
  if (fault?.kind !== 'truncated-arguments') return reply;
  const last = reply.toolCalls.length - 1;
  return {
    ...reply,
    toolCalls: reply.toolCalls.map((call, at) =>
      at === last ? { ...call, arguments: call.arguments.slice(0, fault.keepChars) } : call,
    ),
  };
}

function say(response: ServerResponse, data: string): void {
  response.write(`data: ${data}\n\n`);
}

function reset(response: ServerResponse): void {
  response.socket?.resetAndDestroy();
}

function leaving(response: ServerResponse): AbortSignal {
  const controller = new AbortController();
  response.once('close', () => controller.abort());
  if (response.destroyed) controller.abort();
  return controller.signal;
}

async function pause(ms: number, gone: AbortSignal): Promise<void> {
  if (ms > 0) await delay(ms, undefined, { signal: gone }).catch(() => undefined);
}

async function untilGone(gone: AbortSignal): Promise<void> {
  if (!gone.aborted) await new Promise((resolve) => gone.addEventListener('abort', resolve, { once: true }));
}
