import { Controller, Inject } from '@nestjs/common';
import { IsNull, type DataSource } from 'typeorm';
import { QueueRows } from '../projections/entities.js';
import { READ_MODELS } from '../tokens.js';
import { FleetView, fleetDocument } from './fleet-view.js';
import { Handles, type Output } from './operation.js';

const queueMax = 1_000;

/** The machines, what is reserved on them, and what waits for them. */
@Controller()
export class FleetController {
  constructor(
    @Inject(FleetView) private readonly fleet: FleetView,
    @Inject(READ_MODELS) private readonly models: DataSource,
  ) {}

  @Handles('getFleet')
  async show(): Promise<Output<'getFleet'>> {
    const waiting = await this.models
      .getRepository(QueueRows)
      .find({ where: { endedPos: IsNull() }, order: { sincePos: 'ASC' }, take: queueMax });
    const queue = waiting.map(({ taskId, step, attempt, seat, tier, sinceAt }) => ({
      task: taskId,
      step,
      attempt,
      seat,
      tier,
      since: sinceAt.toISOString(),
    }));
    return fleetDocument(await this.fleet.now(), queue);
  }
}
