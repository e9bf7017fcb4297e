import type { Bus } from './connection.js';
import { isToken } from './subject.js';

/**
 * Tells whoever watches what a task is doing right now. Not stored, not confirmed; while the broker is away it is dropped, not queued.
 * @returns whether it was sent
 */
export function publishLive(bus: Bus, taskId: string, message: unknown): boolean {
  if (!isToken(taskId)) throw new RangeError(`task id ${JSON.stringify(taskId)} is no subject token`);
  if (!bus.connected || bus.nc.isClosed() || bus.nc.isDraining()) return false;
  const body = new TextEncoder().encode(JSON.stringify(message));
  if (body.length > bus.maxPayloadBytes) return false;
  bus.nc.publish(`plumb.live.${taskId}`, body);
  return true;
}
