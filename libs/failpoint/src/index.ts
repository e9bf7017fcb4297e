export { failpointNames, type FailpointName } from './catalogue.js';
export { armFailpoints, failpoint, parseFailpoints, type ArmedFailpoint, type FailpointAction } from './failpoint.js';
