/**
 * Loaded first in every process that runs a test file. node:test lets such a process end by itself and takes exit status 0 for the success
 * of whatever had not run yet, so an explicit exit with 0 becomes a failure here. The property cannot be put back.
 */
import process from 'node:process';

const endedEarly = 97;
const exit = process.reallyExit.bind(process);
Object.defineProperty(process, 'reallyExit', {
  value: (status) => exit(status ? status : endedEarly),
  writable: false,
  configurable: false,
});
