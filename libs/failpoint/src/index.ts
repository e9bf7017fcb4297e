export { failpointNames, type FailpointName } from './catalogue.js';
export {
  armFailpoints,
  failpoint,
  isArmed,
  parseFailpoints,
  type ArmedFailpoint,
  type FailpointAction,
} from './failpoint.js';
