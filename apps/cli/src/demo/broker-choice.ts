import { jetstreamManager } from '@nats-io/jetstream';
import { explain } from '../failure.js';
import { givenLogins, identityNames, natsSecret } from '../supervisor/broker.js';
import { withBus } from '../system/bus-client.js';

const ours = ['LOG', 'INTAKE', 'REFUSED', 'DEAD', 'REDO'];

/** A broker of somebody else for the demo: how to leave it as it was. */
export interface GivenBroker {
  readonly url: string;
  clean(): Promise<void>;
}

/**
 * Whether the demo may use the broker NATS_URL names. Not when it already has our streams: a system works there, and a second log would
 * drive out the first. Returns the reason in that case.
 */
export async function usableBroker(url: string, env: NodeJS.ProcessEnv): Promise<GivenBroker | string> {
  const placeholders = Object.fromEntries(identityNames.map((name) => [natsSecret(name), 'demo']));
  const login = { ...givenLogins(url, env, placeholders).logins.ledger, url };
  try {
    const present = await withBus(login, async (nc) => {
      const names: string[] = [];
      for await (const name of (await jetstreamManager(nc)).streams.names()) names.push(name);
      return names.filter((name) => ours.includes(name));
    });
    if (present.length > 0) return `it already has the streams of a Plumbline system (${present.join(', ')})`;
  } catch (error) {
    return explain(error).message;
  }
  const clean = (): Promise<void> =>
    withBus(login, async (nc) => {
      const manager = await jetstreamManager(nc);
      for (const name of ours) await manager.streams.delete(name).catch(() => false);
    });
  return { url, clean };
}
