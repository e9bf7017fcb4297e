/** What the ledger's parts ask for by name. */
export const EVENT_LOG = Symbol('EVENT_LOG');
export const ARTIFACTS = Symbol('ARTIFACTS');
export const LEDGER_METRICS = Symbol('LEDGER_METRICS');
export const READ_MODELS = Symbol('READ_MODELS');
