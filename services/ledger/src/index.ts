export { AppendDoor } from './door/append-door.js';
export { LeaseDoor } from './door/lease-door.js';
export { ReadDoor } from './door/read-door.js';
export { ledgerMetrics } from './metrics.js';
export { Relay } from './relay/relay.js';
