/**
 * `npm run bench -- …` and `npm run faults -- …`: makes the checkout ready, then runs the program of that room under the project's
 * own Node. All that is said while getting ready goes to stderr, so that `npm run -s bench -- append --json` prints one document.
 */
import { spawn } from 'node:child_process';
import { inRoot, projectEnv, projectNode, root, SetupError } from './checkout.mjs';
import { createProgress } from './progress.mjs';
import { setUp } from './setup.mjs';

const PROGRAMS = { bench: ['bench', 'dist', 'main.js'], faults: ['sim', 'dist', 'faults', 'main.js'] };
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

async function main([name, ...args]) {
  const program = PROGRAMS[name];
  if (program === undefined) {
    process.stderr.write(`Unknown program ${name}; expected ${Object.keys(PROGRAMS).join(' or ')}.\n`);
    return 2;
  }
  try {
    await setUp(createProgress({ quiet: true }));
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`${error.output}\n${error.message}\n`);
    return 1;
  }
  const node = projectNode();
  const child = spawn(node.path, [inRoot(...program), ...args], { cwd: root, env: projectEnv(node), stdio: 'inherit' });
  // The program cleans up after itself; this one only waits for it.
  for (const signal of SIGNALS) process.on(signal, () => child.kill(signal));
  return new Promise((resolve) => child.on('close', (code, signal) => resolve(signal === null ? code : 130)));
}

process.exitCode = await main(process.argv.slice(2));
