import type { ServerResponse } from 'node:http';
import { BadRequestException, Controller, Get, Inject, Query, Res, UseGuards } from '@nestjs/common';
import { EventLog, type RecordedEvent } from '@plumbline/event-log';
import { streamEntity } from '@plumbline/domain';
import { EVENT_LOG } from '../tokens.js';
import { HeadWatch } from './head-watch.js';
import { TokenGuard } from './token.guard.js';

const waitMsMax = 25_000;
const limitMax = 1_000;

/** The log itself, by position, with long polling; and its audit. */
@Controller('v1')
@UseGuards(TokenGuard)
export class LogController {
  constructor(
    @Inject(EVENT_LOG) private readonly log: EventLog,
    @Inject(HeadWatch) private readonly news: HeadWatch,
  ) {}

  @Get('head')
  async head(): Promise<unknown> {
    const { epoch, pos, chainHash } = await this.log.head();
    return { schema: 'plumbline.head/1', epoch, position: pos, chainHash };
  }

  /** Events after a position, as many as there are up to `limit`; with `waitMs` the answer waits for the first one. */
  @Get('log')
  async page(
    @Res({ passthrough: true }) response: ServerResponse,
    @Query('after') after?: string,
    @Query('limit') limit?: string,
    @Query('waitMs') waitMs?: string,
  ): Promise<unknown> {
    const afterPos = wholeNumber('after', after, 0, Number.MAX_SAFE_INTEGER, 0);
    const max = wholeNumber('limit', limit, 1, limitMax, 500);
    const patienceMs = wholeNumber('waitMs', waitMs, 0, waitMsMax, 0);
    let events = await this.log.readLog({ afterPos, limit: max });
    if (events.length === 0 && patienceMs > 0) {
      await this.news.beyond(afterPos, patienceMs, goneSignal(response));
      events = await this.log.readLog({ afterPos, limit: max });
    }
    return { schema: 'plumbline.log/1', events: events.map(eventDocument), head: (await this.log.head()).pos };
  }

  @Get('audit')
  async audit(): Promise<unknown> {
    const { ok, events, headPosition, epochs, firstBad } = await this.log.audit();
    const found = firstBad === undefined ? {} : { firstBad };
    return { schema: 'plumbline.audit/1', ok, events, headPosition, epochs, ...found };
  }
}

/** `plumbline.event/1`: one recorded event as people and scripts read it. */
export function eventDocument(event: RecordedEvent): Record<string, unknown> {
  const { category, id } = streamEntity(event.streamId);
  const { pos, recordedAt, type, schemaVersion, data, streamId, version, chainHash, eventId } = event;
  return {
    schema: 'plumbline.event/1',
    position: pos,
    at: recordedAt,
    type,
    schemaVersion,
    ...(category === 'task' ? { task: id } : {}),
    data,
    eventId,
    streamId,
    version,
    chainHash,
  };
}

/** Aborts when whoever asked has gone: nobody waits for nobody. */
export function goneSignal(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  return gone.signal;
}

/** A number from a query, or a refusal that says what was expected. */
export function wholeNumber(name: string, text: string | undefined, min: number, max: number, absent: number): number {
  if (text === undefined) return absent;
  const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
  if (value >= min && value <= max) return value;
  throw new BadRequestException(
    `${name}: got ${JSON.stringify(text.slice(0, 50))}, expected a whole number from ${min} to ${max}`,
  );
}
