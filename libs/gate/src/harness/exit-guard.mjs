/**
 * Loaded first in every process that runs a test file. node:test lets such a process end by itself and takes exit status 0 for the success
 * of whatever had not run yet, so an explicit exit with 0 becomes a failure here. The property cannot be put back. Processes and threads that
 * a test starts are not its own: they may exit as they like.
 */
import process from 'node:process';
import { isMainThread } from 'node:worker_threads';

const endedEarly = 97;
if (isMainThread) {
  const exit = process.reallyExit.bind(process);
  Object.defineProperty(process, 'reallyExit', {
    value: (status) => exit(status ? status : endedEarly),
    writable: false,
    configurable: false,
  });
  // What a test forks would inherit these options, and this guard with them.
  process.execArgv.splice(process.execArgv.indexOf('--import'), 2);
}
