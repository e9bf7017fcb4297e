export { startOtlpReceiver, type OtlpReceiver, type ReceivedSpan } from './otlp-receiver.js';
export {
  loadScenarios,
  parseScenarios,
  ScenarioError,
  type Scenario,
  type ScenarioInput,
} from './scripted-model/scenario.js';
export { startScriptedModel, type RecordedRequest, type ScriptedModel } from './scripted-model/server.js';
export { SampleOrigin } from './e2e/sample-origin.js';
export { NatsDoubler } from './servers/nats-doubler.js';
export { TcpProxy } from './servers/tcp-proxy.js';
export { startTestNats, type TestNats } from './servers/test-nats.js';
export { startTestPostgres, type TestDatabase, type TestPostgres } from './servers/test-postgres.js';
export {
  changeProposed,
  changePublished,
  exampleIssue,
  exampleSubmission,
  gateConcluded,
  reviewConcluded,
  snapshotTaken,
} from './system/evidence.js';
export { Crew } from './system/crew.js';
export { LogWatch } from './system/log-watch.js';
export {
  ServiceChild,
  type FailpointHit,
  type LogLine,
  type ServiceChildOptions,
  type ServiceExit,
} from './system/service-child.js';
export { exampleModel, registerNode, StepDouble, type Play, type WorkerName } from './system/step-double.js';
export {
  startTestSystem,
  TestSystem,
  type ApiAnswer,
  type ProcessPlace,
  type ServiceProcessName,
  type TestSystemOptions,
} from './system/test-system.js';
