export { startOtlpReceiver, type OtlpReceiver, type ReceivedSpan } from './otlp-receiver.js';
export { loadScenarios, ScenarioError, type Scenario, type ScenarioInput } from './scripted-model/scenario.js';
export { startScriptedModel, type RecordedRequest, type ScriptedModel } from './scripted-model/server.js';
