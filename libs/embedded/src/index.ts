export { EmbeddedError, type EmbeddedErrorCode } from './embedded-error.js';
export { freePort } from './free-port.js';
export {
  embeddedPostgresFolder,
  findingOf,
  locate,
  type Finding,
  type FoundBy,
  type Located,
  type SearchPlace,
  type Tool,
} from './locate.mjs';
export { startNats, stopNats, type NatsOptions, type NatsServer } from './nats.js';
export { startPostgres, stopPostgres, type PostgresOptions, type PostgresServer } from './postgres.js';
export { type ServerExit } from './server-process.js';
