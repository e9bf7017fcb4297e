import { randomUUID } from 'node:crypto';
import { EventLog, Sequencer } from '@plumbline/event-log';
import { closedLoop } from '../load/closed-loop.js';
import type { BenchPostgres } from '../servers/bench-postgres.js';
import { verdictReached } from '../workload/verdict-event.js';

const eventsPerStream = 30;

interface Caller {
  streamId: string;
  version: number;
}

/**
 * `EventLog.append` as the ledger's door calls it, with the sequencer numbering and chaining everything meanwhile, as it does in the ledger.
 * Every caller is a decider: it appends to its own stream at the version it expects, and opens a new stream after some tens of events.
 */
export class AppendCallers {
  private readonly log: EventLog;
  private readonly sequencer: Sequencer;
  private readonly callers: Caller[] = [];

  constructor(postgres: BenchPostgres) {
    this.log = new EventLog({ pool: postgres.ledger, onAppended: () => this.sequencer.wake() });
    this.sequencer = new Sequencer(this.log);
    this.sequencer.start();
  }

  /** Events per second of so many concurrent callers, `eventsPerCall` in each append. Throws when an append was not recorded. */
  async round(callers: number, seconds: number, eventsPerCall = 1): Promise<number> {
    const events = Array.from({ length: eventsPerCall }, () => verdictReached);
    const calls = await closedLoop(callers, seconds, async (index) => {
      const caller = this.callerAt(index);
      const { streamId, version } = caller;
      const result = await this.log.append({
        commandId: randomUUID(),
        streams: [{ streamId, category: 'task', expectedVersion: version, events }],
      });
      if (result.outcome !== 'appended') throw new Error(`an append was answered with ${JSON.stringify(result)}`);
      caller.version += eventsPerCall;
    });
    await this.settle();
    return calls * eventsPerCall;
  }

  async close(): Promise<void> {
    await this.log.close();
    await this.sequencer.stop();
  }

  private callerAt(index: number): Caller {
    const known = this.callers[index];
    if (known !== undefined && known.version < eventsPerStream) return known;
    return (this.callers[index] = { streamId: `task-t-${randomUUID()}`, version: 0 });
  }

  /** What is not yet numbered must not burden whoever is measured next. */
  private async settle(): Promise<void> {
    while ((await this.log.sequence()).count > 0);
  }
}
