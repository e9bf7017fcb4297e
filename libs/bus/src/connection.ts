import { jetstream, jetstreamManager, type JetStreamClient, type JetStreamManager } from '@nats-io/jetstream';
import { AuthorizationError, connect, type NatsConnection, type ServerInfo } from '@nats-io/transport-node';
import { atLeast, capabilities, MINIMUM_SERVER, type Capabilities } from './capabilities.js';
import { BusError, describeError } from './errors.js';
import { inboxPrefixOf, type IdentityName } from './identities.js';

/** How to reach the broker and who is asking. */
export interface BusOptions {
  readonly servers: string | readonly string[];
  readonly user: string;
  readonly password: string;
  readonly service: IdentityName;
  /** Where replies arrive; by default the prefix that the identity table gives to `service`. */
  readonly inboxPrefix?: string;
  /** How long the first connection may take. Reconnecting afterwards never gives up. */
  readonly connectTimeoutMs?: number;
  readonly reconnectDelayMs?: number;
  readonly onStatus?: (status: BusStatus) => void;
}

/** What happens to the connection; `error` carries what the server refused (a permission, for example). */
export type BusStatus =
  | { readonly type: 'disconnected' }
  | { readonly type: 'reconnected'; readonly server: string }
  | { readonly type: 'error'; readonly error: Error }
  | { readonly type: 'closed' };

/** One connection of one service. */
export interface Bus {
  readonly service: IdentityName;
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  /** The stream and consumer administration; only the ledger has the permissions for most of it. */
  readonly jsm: JetStreamManager;
  /** Of the server last connected to; it may change with a reconnect. */
  readonly capabilities: Capabilities;
  /** The largest message the server takes, in bytes. */
  readonly maxPayloadBytes: number;
  readonly connected: boolean;
  readonly counters: { readonly disconnected: number; readonly reconnected: number; readonly errors: number };
  /** Calls `listener` at every change from now on, until the returned function is called. */
  watch(listener: (status: BusStatus) => void): () => void;
  /** Lets subscriptions finish what they have, flushes and closes; after `deadlineMs` (5 s) closes anyway. Idempotent. */
  drain(deadlineMs?: number): Promise<void>;
}

/**
 * Connects and checks the server. Reconnects forever afterwards, also after the server refused the password (it may be
 * reloading its configuration).
 * @throws BusError `unreachable` or `timeout` (later), `auth-failed`, `no-jetstream`, `server-too-old` (never)
 */
export async function connectBus(options: BusOptions): Promise<Bus> {
  const nc = await open(options);
  const refusal = refusalOf(nc.info);
  if (refusal) {
    await nc.close();
    throw refusal;
  }
  return new Connection(options.service, nc, await jetstreamManager(nc, { checkAPI: false }), options.onStatus);
}

async function open(options: BusOptions): Promise<NatsConnection> {
  const servers = typeof options.servers === 'string' ? options.servers : [...options.servers];
  try {
    return await connect({
      servers,
      user: options.user,
      pass: options.password,
      name: `plumbline-${options.service}`,
      inboxPrefix: options.inboxPrefix ?? inboxPrefixOf(options.service),
      timeout: options.connectTimeoutMs ?? 5_000,
      maxReconnectAttempts: -1,
      reconnectTimeWait: options.reconnectDelayMs ?? 1_000,
      ignoreAuthErrorAbort: true,
      // A missed ping is noticed within 20 s, so a silent partition is not mistaken for a quiet log.
      pingInterval: 10_000,
      maxPingOut: 2,
    });
  } catch (error) {
    const where = Array.isArray(servers) ? servers.join(', ') : servers;
    if (error instanceof AuthorizationError) {
      throw new BusError('auth-failed', `the broker at ${where} refused user ${JSON.stringify(options.user)}`, {
        retry: 'never',
        mend: 'check user and password against the configuration of the broker',
        cause: error,
      });
    }
    throw new BusError('unreachable', `no broker at ${where}: ${describeError(error)}`, {
      retry: 'later',
      mend: 'start nats-server there, or correct the address',
      cause: error,
    });
  }
}

/** Why this server will not do, or undefined if it will. */
export function refusalOf(info: ServerInfo | undefined): BusError | undefined {
  if (!info) {
    return new BusError('unreachable', 'the broker closed the connection at once', {
      retry: 'later',
      mend: 'look into the log of the broker',
    });
  }
  if (!atLeast(info.version, MINIMUM_SERVER)) {
    return new BusError('server-too-old', `nats-server ${info.version} is older than ${MINIMUM_SERVER}`, {
      retry: 'never',
      mend: `upgrade nats-server to ${MINIMUM_SERVER} or newer (2.14 is recommended)`,
      evidence: { found: info.version, expected: MINIMUM_SERVER },
    });
  }
  if (info.jetstream !== true) {
    return new BusError('no-jetstream', 'the broker runs without JetStream', {
      retry: 'never',
      mend: 'start nats-server with a `jetstream { store_dir: … }` block (or -js)',
    });
  }
  return undefined;
}

class Connection implements Bus {
  readonly js: JetStreamClient;
  readonly counters = { disconnected: 0, reconnected: 0, errors: 0 };
  connected = true;
  private lastInfo: ServerInfo | undefined;
  private readonly listeners = new Set<(status: BusStatus) => void>();
  private draining: Promise<void> | undefined;

  constructor(
    readonly service: IdentityName,
    readonly nc: NatsConnection,
    readonly jsm: JetStreamManager,
    onStatus: ((status: BusStatus) => void) | undefined,
  ) {
    this.js = jetstream(nc);
    this.lastInfo = nc.info;
    if (onStatus) this.listeners.add(onStatus);
    void this.follow();
  }

  watch(listener: (status: BusStatus) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  private tell(status: BusStatus): void {
    for (const listener of [...this.listeners]) listener(status);
  }

  /** The client forgets the server's description while it reconnects; the last one stays good until there is a new one. */
  private get info(): ServerInfo {
    this.lastInfo = this.nc.info ?? this.lastInfo;
    if (!this.lastInfo) throw new Error('a connected client knows its server');
    return this.lastInfo;
  }

  get capabilities(): Capabilities {
    return capabilities(this.info);
  }

  get maxPayloadBytes(): number {
    return this.info.max_payload;
  }

  drain(deadlineMs = 5_000): Promise<void> {
    this.draining ??= this.drainOnce(deadlineMs);
    return this.draining;
  }

  private async drainOnce(deadlineMs: number): Promise<void> {
    if (this.nc.isClosed()) return;
    // Draining needs a round trip, which never comes while the broker is away.
    const timer = setTimeout(() => void this.nc.close(), this.connected ? deadlineMs : 0);
    try {
      await Promise.race([this.nc.drain(), this.nc.closed()]);
    } catch {
      await this.nc.close();
    } finally {
      clearTimeout(timer);
    }
  }

  private async follow(): Promise<void> {
    for await (const status of this.nc.status()) {
      // The client repeats both for every attempt that the server refused.
      if (status.type === 'disconnect' && this.connected) {
        this.connected = false;
        this.counters.disconnected += 1;
        this.tell({ type: 'disconnected' });
      } else if (status.type === 'reconnect' && !this.connected) {
        this.connected = true;
        this.counters.reconnected += 1;
        this.tell({ type: 'reconnected', server: status.server });
      } else if (status.type === 'error') {
        this.counters.errors += 1;
        this.tell({ type: 'error', error: status.error });
      } else if (status.type === 'close') {
        break;
      }
    }
    this.connected = false;
    this.tell({ type: 'closed' });
  }
}
