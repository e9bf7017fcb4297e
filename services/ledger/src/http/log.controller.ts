import type { ServerResponse } from 'node:http';
import { Controller, Inject } from '@nestjs/common';
import type { EventLog } from '@plumbline/event-log';
import { SERVICE_CONFIG } from '@plumbline/host';
import type { LedgerConfig } from '../config.js';
import { EVENT_LOG } from '../tokens.js';
import { streamEvents } from './event-stream.js';
import { HeadWatch } from './head-watch.js';
import { HeldRequests } from './held-requests.js';
import { Handles, type Input, type Output } from './operation.js';
import { startOf } from './stream-start.js';
import { eventDocument } from './task-history.js';

/** Events that a stream holds in memory at most. */
const streamPage = 100;

/** The log itself, by position, with long polling or as a stream; and its audit. */
@Controller()
export class LogController {
  constructor(
    @Inject(EVENT_LOG) private readonly log: EventLog,
    @Inject(HeadWatch) private readonly news: HeadWatch,
    @Inject(HeldRequests) private readonly held: HeldRequests,
    @Inject(SERVICE_CONFIG) private readonly config: LedgerConfig,
  ) {}

  @Handles('getHead')
  async head(): Promise<Output<'getHead'>> {
    const { epoch, pos, chainHash } = await this.log.head();
    return { schema: 'plumbline.head/1', epoch, position: pos, chainHash };
  }

  @Handles('readLog')
  async page({ after, limit, waitMs }: Input<'readLog'>, response: ServerResponse): Promise<Output<'readLog'>> {
    const read = () => this.log.readLog({ afterPos: after, limit });
    let events = await read();
    if (events.length === 0 && waitMs > 0) {
      await this.held.hold(response, (over) => this.news.beyond(after, waitMs, over));
      events = await read();
    }
    return { schema: 'plumbline.log/1', events: events.map(eventDocument), head: (await this.log.head()).pos };
  }

  @Handles('followLog')
  async follow(input: Input<'followLog'>, response: ServerResponse): Promise<void> {
    let seen = startOf(input, (await this.log.head()).pos);
    await this.held.hold(response, (over) =>
      streamEvents(response, {
        afterPos: seen,
        over,
        ...this.config.streams,
        read: async (afterPos) => {
          seen = afterPos;
          return (await this.log.readLog({ afterPos, limit: streamPage })).map(eventDocument);
        },
        news: (timeoutMs) => this.news.beyond(seen, timeoutMs, over),
      }),
    );
  }

  @Handles('auditLog')
  async audit(): Promise<Output<'auditLog'>> {
    const { ok, events, headPosition, epochs, firstBad } = await this.log.audit();
    const found = firstBad === undefined ? {} : { firstBad };
    return { schema: 'plumbline.audit/1', ok, events, headPosition, epochs, ...found };
  }
}
