import { evolveFleet, fleetStream, initialFleet, nodeStream, type FleetState } from '@plumbline/domain';
import type { LedgerClient } from '@plumbline/bus';

/**
 * The fleet as the log knows it, kept by reading on from what was read before. It may be behind; admission is safe all the same, because a
 * grant is appended with the version of the grants it was decided on.
 */
export class FleetView {
  private fleet: FleetState = initialFleet;
  private readonly read = new Map<string, number>();
  private refreshing: Promise<FleetState> | undefined;

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

  private async readStream(streamId: string): Promise<void> {
    const from = (this.read.get(streamId) ?? 0) + 1;
    const { events } = await this.ledger.readStream(streamId, undefined, from);
    for (const event of events) {
      // Two readings at once may bring the same event; each version counts once.
      if (event.version !== (this.read.get(streamId) ?? 0) + 1) continue;
      this.fleet = evolveFleet(this.fleet, event);
      this.read.set(streamId, event.version);
    }
  }
}
