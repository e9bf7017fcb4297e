import type { ServerResponse } from 'node:http';
import type { EventDocument } from '@plumbline/domain';

export interface EventStreamOptions {
  afterPos: number;
  /** The next events after a position, oldest first, a page at most; empty when there are none yet. */
  read: (afterPos: number) => Promise<EventDocument[]>;
  /** Resolves when there may be more, or after `timeoutMs`. */
  news: (timeoutMs: number) => Promise<void>;
  /** A comment is sent when nothing else was for so long, so that both sides notice a connection that is dead. */
  heartbeatMs: number;
  /** A reader that takes nothing for so long is cut off. */
  stalledAfterMs: number;
  /** Aborts when the reader has gone or the ledger leaves. */
  over: AbortSignal;
}

/**
 * Writes events as server-sent events until it is over. What is held in memory is one page: nothing more is read while the reader takes
 * nothing. Every event carries its position as its id, so a reader that was cut off goes on exactly where it stopped.
 */
export async function streamEvents(response: ServerResponse, options: EventStreamOptions): Promise<void> {
  const { read, news, heartbeatMs, over } = options;
  response.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store, no-transform',
    'x-accel-buffering': 'no',
    'x-content-type-options': 'nosniff',
  });
  let { afterPos } = options;
  let quietSince = performance.now();
  const send = async (text: string): Promise<boolean> => {
    quietSince = performance.now();
    return response.write(text) || (await drained(response, options.stalledAfterMs, over));
  };
  if (!(await send('retry: 1000\n\n'))) return cutOff(response, over);
  while (!over.aborted) {
    const events = await read(afterPos);
    for (const event of events) {
      if (over.aborted) break;
      if (!(await send(frame(event)))) return cutOff(response, over);
      afterPos = event.position;
    }
    if (events.length > 0 || over.aborted) continue;
    const left = heartbeatMs - (performance.now() - quietSince);
    if (left > 0) await news(left);
    else if (!(await send(': nothing new\n\n'))) return cutOff(response, over);
  }
  response.end();
}

const frame = (event: EventDocument): string =>
  `id: ${event.position}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;

/** When the ledger leaves, what was written is still delivered; a reader that stalls gets nothing more. */
function cutOff(response: ServerResponse, over: AbortSignal): void {
  if (over.aborted) response.end();
  else response.destroy();
}

/** True once the reader has taken what was written; false when it took nothing for too long, or it is over. */
async function drained(response: ServerResponse, stalledAfterMs: number, over: AbortSignal): Promise<boolean> {
  if (over.aborted || response.destroyed) return false;
  return new Promise((resolve) => {
    const end = (taken: boolean) => (): void => {
      clearTimeout(timer);
      response.off('drain', onDrain);
      over.removeEventListener('abort', onOver);
      resolve(taken);
    };
    const onDrain = end(true);
    const onOver = end(false);
    const timer = setTimeout(onOver, stalledAfterMs);
    response.once('drain', onDrain);
    over.addEventListener('abort', onOver, { once: true });
  });
}
