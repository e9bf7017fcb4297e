import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ServiceName } from '@plumbline/domain';
import { ServiceChild } from '@plumbline/testing';
import type { BenchNats } from './bench-nats.js';
import type { BenchPostgres } from './bench-postgres.js';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');

/** The built service as a process of its own, as `plumb up` starts it; not started yet. Throws when it is not built. */
export function serviceChild(
  service: ServiceName,
  { postgres, nats }: { postgres: BenchPostgres; nats: BenchNats },
  env: Readonly<Record<string, string>> = {},
): ServiceChild {
  const entry = join(root, 'services', service, 'dist', 'main.js');
  if (!existsSync(entry)) throw new Error(`${entry} does not exist; build the services first: npm run build`);
  return new ServiceChild(service, [process.execPath, entry], {
    PLUMB_NATS_URL: nats.url,
    PLUMB_NATS_PASSWORD: nats.passwords[service],
    PLUMB_INSTANCE: `bench-${service}`,
    ...(service === 'ledger'
      ? { PLUMB_DATABASE_URL: postgres.ledgerUrl, PLUMB_API_TOKEN: 'a-token-for-nobody-to-use' }
      : {}),
    ...env,
  });
}
