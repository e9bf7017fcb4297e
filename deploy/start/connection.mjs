/**
 * Prints, for a shell to read, how a `plumb` outside of the containers gets into the running system; passwords included. The person who may
 * start containers is the operator. With `user`: the login of somebody who may hand in tasks and nothing more.
 */
import { readFileSync } from 'node:fs';

const read = (name) => readFileSync(`/run/secrets/${name}`, 'utf8');
const role = process.argv[2] ?? 'operator';
const passwords = { operator: 'nats-password', user: 'nats-user-password' };

if (Object.hasOwn(passwords, role)) {
  const variables = {
    PLUMB_API_URL: process.env.PLUMB_PUBLISHED_API_URL,
    PLUMB_API_TOKEN: read('api-token'),
    PLUMB_NATS_URL: process.env.PLUMB_PUBLISHED_NATS_URL,
    PLUMB_NATS_USER: role,
    PLUMB_NATS_PASSWORD: read(passwords[role]),
  };
  for (const [name, value] of Object.entries(variables)) process.stdout.write(`export ${name}='${value}'\n`);
} else {
  process.stderr.write(`there is no login ${role}; expected ${Object.keys(passwords).join(' or ')}\n`);
  process.exitCode = 2;
}
