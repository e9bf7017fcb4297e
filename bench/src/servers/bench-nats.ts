import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { connectBus, IDENTITIES, natsConfig, type Bus, type IdentityName } from '@plumbline/bus';
import { startNats } from '@plumbline/embedded';

/** A NATS server with the identities and permissions of production; the ledger may also publish `bench.>`, for the baselines. */
export interface BenchNats {
  readonly url: string;
  readonly version: string;
  readonly passwords: Readonly<Record<IdentityName, string>>;
  connect(identity: IdentityName): Promise<Bus>;
  stop(): Promise<void>;
}

const identities = IDENTITIES.map((identity) =>
  identity.name === 'ledger' ? { ...identity, publish: [...identity.publish, 'bench.>'] } : identity,
);

/** Starts it with its store in a new folder below `folder`. */
export async function startBenchNats(folder: string): Promise<BenchNats> {
  const passwords = Object.fromEntries(identities.map(({ name }) => [name, randomBytes(12).toString('hex')])) as Record<
    IdentityName,
    string
  >;
  // Address and port are the server's to choose; the configuration only has to name some.
  const configText = natsConfig({ identities, passwords, host: '127.0.0.1', port: 4222 });
  const server = await startNats({ storeDir: join(folder, `nats-${randomBytes(4).toString('hex')}`), configText });
  const buses: Bus[] = [];
  return {
    url: server.url,
    version: server.version,
    passwords,
    async connect(identity) {
      const bus = await connectBus({
        servers: server.url,
        user: identity,
        password: passwords[identity],
        service: identity,
      });
      buses.push(bus);
      return bus;
    },
    async stop() {
      await Promise.all(buses.map((bus) => bus.drain(1_000)));
      await server.kill();
    },
  };
}
