import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { serviceNames } from '@plumbline/domain';
import { describe, expect, it } from 'vitest';
import * as rules from './compose-rules.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const exists = (path: string): boolean => existsSync(join(ROOT, path));
const text = read('docker-compose.yml');
const seccomp = (): any => JSON.parse(read('deploy/seccomp/sandbox.json'));
const onPages = new Set(
  ['docs/configuration.md', 'docs/compose.md']
    .flatMap((page) => read(page).split('\n'))
    .filter((row) => row.startsWith('| '))
    .flatMap((row) => row.split(' | ')[0]?.match(/\b[A-Z]+(?:_[A-Z]+)+\b/g) ?? []),
);
const dockerfileImages = [...read('deploy/image/Dockerfile').matchAll(/^ARG \w+_IMAGE=(\S+)$/gm)].map(
  ([, image]) => image,
);

/** The complaints of all rules about a file. */
function complaints(compose: any): string[] {
  return [
    ...rules.contained(compose),
    ...rules.loosened(compose),
    ...rules.lifecycle(compose),
    ...rules.published(compose),
    ...rules.reach(compose),
    ...rules.secrets(compose, serviceNames),
    ...rules.mounted(compose, exists),
    ...rules.pinned(Object.values<any>(compose.services).map(({ image }) => image)),
    ...rules.known(compose, onPages),
  ];
}

describe('docker-compose.yml', () => {
  it('keeps what docs/compose.md promises', () => {
    expect(complaints(rules.readCompose(text))).toEqual([]);
  });

  it('has a container for every service, with what it is started by', () => {
    const { services } = rules.readCompose(text);
    const started = serviceNames.map((name) => services[name].command);
    expect(started).toEqual(serviceNames.map((name) => [`/app/services/${name}/dist/main.js`]));
    for (const name of serviceNames) expect(exists(`services/${name}/src/main.ts`)).toBe(true);
  });

  it('takes no variable from its surroundings that no page explains', () => {
    const variables = [text, read('deploy/compose.local-repositories.yml')].flatMap(rules.variablesIn);
    expect(variables.filter((name) => !onPages.has(name))).toEqual([]);
    expect(variables.length).toBeGreaterThan(10);
  });

  it('is built on one exact version of Node, that of .nvmrc', () => {
    expect(dockerfileImages).toEqual([`node:${read('.nvmrc').trim()}-bookworm-slim`]);
    expect(rules.pinned(dockerfileImages)).toEqual([]);
    expect(read('deploy/image/Dockerfile').match(/^FROM (?!\$\{NODE_IMAGE\}|service\b|built\b).*$/gm)).toBeNull();
  });

  it('and the list of system calls allow nothing that leads out', () => {
    expect(rules.seccompProfile(seccomp())).toEqual([]);
  });

  it('comes with a list of local repositories that changes nothing else', () => {
    const { services } = rules.readCompose(read('deploy/compose.local-repositories.yml'));
    expect(Object.keys(services)).toEqual(['scheduler', 'code-host', 'plumb']);
    expect(services.plumb.volumes.every((mount: string) => mount.endsWith(':ro'))).toBe(true);
  });
});

describe('a docker-compose.yml is refused', () => {
  const network = (options: Record<string, string>): unknown => ({ driver_opts: options });
  it.each<[string, (compose: any) => void, string]>([
    [
      'with a container of root',
      ({ services }) => (services.nats.user = '0:0'),
      'nats: expected that it runs as a fixed user',
    ],
    ['without a user', ({ services }) => delete services.gate.user, 'gate: expected that it runs as a fixed user'],
    ['with a writable file system', ({ services }) => (services.ledger.read_only = false), 'read-only'],
    ['with capabilities', ({ services }) => (services.gate.cap_add = ['SYS_ADMIN']), 'adds none'],
    ['with capabilities kept', ({ services }) => delete services.jaeger.cap_drop, 'drops all capabilities'],
    ['with privileges to gain', ({ services }) => (services.scheduler.security_opt = []), 'gains no privileges'],
    ['with a privileged container', ({ services }) => (services.gate.privileged = true), 'is not privileged'],
    ["with the host's network", ({ services }) => (services.nats.network_mode = 'host'), 'shares no namespace'],
    [
      "with the engine's socket",
      ({ services }) => services.gate.volumes.push('/var/run/docker.sock:/s'),
      "engine's socket",
    ],
    ['without a limit of memory', ({ services }) => delete services.coder.mem_limit, 'limited in memory'],
    ['without a limit of processes', ({ services }) => delete services.coder.pids_limit, 'limited in memory'],
    ['with an endless log', ({ services }) => (services.nats.logging = {}), 'rotates its log'],
    ['with a loosened ledger', ({ services }) => services.ledger.security_opt.push('systempaths=unconfined'), 'alone'],
    [
      'with an unfiltered gate',
      ({ services }) => (services.gate.security_opt = ['no-new-privileges:true', 'seccomp=unconfined']),
      'profile of ours',
    ],
    ['without a health check', ({ services }) => delete services.nats.healthcheck, 'has a health check'],
    ['that gives up', ({ services }) => (services.ledger.restart = 'on-failure'), 'is started again'],
    ['that kills early', ({ services }) => (services.coder.stop_grace_period = '10s'), 'more than 30 s'],
    [
      'that starts blindly',
      ({ services }) => (services.gate.depends_on = { ledger: { condition: 'service_started' } }),
      'waits',
    ],
    ['open to the network', ({ services }) => (services.nats.ports = ['4222:4222']), 'not on loopback'],
    ['open to all addresses', ({ services }) => (services.ledger.ports = ['0.0.0.0:7411:8080']), 'not on loopback'],
    [
      'with a shared door',
      ({ services }) => (services.ledger.networks = ['back', 'data', 'telemetry', 'door-nats']),
      'door-ledger',
    ],
    ['with a worker at the database', ({ services }) => services.gate.networks.push('data'), 'data: expected ledger'],
    ['with a gate at the models', ({ services }) => services.gate.networks.push('models'), 'models: expected coder'],
    [
      'with a coder in the internet',
      ({ services }) => services.coder.networks.push('repositories'),
      'repositories: expected code-host',
    ],
    ['with two ways out', ({ services }) => services.ledger.networks.push('models'), 'would share one way out'],
    ['with a way out of back', ({ networks }) => (networks.back = {}), 'back: expected no way out'],
    ['with a way to this machine', ({ networks }) => (networks.data = { internal: true }), 'data: expected no way out'],
    ['with answers to models', ({ networks }) => (networks.models = network({})), 'models: expected no answers'],
    [
      "with another's secrets",
      ({ services }) => services.gate.volumes.push('secrets-ledger:/x:ro'),
      'secrets-ledger is not its own',
    ],
    [
      'with writable secrets',
      ({ services }) => (services.gate.volumes = ['secrets-gate:/run/secrets']),
      'not its own to read',
    ],
    ['without secrets', ({ services }) => (services.gate.volumes = []), 'gate: expected its own secrets'],
    [
      "with another's identity",
      ({ services }) => (services.gate.environment.PLUMB_NATS_USER = 'ledger'),
      'its own identity',
    ],
    [
      "with the ledger's rights",
      ({ services }) => (services.gate.environment.PLUMB_DATABASE_URL_FILE = '/x'),
      "the ledger's",
    ],
    [
      'with a password in it',
      ({ services }) => (services.grafana.environment.GF_SECURITY_ADMIN_PASSWORD = 'admin'),
      'stands in the file',
    ],
    [
      'with a password in a URL',
      ({ services }) => (services.gate.environment.PLUMB_NATS_URL = 'nats://a:b@nats'),
      'holds a password',
    ],
    ['without a service', ({ services }) => delete services.reviewer, 'reviewer: the service is missing'],
    [
      'that makes secrets in public',
      ({ services }) => (services.prepare.network_mode = 'bridge'),
      'must have no network',
    ],
    [
      'with a file that is not there',
      ({ services }) => services.nats.volumes.push('./deploy/none:/x'),
      './deploy/none does not exist',
    ],
    ['with a secret nobody makes', ({ services }) => services.prepare.volumes.shift(), 'prepare does not fill it'],
    ['with a volume for nobody', ({ volumes }) => (volumes['left-over'] = null), 'left-over: nobody uses it'],
    ['with whatever is newest', ({ services }) => (services.nats.image = 'nats:latest'), 'one exact version'],
    [
      'with whatever is newest of a line',
      ({ services }) => (services.postgres.image = 'postgres:18'),
      'one exact version',
    ],
    [
      'with a variable nobody reads',
      ({ services }) => (services.gate.environment.PLUMB_SPEED = 'fast'),
      'PLUMB_SPEED is not in',
    ],
  ])('%s', (_what, change, complaint) => {
    const compose = rules.readCompose(text);
    change(compose);
    expect(complaints(compose).join('\n')).toContain(complaint);
  });

  it.each<[string, (profile: any) => void, string]>([
    ['that allows what it does not list', (profile) => (profile.defaultAction = 'SCMP_ACT_ALLOW'), 'must be refused'],
    ['that allows joining namespaces', ({ syscalls }) => syscalls[0].names.push('setns'), 'setns must not be allowed'],
    ['that allows all sockets', ({ syscalls }) => syscalls[0].names.push('socket'), 'socket is listed twice'],
    [
      'that allows all of netlink',
      ({ syscalls }) => {
        const netlink = syscalls.find(({ comment = '' }: { comment?: string }) => comment.includes('AF_NETLINK'));
        netlink.args = netlink.args.slice(0, 1);
      },
      'of netlink only routing',
    ],
  ])('for a list of system calls %s', (_what, change, complaint) => {
    const profile = seccomp();
    change(profile);
    expect(rules.seccompProfile(profile).join('\n')).toContain(complaint);
  });
});
