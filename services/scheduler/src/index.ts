export { Facts } from './facts.js';
export { FleetView } from './fleet-view.js';
export { Intake, type IntakeResult } from './intake.js';
export { schedulerMetrics } from './metrics.js';
export { Reconciler } from './reconciler.js';
export { Seating } from './seating.js';
export { contentDigest } from './content-digest.js';
export { TaskManager } from './task-manager.js';
