import { BusError } from './errors.js';
import type { Identity, IdentityName } from './identities.js';
import { MAX_PAYLOAD_BYTES } from './topology.js';

/** What a broker configuration is made of; `storeDir`, `monitorPort`, `tls` and `syncAlways` may be left out. */
export interface NatsConfigOptions {
  readonly identities: readonly Identity[];
  /** One password per identity in `identities`: 8–128 printable ASCII characters, no two alike. */
  readonly passwords: Readonly<Partial<Record<IdentityName, string>>>;
  readonly host: string;
  readonly port: number;
  /** Where JetStream keeps its files; absent when the server is told on its command line. */
  readonly storeDir?: string;
  /** HTTP monitoring on the same host; none if absent. */
  readonly monitorPort?: number;
  readonly tls?: { readonly certFile: string; readonly keyFile: string; readonly caFile?: string };
  /** Flush every message to disk before acknowledging it. Needs nats-server 2.10; older ones refuse to start. */
  readonly syncAlways?: boolean;
}

/**
 * The configuration text of a nats-server (2.9.10 or newer) that knows exactly these identities and denies everything that
 * they do not list. Throws BusError `invalid-config` naming every value that cannot be used; passwords are never quoted in it.
 */
export function natsConfig(options: NatsConfigOptions): string {
  const problems = [...problemsOfPasswords(options), ...problemsOfSettings(options)];
  if (problems.length > 0) {
    throw new BusError('invalid-config', `the broker cannot be configured: ${problems.join('; ')}`, {
      retry: 'never',
      mend: 'correct the named settings',
      evidence: { problems },
    });
  }
  return [
    `host: ${quote(options.host)}`,
    `port: ${options.port}`,
    ...(options.monitorPort === undefined ? [] : [`http: ${quote(`${options.host}:${options.monitorPort}`)}`]),
    `max_payload: ${MAX_PAYLOAD_BYTES}`,
    `jetstream {`,
    ...(options.storeDir === undefined ? [] : [`  store_dir: ${quote(options.storeDir)}`]),
    ...(options.syncAlways === true ? ['  sync_interval: always'] : []),
    `}`,
    ...tlsBlock(options.tls),
    `accounts {`,
    ...accountBlock(options, 'services'),
    ...accountBlock(options, 'clients'),
    `}`,
    '',
  ].join('\n');
}

const ACCOUNT_NAMES = { services: 'SERVICES', clients: 'CLIENTS' } as const;

/** What clients may send goes over as a service, what they may hear as a stream; nothing else passes between the accounts. */
function accountBlock({ identities, passwords }: NatsConfigOptions, account: Identity['account']): string[] {
  const members = identities.filter((identity) => identity.account === account);
  const clients = identities.filter((identity) => identity.account === 'clients');
  const sent = new Set(clients.flatMap(({ publish }) => publish));
  const heard = new Set(
    clients.flatMap(({ subscribe }) => subscribe.filter((subject) => !subject.startsWith('_INBOX'))),
  );
  const passages = [
    ...[...sent].map((subject) => ['service', subject] as const),
    ...[...heard].map((subject) => ['stream', subject] as const),
  ];
  const bridge =
    account === 'services'
      ? passages.map(([kind, subject]) => `      { ${kind}: ${quote(subject)}, accounts: [${ACCOUNT_NAMES.clients}] }`)
      : passages.map(
          ([kind, subject]) => `      { ${kind}: { account: ${ACCOUNT_NAMES.services}, subject: ${quote(subject)} } }`,
        );
  return [
    `  ${ACCOUNT_NAMES[account]} {`,
    ...(account === 'services' ? ['    jetstream: enabled'] : []),
    `    users: [`,
    ...members.flatMap((identity) => userBlock(identity, passwords[identity.name] ?? '')),
    `    ]`,
    `    ${account === 'services' ? 'exports' : 'imports'}: [`,
    ...bridge,
    `    ]`,
    `  }`,
  ];
}

function userBlock(identity: Identity, password: string): string[] {
  return [
    `      {`,
    `        user: ${quote(identity.name)}`,
    `        password: ${quote(password)}`,
    `        permissions: {`,
    `          publish: { allow: [${identity.publish.map(quote).join(', ')}] }`,
    `          subscribe: { allow: [${identity.subscribe.map(quote).join(', ')}] }`,
    `        }`,
    `      }`,
  ];
}

function tlsBlock(tls: NatsConfigOptions['tls']): string[] {
  if (!tls) return [];
  const ca = tls.caFile === undefined ? [] : [`  ca_file: ${quote(tls.caFile)}`, `  verify: true`];
  return [`tls {`, `  cert_file: ${quote(tls.certFile)}`, `  key_file: ${quote(tls.keyFile)}`, ...ca, `}`];
}

/** Values reach this only after `problemsOf…` found nothing that would need escaping. */
function quote(value: string): string {
  return `"${value}"`;
}

/** Printable ASCII without the characters the configuration lexer gives a meaning inside double quotes. */
const QUOTABLE = /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/;

function problemsOfPasswords({ identities, passwords }: NatsConfigOptions): string[] {
  const problems: string[] = [];
  const owners = new Map<string, string>();
  for (const { name } of identities) {
    const password = passwords[name];
    if (password === undefined) problems.push(`no password for ${name}`);
    else if (password.length < 8 || password.length > 128) {
      problems.push(`password of ${name}: expected 8 to 128 characters, found ${password.length}`);
    } else if (!QUOTABLE.test(password) || password.includes(' ')) {
      problems.push(`password of ${name}: expected printable ASCII without space, double quote and backslash`);
    } else if (password.startsWith('$2')) {
      problems.push(`password of ${name}: must not start with "$2", the server would take it for a bcrypt hash`);
    } else if (owners.has(password)) {
      problems.push(`password of ${name}: the same as that of ${owners.get(password)}, so neither is protected`);
    } else owners.set(password, name);
  }
  return problems;
}

const TOKENS = /^[A-Za-z0-9_$*>.-]+$/;

function problemsOfSettings(options: NatsConfigOptions): string[] {
  const problems: string[] = [];
  const port = (what: string, value: number): void => {
    if (!Number.isInteger(value) || value < 1 || value > 65_535) problems.push(`${what}: expected 1 to 65535`);
  };
  port('port', options.port);
  if (options.monitorPort !== undefined) port('monitorPort', options.monitorPort);
  const { host, storeDir, tls } = options;
  const texts = { host, ...(storeDir === undefined ? {} : { storeDir }), ...(tls ?? {}) };
  for (const [what, value] of Object.entries(texts)) {
    if (!QUOTABLE.test(value)) problems.push(`${what}: expected printable ASCII without double quote and backslash`);
  }
  const names = new Set<string>();
  for (const identity of options.identities) {
    if (names.has(identity.name)) problems.push(`identity ${identity.name}: listed twice`);
    names.add(identity.name);
    // An empty allow list would allow everything.
    if (identity.publish.length === 0) problems.push(`identity ${identity.name}: no publish permission at all`);
    if (identity.subscribe.length === 0) problems.push(`identity ${identity.name}: no subscribe permission at all`);
    for (const subject of [identity.name, ...identity.publish, ...identity.subscribe]) {
      if (!TOKENS.test(subject)) problems.push(`identity ${identity.name}: ${JSON.stringify(subject)} is no subject`);
    }
  }
  if (options.identities.length === 0) problems.push('no identities: the broker would let anybody in');
  return problems;
}
