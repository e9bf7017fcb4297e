export { AppendDoor } from './door/append-door.js';
export { LeaseDoor } from './door/lease-door.js';
export { ReadDoor } from './door/read-door.js';
export { Notifier, type NoticeOutcome, type NotifierOptions } from './notify/notifier.js';
export { ledgerMetrics } from './metrics.js';
export { Relay } from './relay/relay.js';
