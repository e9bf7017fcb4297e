/**
 * Loaded first in every process that runs a test file, before any judged code.
 *
 * node:test lets such a process end by itself and takes exit status 0 for the success of whatever had not run yet, so an explicit exit with
 * 0 becomes a failure here, and no other program may take its place. What decides whether a test passes, assertions and node:test itself,
 * is frozen: code that a test imports could otherwise replace it for that test. Processes and threads that a test starts are not its own:
 * they may do as they like.
 */
import assert from 'node:assert';
import { createRequire, Module } from 'node:module';
import process from 'node:process';
import { isMainThread } from 'node:worker_threads';

const endedEarly = 97;

function fixed(object, name, value) {
  Object.defineProperty(object, name, { value, writable: false, configurable: false });
}

/** Functions with functions on them, such as `assert.strict.equal` and `test.describe.skip`. Values behind getters are made when asked for. */
function freezeFunctions(root) {
  const waiting = [root];
  const seen = new Set();
  for (let it = waiting.pop(); it !== undefined; it = waiting.pop()) {
    if (seen.has(it)) continue;
    seen.add(it);
    Object.freeze(it);
    for (const { value } of Object.values(Object.getOwnPropertyDescriptors(it)))
      if (typeof value === 'function' || (value !== null && typeof value === 'object' && value === it.prototype))
        waiting.push(value);
  }
}

if (isMainThread) {
  const exit = process.reallyExit.bind(process);
  fixed(process, 'reallyExit', (status) => exit(status ? status : endedEarly));
  if (process.execve !== undefined) fixed(process, 'execve', () => exit(endedEarly));
  // What a test forks would inherit these options, and this guard with them.
  process.execArgv.splice(process.execArgv.indexOf('--import'), 2);

  const require = createRequire(import.meta.url);
  const nodeTest = require('node:test');
  const assertions = nodeTest.assert;
  const register = assertions?.register;
  if (register !== undefined)
    fixed(assertions, 'register', (name, fn) => {
      if (Object.hasOwn(assert, name)) throw new TypeError(`${String(name)} is an assertion of Node.js already`);
      return register(name, fn);
    });
  freezeFunctions(assert);
  freezeFunctions(nodeTest);

  // What `require` answers for these is settled before any hook that judged code puts in its way; for everything else the hook is called.
  const genuine = new Map(
    ['assert', 'node:assert', 'assert/strict', 'node:assert/strict', 'node:test'].map((id) => [id, require(id)]),
  );
  for (const [owner, name] of [
    [Module, '_load'],
    [Module.prototype, 'require'],
  ]) {
    const settled = (load) =>
      function (request, ...rest) {
        return genuine.get(request) ?? Reflect.apply(load, this, [request, ...rest]);
      };
    let load = settled(owner[name]);
    Object.defineProperty(owner, name, { get: () => load, set: (hook) => (load = settled(hook)), configurable: false });
  }
}
