// Hands an issue to a running Plumbline with a plain NATS client, and follows it to its verdict:
//
//   node docs/submit.mjs REPOSITORY BASE TITLE [BODY]
//
// REPOSITORY is an absolute directory or an address; BASE a branch, tag or commit. The login is that of the user `user`: NATS_URL with
// PLUMB_NATS_USER and PLUMB_NATS_PASSWORD where they are set, else what `plumb up` wrote into its run.json (readable for you alone).
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { connect } from '@nats-io/transport-node';

const [url, base, title, body = ''] = process.argv.slice(2);
if (title === undefined) {
  console.error('usage: node docs/submit.mjs REPOSITORY BASE TITLE [BODY]');
  process.exit(2);
}

const nc = await connect(login());
const id = randomUUID();
const event = {
  specversion: '1.0',
  id,
  source: 'urn:example:submit',
  type: 'dev.plumbline.task.submit.v1',
  data: { repository: { url, base }, issue: { title, body } },
};

// Listen first: what happens next may happen at once.
const log = nc.subscribe('log.>');
const refusals = nc.subscribe('plumb.intake.refused', {
  callback: (_, message) => {
    const refusal = message.string();
    if (!refusal.includes(id)) return;
    console.error(`refused: ${refusal}`);
    process.exit(2);
  },
});

// The reply comes from the stream: the submission is stored and waits for the scheduler, also while that is down.
const { error, stream, seq } = (await nc.request('plumb.intake.task.submit', JSON.stringify(event))).json();
if (error !== undefined) throw new Error(`not stored: ${error.description}`);
console.log(`stored as message ${seq} of ${stream}`);

let task;
for await (const message of log) {
  // Subjects are log.<category>.<event>.<task>; the attributes of the CloudEvent are in headers (ce-type, ce-time, …), its data is the body.
  const [, category, name, about] = message.subject.split('.');
  const type = `${category}.${name}`;
  const data = message.json();
  if (type === 'task.submitted' && data.submissionId === id) task = about;
  if (task === undefined || about !== task) continue;
  console.log(type === 'verdict.reached' ? `${type} ${data.judgement.verdict}` : type);
  if (type === 'task.closed' || type === 'escalation.opened') break;
}
refusals.unsubscribe();
await nc.close();

function login() {
  const { NATS_URL, PLUMB_NATS_USER, PLUMB_NATS_PASSWORD, PLUMB_HOME, XDG_STATE_HOME } = process.env;
  if (PLUMB_NATS_PASSWORD) return { servers: NATS_URL, user: PLUMB_NATS_USER ?? 'user', pass: PLUMB_NATS_PASSWORD };
  const home = PLUMB_HOME || join(XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'plumbline');
  const { nats } = JSON.parse(readFileSync(join(home, 'run.json'), 'utf8'));
  return { servers: nats.url, user: nats.user.name, pass: nats.user.password };
}
