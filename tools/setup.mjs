/**
 * Makes a bare clone ready: dependencies, Postgres, nats-server, bubblewrap, build. Needs Node 20 and nothing else; does
 * only what is missing. Exit code 0: ready; 3: ready but for a tool that could not be had (said in one sentence);
 * 1: cannot go on. Progress goes to stderr; `--quiet` leaves only what went wrong.
 */
import { mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findingOf } from '../libs/embedded/src/locate.mjs';
import { build } from './build.mjs';
import { inRoot, projectNode, readyStamp, SetupError } from './checkout.mjs';
import { installDependencies, preparePostgres } from './dependencies.mjs';
import { withLock } from './lock.mjs';
import { obtain } from './obtain.mjs';
import { createProgress } from './progress.mjs';

const TOOL_MISSING = 3;

/** Does all of it under the checkout's lock; returns one finding per piece. Throws SetupError when it cannot go on. */
export async function setUp(progress) {
  const waiting = (pid) =>
    progress.say(`  Another set-up of this checkout is running (process ${pid}); waiting for it.`);
  return withLock(inRoot('.tools', 'setup.lock'), () => prepare(progress), waiting);
}

async function prepare(progress) {
  await installDependencies(progress);
  const node = projectNode();
  const tools = {
    postgres: await preparePostgres(progress),
    'nats-server': await obtain('nats-server', progress),
    bwrap: await obtain('bwrap', progress),
  };
  await build(progress);
  writeReadyStamp(node, tools);
  return [
    { what: `node ${node.version} (${node.path})`, state: 'ok' },
    ...Object.entries(tools).map(([tool, located]) => findingOf(tool, located)),
  ];
}

/** A missing tool is left out: the launcher does not ask the network again on each start, `npm run setup` does. */
function writeReadyStamp(node, tools) {
  const lines = [`node ${node.path}`];
  for (const [tool, located] of Object.entries(tools)) {
    if ('found' in located) lines.push(located.how === 'NATS_URL' ? 'NATS_URL -' : `${tool} ${located.found}`);
  }
  mkdirSync(dirname(readyStamp), { recursive: true });
  writeFileSync(readyStamp, `${lines.join('\n')}\n`);
}

async function main(args) {
  const unknown = args.filter((arg) => arg !== '--quiet');
  if (unknown.length > 0) {
    process.stderr.write(`Unknown argument ${unknown[0]}; expected none or --quiet.\n`);
    return 1;
  }
  const progress = createProgress({ quiet: args.includes('--quiet') });
  try {
    const findings = await setUp(progress);
    const broken = findings.filter((finding) => finding.state !== 'ok');
    for (const finding of broken) process.stderr.write(`${finding.what} ${finding.mend}\n`);
    return broken.length === 0 ? 0 : TOOL_MISSING;
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`${error.output.trim().split('\n').slice(-40).join('\n')}\n${error.message}\n`);
    return 1;
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.exitCode = await main(process.argv.slice(2));
}
