export { diskMetrics, watchDisk } from './disk.js';
export { Drains, type Drain } from './drain.js';
export { envInteger, envJson, envUrl, type Env } from './env.js';
export { Health, type Readiness, type ReadinessIndicator, type ReadinessReport } from './health.js';
export { configure, type Configured, type HostConfig } from './host-config.js';
export { type ServiceModule } from './host-module.js';
export { createLog, stepLog, type Log } from './log.js';
export {
  Metrics,
  type CounterHandle,
  type GaugeHandle,
  type HistogramHandle,
  type MetricDefinition,
  type MetricHandles,
} from './metrics.js';
export { StartError } from './start-error.js';
export { startService, type ServiceDescription } from './start-service.js';
export { BUS, DRAINS, HEALTH, HOST_CONFIG, LOG, METRICS, SERVICE_CONFIG } from './tokens.js';
export { envList, StepHost, stepMetrics, workerConfigOf, workerEnv, type WorkerConfig } from './step-host.js';
