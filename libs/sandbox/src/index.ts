export { openSandbox, type SandboxChoice } from './open-sandbox.js';
export { nodeToolchain, type Toolchain } from './node-toolchain.js';
export {
  SandboxUnavailableError,
  type Fault,
  type Limits,
  type Mount,
  type RunResult,
  type RunSpec,
  type Sandbox,
} from './sandbox.js';
