import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * Where free ports are looked for: below the range from which Linux (from 32768), macOS and Windows (from 49152) take ports for outgoing
 * connections. A port from that range may be anybody's a moment later.
 */
const lowest = 20_000;
const beyond = 32_000;
const triesMax = 100;

/**
 * A loopback TCP port that was free a moment ago. Another process may take it before you do: prefer to let the server
 * choose, or be ready to ask again. Throws when 100 ports at random are all taken.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < triesMax; tries++) {
    const port = randomInt(lowest, beyond);
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port found between ${lowest} and ${beyond} on 127.0.0.1`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: '127.0.0.1', port }, () => server.close(() => resolve(true)));
  });
}
