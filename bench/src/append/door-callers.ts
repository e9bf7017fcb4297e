import { randomUUID } from 'node:crypto';
import { LedgerClient } from '@plumbline/bus';
import { taskStream } from '@plumbline/domain';
import { closedLoop } from '../load/closed-loop.js';
import type { BenchContext } from '../bench.js';
import { serviceChild } from '../servers/ledger-process.js';
import { verdictReached } from '../workload/verdict-event.js';

/** Appends as a service makes them: LedgerClient, NATS, the door of a ledger in a process of its own, with its relay and read models. */
export class DoorCallers {
  private constructor(
    private readonly ledger: LedgerClient,
    readonly close: () => Promise<void>,
  ) {}

  static async open(servers: Pick<BenchContext, 'postgres' | 'nats'>): Promise<DoorCallers> {
    const child = serviceChild('ledger', servers);
    const close = async (): Promise<void> => {
      await child.kill('SIGKILL');
    };
    try {
      child.start();
      await child.ready();
      return new DoorCallers(new LedgerClient(await servers.nats.connect('scheduler'), 'scheduler'), close);
    } catch (error) {
      await close();
      throw error;
    }
  }

  /** Single-event appends per second of so many concurrent callers, each to a new stream. */
  round(callers: number, seconds: number): Promise<number> {
    const events = [{ type: verdictReached.type, data: verdictReached.data }];
    return closedLoop(callers, seconds, async () => {
      const streamId = taskStream(`t-${randomUUID().replaceAll('-', '').slice(0, 26)}`);
      const commandId = randomUUID();
      const reply = await this.ledger.append({ commandId, streams: [{ streamId, expectedVersion: 0, events }] });
      if (reply.outcome !== 'appended') throw new Error(`the door answered ${JSON.stringify(reply)}`);
    });
  }
}
