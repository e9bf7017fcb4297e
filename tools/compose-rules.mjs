/** What docs/compose.md claims of docker-compose.yml, as rules. Each returns its complaints, one sentence each; none: the claim holds. */
import { parse } from 'yaml';

/** The two that run judged code, and may therefore make namespaces. */
const SANDBOXING = ['coder', 'gate'];
const MODEL_CLIENTS = ['coder', 'node-agent', 'reviewer'];
const DATABASE_CLIENTS = ['ledger', 'migrate', 'postgres'];
const SECRETS = /^secrets-/;
/** System calls that would lead out of a container or into its kernel; bubblewrap needs none of them. */
const NEVER_ALLOWED = [
  ...['setns', 'bpf', 'keyctl', 'add_key', 'request_key', 'ptrace', 'process_vm_writev', 'perf_event_open'],
  ...['io_uring_setup', 'userfaultfd', 'init_module', 'finit_module', 'kexec_load', 'open_by_handle_at', 'reboot'],
  ...['fsopen', 'fsmount', 'move_mount', 'open_tree', 'mount_setattr', 'settimeofday', 'clock_settime', 'swapon'],
];
/** Every part of leaving together (libs/host): drain, bus, HTTP, hooks, tracing. */
const LEAVING_S = 30;

/** The file as Compose sees it: variables replaced by their defaults, merge keys resolved. */
export function readCompose(text) {
  return parse(interpolate(text), { merge: true });
}

const interpolate = (text) =>
  text.replace(/\$\{(\w+)(?::([-?])([^}]*))?\}/g, (_, _name, kind, rest) => (kind === '-' ? rest : ''));

/** The names of all variables that a file takes from its surroundings. */
export const variablesIn = (text) => [...new Set([...text.matchAll(/\$\{(\w+)/g)].map(([, name]) => name))];

const services = (compose) => Object.entries(compose.services);
const lasts = (service) => service.restart !== 'no';
const listOf = (value) => (Array.isArray(value) ? value : Object.keys(value ?? {}));
const mountsOf = (service) => (service.volumes ?? []).map((mount) => String(mount).split(':'));
const secretsOf = (service) => mountsOf(service).filter(([source]) => SECRETS.test(source));

/** Every container is held as tightly as the rest: user, files, rights, memory, processes, log. */
export function contained(compose) {
  return services(compose).flatMap(([name, service]) => {
    const [uid] = String(service.user ?? '').split(':');
    const expected = [
      [/^[1-9]\d*$/.test(uid), 'runs as a fixed user that is not root'],
      [service.read_only === true, 'has a read-only file system'],
      [String(service.cap_drop) === 'ALL' && service.cap_add === undefined, 'drops all capabilities and adds none'],
      [(service.security_opt ?? []).includes('no-new-privileges:true'), 'gains no privileges'],
      [service.privileged === undefined && service.devices === undefined, 'is not privileged and has no devices'],
      [
        ![service.pid, service.ipc, service.network_mode, service.userns_mode].includes('host'),
        'shares no namespace of the host',
      ],
      [!mountsOf(service).some(([source]) => source.includes('docker.sock')), "does not hold the engine's socket"],
      [service.mem_limit !== undefined && service.pids_limit > 0, 'is limited in memory and processes'],
      [
        service.logging?.options?.['max-size'] !== undefined && service.logging.options['max-file'] !== undefined,
        'rotates its log',
      ],
    ];
    return expected.filter(([holds]) => !holds).map(([, claim]) => `${name}: expected that it ${claim}`);
  });
}

/** Only what runs judged code has the namespaces loosened, and with the shipped list of system calls. */
export function loosened(compose) {
  return services(compose).flatMap(([name, service]) => {
    const extra = (service.security_opt ?? []).filter((option) => !option.startsWith('no-new-privileges'));
    if (!SANDBOXING.includes(name))
      return extra.map((option) => `${name}: ${option} is for ${SANDBOXING.join(' and ')} alone`);
    return extra.some((option) => option.startsWith('seccomp=./'))
      ? []
      : [`${name}: expected a seccomp profile of ours`];
  });
}

/** The profile is a list of what is allowed, and does not allow what leads out. */
export function seccompProfile(profile) {
  const allowed = new Set(
    profile.syscalls.filter(({ action }) => action === 'SCMP_ACT_ALLOW').flatMap(({ names }) => names),
  );
  return [
    ...(profile.defaultAction === 'SCMP_ACT_ERRNO' ? [] : ['what is not listed must be refused']),
    ...NEVER_ALLOWED.filter((name) => allowed.has(name)).map((name) => `${name} must not be allowed`),
    // With a user namespace of its own a process would otherwise talk to the firewall and the like inside the kernel.
    ...profile.syscalls
      .filter(
        ({ names, args = [] }) =>
          names.includes('socket') && args.some(({ index, value }) => index === 0 && value === 16),
      )
      .filter(({ args }) => !args.some(({ index, value, op }) => index === 2 && value === 0 && op === 'SCMP_CMP_EQ'))
      .map(() => 'of netlink only routing must be allowed'),
    ...profile.syscalls
      .flatMap(({ names }) => names)
      .flatMap((name, at, all) => {
        const others = profile.syscalls.filter((group) => group.names.includes(name));
        return all.indexOf(name) < at && others.some(({ args }) => args === undefined)
          ? [`${name} is listed twice`]
          : [];
      }),
  ];
}

/** Containers that stay say whether they are well, come back, wait for what they need, and get the time to hand work back. */
export function lifecycle(compose) {
  return services(compose).flatMap(([name, service]) => {
    const needs = Object.entries(service.depends_on ?? {});
    const expected = [
      [!lasts(service) || Array.isArray(service.healthcheck?.test), 'has a health check'],
      [!lasts(service) || service.restart === 'unless-stopped', 'is started again'],
      [parseInt(service.stop_grace_period ?? '0', 10) > LEAVING_S, `gets more than ${LEAVING_S} s to stop`],
      [
        needs.every(([, need]) => need?.condition !== undefined && need.condition !== 'service_started'),
        'waits for what it needs to be ready',
      ],
    ];
    return expected.filter(([holds]) => !holds).map(([, claim]) => `${name}: expected that it ${claim}`);
  });
}

/** Nothing is reachable from another machine, and each published port has a network of its own. */
export function published(compose) {
  return services(compose).flatMap(([name, service]) => [
    ...(service.ports ?? [])
      .filter((port) => !/^127\.0\.0\.1:\d+:\d+$/.test(port))
      .map((port) => `${name}: port ${port} is not on loopback`),
    ...((service.ports ?? []).length > 0 && !listOf(service.networks).includes(`door-${name}`)
      ? [`${name}: expected the network door-${name}`]
      : []),
  ]);
}

const masquerades = (network) => network?.driver_opts?.['com.docker.network.bridge.enable_ip_masquerade'] !== 'false';
const hasBridgeAddress = (network) => network?.driver_opts?.['com.docker.network.bridge.inhibit_ipv4'] !== 'true';

/** Who reaches what: one network per purpose, and the internet for code-host alone. */
export function reach(compose) {
  const members = (network) =>
    services(compose)
      .flatMap(([name, service]) => (listOf(service.networks).includes(network) ? [name] : []))
      .sort();
  const only = (network, names) =>
    String(members(network)) === String(names)
      ? []
      : [`${network}: expected ${names.join(', ')}, found ${members(network).join(', ')}`];
  const networks = Object.entries(compose.networks);
  return [
    ...only('data', DATABASE_CLIENTS),
    ...only('models', MODEL_CLIENTS),
    ...only('repositories', ['code-host']),
    ...networks
      .filter(([name]) => name.startsWith('door-'))
      .flatMap(([name]) => only(name, [name.slice('door-'.length)])),
    ...networks.flatMap(([name, network]) => {
      if (['back', 'data', 'telemetry'].includes(name))
        return network?.internal === true && !hasBridgeAddress(network) ? [] : [`${name}: expected no way out`];
      return name !== 'repositories' && masquerades(network) ? [`${name}: expected no answers from outside`] : [];
    }),
    ...services(compose).flatMap(([name, service]) => {
      const outside = listOf(service.networks).filter((network) => compose.networks[network]?.internal !== true);
      return outside.length > 1 ? [`${name}: ${outside.join(' and ')} would share one way out`] : [];
    }),
  ];
}

/** Each service holds its own secrets and no other's; the database's are the ledger's; no secret stands in the file. */
export function secrets(compose, serviceNames) {
  return services(compose)
    .flatMap(([name, service]) => {
      const environment = Object.entries(service.environment ?? {});
      const held = secretsOf(service);
      const own = name === 'plumb' || name === 'connection' ? 'secrets-operator' : `secrets-${name}`;
      return [
        ...(name === 'prepare'
          ? []
          : held
              .filter(([source, , mode]) => source !== own || mode !== 'ro')
              .map(([source]) => `${name}: ${source} is not its own to read`)),
        ...(serviceNames.includes(name) && held.length !== 1 ? [`${name}: expected its own secrets`] : []),
        ...(serviceNames.includes(name) && service.environment?.PLUMB_NATS_USER !== undefined
          ? [`${name}: expected its own identity`]
          : []),
        ...environment
          .filter(([key]) => /DATABASE/.test(key) && name !== 'ledger')
          .map(([key]) => `${name}: ${key} is the ledger's`),
        ...environment
          .filter(([key, value]) => /(PASSWORD|TOKEN|SECRET|_KEY)$/.test(key) && value !== '')
          .map(([key]) => `${name}: ${key} stands in the file`),
        ...environment
          .filter(([, value]) => /:\/\/[^/\s]*:[^/\s]*@/.test(String(value)))
          .map(([key]) => `${name}: ${key} holds a password`),
      ];
    })
    .concat(
      serviceNames
        .filter((name) => compose.services[name] === undefined)
        .map((name) => `${name}: the service is missing`),
      compose.services.prepare.network_mode === 'none'
        ? []
        : ['prepare: whoever makes the secrets must have no network'],
    );
}

/** Volumes and files: everything mounted is there, every secret volume is made by prepare, nothing is declared for nobody. */
export function mounted(compose, exists) {
  const all = services(compose);
  const mounts = all.flatMap(([name, service]) => mountsOf(service).map(([source]) => ({ name, source })));
  const prepared = new Set(mountsOf(compose.services.prepare).map(([source]) => source));
  const files = [
    ...mounts.filter(({ source }) => source.startsWith('./')),
    ...all.flatMap(([name, service]) => (service.build ? [{ name, source: service.build.dockerfile }] : [])),
    ...all.flatMap(([name, { security_opt: options }]) =>
      (options ?? []).flatMap((option) =>
        option.startsWith('seccomp=') ? [{ name, source: option.slice('seccomp='.length) }] : [],
      ),
    ),
  ];
  const declared = Object.keys(compose.volumes);
  return [
    ...files.filter(({ source }) => !exists(source)).map(({ name, source }) => `${name}: ${source} does not exist`),
    ...declared
      .filter((volume) => SECRETS.test(volume) && !prepared.has(volume))
      .map((volume) => `${volume}: prepare does not fill it`),
    ...declared
      .filter((volume) => !mounts.some(({ source }) => source === volume))
      .map((volume) => `${volume}: nobody uses it`),
  ];
}

/** One version and no other: not the newest, not whatever a branch of versions is at. */
export function pinned(images) {
  return images
    .filter((image) => !/:v?\d+\.\d+(\.\d+)?(-[a-z0-9.]+)*(@sha256:[0-9a-f]{64})?$/.test(image))
    .map((image) => `${image}: expected one exact version`);
}

/** Variables of services are those of docs/configuration.md. */
export function known(compose, variables) {
  return services(compose).flatMap(([name, service]) =>
    Object.keys(service.environment ?? {})
      .filter((key) => /^(PLUMB|OTEL|NATS)_/.test(key) && !key.startsWith('PLUMB_PUBLISHED_'))
      .filter((key) => !variables.has(key) && !variables.has(key.replace(/_FILE$/, '')))
      .map((key) => `${name}: ${key} is not in docs/configuration.md`),
  );
}
