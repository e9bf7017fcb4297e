import {
  evolveFleet,
  fleetStream,
  initialFleet,
  nodeStream,
  type FleetState,
  type RecordedEvent,
} from '@plumbline/domain';
import type { LedgerClient } from '@plumbline/bus';

/**
 * The fleet as the log knows it, kept by reading on from what was read before. It may be behind; admission is safe all the same, because a
 * grant is appended with the version of the grants it was decided on.
 */
export class FleetView {
  private fleet: FleetState = initialFleet;
  /** The last event read of each stream. */
  private readonly read = new Map<string, Pick<RecordedEvent, 'version' | 'eventId' | 'at'>>();
  private refreshing: Promise<FleetState> | undefined;

  /** How often the log was found to be another one than before: what was known of a task at a version then says nothing about it now. */
  restores = 0;

  constructor(private readonly ledger: LedgerClient) {}

  get state(): FleetState {
    return this.fleet;
  }

  /** Reads every new event of nodes and grants. Calls at once share one reading, which starts after the call. */
  async refresh(): Promise<FleetState> {
    if (this.refreshing !== undefined) await this.refreshing.catch(() => undefined);
    this.refreshing ??= this.readOn().finally(() => (this.refreshing = undefined));
    return this.refreshing;
  }

  private async readOn(): Promise<FleetState> {
    for (const stream of await this.ledger.streams('node')) await this.readStream(stream);
    await this.readStream(fleetStream);
    return this.fleet;
  }

  /** Reads the new grants and releases. */
  async refreshGrants(): Promise<void> {
    await this.readStream(fleetStream);
  }

  /** Reads one node's new events. */
  async refreshNode(node: string): Promise<void> {
    await this.readStream(nodeStream(node));
  }

  /** Reads on from the last event known, that one included: a log that was restored from a backup has another in its place, or none. */
  private async readStream(streamId: string): Promise<void> {
    const last = this.read.get(streamId);
    const { events } = await this.ledger.readStream(streamId, undefined, last?.version ?? 1);
    if (last !== undefined && (events[0]?.eventId !== last.eventId || events[0].at !== last.at))
      return this.forget(last);
    for (const event of events) {
      // Two readings at once may bring the same event; each version counts once.
      if (event.version !== (this.read.get(streamId)?.version ?? 0) + 1) continue;
      this.fleet = evolveFleet(this.fleet, event);
      this.read.set(streamId, event);
    }
  }

  /** What was read is not the log's any more: everything is read anew, unless another reading found that out before. */
  private async forget(last: unknown): Promise<void> {
    if (![...this.read.values()].includes(last as RecordedEvent)) return;
    this.read.clear();
    this.restores += 1;
    this.fleet = initialFleet;
    await this.readOn();
  }
}
