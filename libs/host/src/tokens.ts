/**
 * What libs/host provides to every module of a service, by token. Always injected by name (`@Inject(LOG)`): the types that TypeScript emits
 * for constructors vanish for interfaces and type-only imports.
 */

/** The service's own configuration, as its schema parsed it. */
export const SERVICE_CONFIG = Symbol('SERVICE_CONFIG');
/** `HostConfig`: instance, lease holder, addresses. */
export const HOST_CONFIG = Symbol('HOST_CONFIG');
/** `Log` */
export const LOG = Symbol('LOG');
/** `Metrics` */
export const METRICS = Symbol('METRICS');
/** `Bus`, connected */
export const BUS = Symbol('BUS');
/** `Health`: register readiness indicators. */
export const HEALTH = Symbol('HEALTH');
/** `Drains`: register work to be drained before the service leaves. */
export const DRAINS = Symbol('DRAINS');
