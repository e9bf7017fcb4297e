/**
 * Makes what the containers need to trust each other, once: passwords, tokens, and the broker's configuration. Every service has a folder
 * of its own, on a volume that no other service mounts. Run again it keeps what is there, makes what is missing, and writes the broker's
 * configuration anew from the passwords it finds, so that a new version's permissions take effect.
 *
 *   prepare-secrets.mjs                make what is missing
 *   prepare-secrets.mjs put NAME       store what is read from standard input: git-token, git-ssh-key, ssh-known-hosts or webhooks
 */
import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { IDENTITIES, natsConfig } from '@plumbline/bus';

/** The group may read: containers of other images run as users of their own and are members of it. */
const MODE = 0o440;
/** SSH refuses keys that a group may read. */
const GIVEN_MODE = 0o400;
const DATABASE = 'plumbline';
const ADMIN_ROLE = 'plumb_admin';
const LEDGER_ROLE = 'plumb_ledger';
/** Services that fetch and store artifacts over the ledger's HTTP API. */
const API_CLIENTS = ['code-host', 'coder', 'gate', 'reviewer'];
const PUT_BYTES_MAX = 65_536;

/** What can be stored by hand, each with the service that gets it; empty until then. */
export const given = {
  'git-token': 'code-host',
  'git-ssh-key': 'code-host',
  'ssh-known-hosts': 'code-host',
  webhooks: 'ledger',
};

/** Makes everything that is missing below `root`, which has one folder for each service. Returns the files it wrote, without contents. */
export function prepareSecrets(root) {
  const written = [];
  const file = (owner, name) => join(root, owner, name);
  const put = (owner, name, text) => {
    if (readIfThere(file(owner, name)) === text) return;
    writeWhole(file(owner, name), text, MODE);
    written.push(`${owner}/${name}`);
  };
  /** The secret in the first of these files that has one, else a new one; written to all of them. */
  const agree = (...places) => {
    const known = places.map((place) => readIfThere(file(...place))).find((text) => (text ?? '') !== '');
    const secret = known ?? newSecret();
    for (const place of places) put(...place, secret);
    return secret;
  };

  const people = { user: ['operator', 'nats-user-password'], operator: ['operator', 'nats-password'] };
  const passwords = Object.fromEntries(
    IDENTITIES.map(({ name }) => [name, agree(people[name] ?? [name, 'nats-password'])]),
  );
  put('nats', 'nats.conf', brokerConfig(passwords));

  agree(['ledger', 'api-token'], ...API_CLIENTS.map((name) => [name, 'api-token']), ['operator', 'api-token']);

  const admin = agree(['postgres', 'password'], ['migrate', 'admin-password']);
  const ledger = agree(['ledger', 'database-password'], ['migrate', 'ledger-password']);
  put('migrate', 'database-admin-url', databaseUrl(ADMIN_ROLE, admin));
  put('migrate', 'database-url', databaseUrl(LEDGER_ROLE, ledger));
  put('ledger', 'database-url', databaseUrl(LEDGER_ROLE, ledger));

  agree(['grafana', 'admin-password']);
  for (const [name, owner] of Object.entries(given)) {
    if (readIfThere(file(owner, name)) === undefined) writeWhole(file(owner, name), '', GIVEN_MODE);
  }
  return written;
}

/** Monitoring answers inside the broker's own container only, for its health check: it tells who is connected. */
const brokerConfig = (passwords) =>
  `${natsConfig({ identities: IDENTITIES, passwords, host: '0.0.0.0', port: 4222, storeDir: '/data' })}http: "127.0.0.1:8222"\n`;

const databaseUrl = (role, password) => `postgres://${role}:${password}@postgres:5432/${DATABASE}`;

/** 192 bits in letters and digits only: nothing it is put into (URLs, configuration, SQL) has to escape it. */
const newSecret = () => randomBytes(24).toString('hex');

/** Stores one of `given`; what people paste ends in a line end, and a key must. */
export function putGiven(root, name, text) {
  const owner = Object.hasOwn(given, name) ? given[name] : undefined;
  if (owner === undefined) throw new Error(`there is no ${name} to put; expected ${Object.keys(given).join(', ')}`);
  if (text.length > PUT_BYTES_MAX)
    throw new Error(`${name} has ${text.length} characters; expected ${PUT_BYTES_MAX} at most`);
  writeWhole(join(root, owner, name), text, GIVEN_MODE);
}

function readIfThere(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Whole or not at all, and on the disk before it has its name: a power cut must not leave an empty password that would be replaced. */
function writeWhole(path, text, mode) {
  const temporary = `${path}.new`;
  // One that a kill left behind could not be opened for writing.
  rmSync(temporary, { force: true });
  const fd = openSync(temporary, 'wx', mode);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
}

function main([command, name]) {
  const root = '/secrets';
  process.umask(0);
  if (command === 'put') {
    putGiven(root, name, readFileSync(0, 'utf8'));
    process.stdout.write(`stored ${name} for ${given[name]}; restart it to take effect\n`);
    return;
  }
  const written = prepareSecrets(root);
  process.stdout.write(`${JSON.stringify({ msg: written.length === 0 ? 'nothing to do' : 'written', written })}\n`);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    main(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`cannot prepare the secrets: ${error.message}\n`);
    process.exitCode = 1;
  }
}
