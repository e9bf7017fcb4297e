import { serviceNames, type ServiceName } from '@plumbline/domain';
import { DURABLES, type Durable } from './topology.js';

/** Everyone who may connect: the services, plus `user` (submitters, the command line) and `operator` (dead letters). */
export type IdentityName = ServiceName | 'user' | 'operator';

/**
 * One NATS user. Whatever is not listed is denied.
 *
 * Permissions alone do not hold the reply subject: the broker itself answers JetStream requests wherever the requester said, so
 * whoever may publish to a stream could have the confirmation stored in LOG. Clients therefore live in an account of their own,
 * where the broker replaces their reply subjects.
 */
export interface Identity {
  readonly name: IdentityName;
  readonly account: 'services' | 'clients';
  /** Passed to the client as `inboxPrefix`; replies and pulled messages arrive below it. */
  readonly inboxPrefix: string;
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

/** The inbox prefix of an identity: no identity can listen on another one's replies. */
export function inboxPrefixOf(name: IdentityName): string {
  return `_INBOX_${name}`;
}

/**
 * What a client needs to pull from one durable and settle what it got, and nothing else: no creation, no deletion. The second
 * acknowledgement form (domain and account hash first) is the default from nats-server 2.15.
 */
function pullPermissions(durable: Durable): string[] {
  const name = `${durable.stream}.${durable.durable}`;
  return [
    `$JS.API.CONSUMER.INFO.${name}`,
    `$JS.API.CONSUMER.MSG.NEXT.${name}`,
    `$JS.ACK.${name}.>`,
    `$JS.ACK.*.*.${name}.>`,
  ];
}

/** The doors of the ledger that are open to a service: its own token and no other. */
function ledgerDoors(service: ServiceName): string[] {
  return [`plumb.ledger.append.${service}`, `plumb.ledger.lease.${service}`, `plumb.ledger.read.${service}`];
}

function durablesOf(service: ServiceName): readonly Durable[] {
  return DURABLES.filter((durable) => durable.service === service);
}

/** A service that consumes steps or intake: its doors, its durables, its dead letters, live progress of any task. */
function worker(service: ServiceName, extra: { publish?: string[]; subscribe?: string[] } = {}): Identity {
  const inboxPrefix = inboxPrefixOf(service);
  return {
    name: service,
    account: 'services',
    inboxPrefix,
    publish: [
      ...ledgerDoors(service),
      'plumb.live.>',
      `plumb.dead.${service}`,
      ...durablesOf(service).flatMap(pullPermissions),
      ...(extra.publish ?? []),
    ],
    subscribe: [`${inboxPrefix}.>`, ...(extra.subscribe ?? [])],
  };
}

/** Where answers to the clients' account go; the broker refuses messages that name such a reply subject themselves. */
const CLIENT_REPLIES = '_R_.>';

const ledger: Identity = {
  name: 'ledger',
  account: 'services',
  inboxPrefix: inboxPrefixOf('ledger'),
  publish: [
    'log.>',
    'plumb.redo.>',
    'plumb.live.>',
    'plumb.notify.>',
    '$JS.API.>',
    // Replies by name, not `allow_responses`: that would let a requester choose any subject for the ledger to write to.
    ...serviceNames.map((service) => `${inboxPrefixOf(service)}.>`),
    CLIENT_REPLIES,
  ],
  subscribe: [
    `${inboxPrefixOf('ledger')}.>`,
    'plumb.ledger.append.*',
    'plumb.ledger.lease.*',
    'plumb.ledger.read.*',
    'plumb.request.ledger.>',
  ],
};

const scheduler = worker('scheduler', {
  publish: ['plumb.intake.refused', CLIENT_REPLIES],
  subscribe: ['plumb.request.task.>'],
});

/** No durables and no task of its own: a machine reports to the ledger and asks it what to run. */
const nodeAgent: Identity = {
  name: 'node-agent',
  account: 'services',
  inboxPrefix: inboxPrefixOf('node-agent'),
  publish: ledgerDoors('node-agent'),
  subscribe: [`${inboxPrefixOf('node-agent')}.>`],
};

const CLIENT_PUBLISH = [
  'plumb.intake.task.submit',
  'plumb.intake.task.cancel',
  'plumb.intake.task.rule',
  'plumb.request.task.submit',
  'plumb.request.task.cancel',
  'plumb.request.task.rule',
  'plumb.request.task.retry',
];
/** `_INBOX` is the prefix of every NATS client that was not told otherwise. */
const CLIENT_SUBSCRIBE = ['_INBOX.>', 'plumb.intake.refused', 'log.>', 'plumb.live.>', 'plumb.notify.>'];

const user: Identity = {
  name: 'user',
  account: 'clients',
  inboxPrefix: inboxPrefixOf('user'),
  publish: CLIENT_PUBLISH,
  subscribe: [`${inboxPrefixOf('user')}.>`, ...CLIENT_SUBSCRIBE],
};

const operator: Identity = {
  name: 'operator',
  account: 'clients',
  inboxPrefix: inboxPrefixOf('operator'),
  publish: [...CLIENT_PUBLISH, 'plumb.request.ledger.>'],
  subscribe: [`${inboxPrefixOf('operator')}.>`, ...CLIENT_SUBSCRIBE],
};

/** Every identity with what it may publish and subscribe; the broker's configuration is made of this table alone. */
export const IDENTITIES: readonly Identity[] = [
  ledger,
  scheduler,
  worker('coder'),
  worker('gate'),
  worker('reviewer'),
  nodeAgent,
  worker('code-host'),
  user,
  operator,
];
