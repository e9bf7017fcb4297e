import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  connectBus,
  IDENTITIES,
  natsConfig,
  type Bus,
  type BusOptions,
  type Identity,
  type IdentityName,
} from '@plumbline/bus';
import { freePort, startNats, type NatsServer } from '@plumbline/embedded';
import { dockerAnswers } from './docker-engine.js';

/** A real NATS server with JetStream and the permissions of production, on one port for as long as the test runs. */
export interface TestNats {
  readonly url: string;
  readonly passwords: Readonly<Record<IdentityName, string>>;
  /** A connection that ends with the server at the latest. */
  connect(identity: IdentityName, options?: Partial<BusOptions>): Promise<Bus>;
  /** Ends the server: `SIGKILL` as a crash would. */
  halt(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>;
  /** Everything JetStream stored is gone; only while halted. */
  wipe(): void;
  /** Starts it again on the same port with what its store holds. */
  launch(): Promise<void>;
  stop(): Promise<void>;
}

interface Engine {
  launch(): Promise<void>;
  halt(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>;
}

/** Starts NATS: in a container where a Docker engine answers, else the nats-server of this machine. */
export async function startTestNats(options: { identities?: readonly Identity[] } = {}): Promise<TestNats> {
  const identities = options.identities ?? IDENTITIES;
  const passwords = Object.fromEntries(IDENTITIES.map(({ name }) => [name, randomBytes(12).toString('hex')])) as Record<
    IdentityName,
    string
  >;
  const folder = mkdtempSync(join(tmpdir(), 'plumb-test-nats-'));
  const port = await freePort();
  const configure = (host: string): string => natsConfig({ identities, passwords, host, port });
  const store = join(folder, 'store');
  const engine = (await dockerAnswers())
    ? containerEngine(port, store, configure('0.0.0.0'))
    : embeddedEngine(port, store, configure('127.0.0.1'));
  await engine.launch();
  const url = `nats://127.0.0.1:${port}`;
  const buses: Bus[] = [];
  return {
    url,
    passwords,
    async connect(identity, more = {}) {
      const bus = await connectBus({
        servers: url,
        user: identity,
        password: passwords[identity],
        service: identity,
        reconnectDelayMs: 100,
        ...more,
      });
      buses.push(bus);
      return bus;
    },
    halt: (signal) => engine.halt(signal),
    wipe: () => rmSync(store, { recursive: true, force: true }),
    launch: () => engine.launch(),
    async stop() {
      await Promise.all(buses.map((bus) => bus.drain(1_000)));
      await engine.halt('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function embeddedEngine(port: number, storeDir: string, configText: string): Engine {
  let server: NatsServer | undefined;
  return {
    async launch() {
      server = await startNats({ storeDir, configText, port });
    },
    async halt(signal) {
      const running = server;
      server = undefined;
      if (signal === 'SIGKILL') await running?.kill();
      else await running?.stop();
    },
  };
}

function containerEngine(port: number, storeDir: string, configText: string): Engine {
  let container: { stop(): Promise<unknown> } | undefined;
  return {
    async launch() {
      const { GenericContainer, Wait } = await import('testcontainers');
      // The store is a folder of this machine, so that a container may be thrown away and another go on with it.
      container = await new GenericContainer('nats:2.14-alpine')
        .withCopyContentToContainer([{ content: configText, target: '/etc/plumb.conf' }])
        .withBindMounts([{ source: storeDir, target: '/store' }])
        .withCommand(['-c', '/etc/plumb.conf', '-sd', '/store'])
        .withExposedPorts({ container: port, host: port })
        .withWaitStrategy(Wait.forLogMessage(/Server is ready/))
        .start();
    },
    async halt() {
      const running = container;
      container = undefined;
      await running?.stop();
    },
  };
}
