import { existsSync } from 'node:fs';
import { request } from 'node:http';

const probeTimeoutMs = 1_000;
let answered: Promise<boolean> | undefined;

/** Whether a Docker engine answers on its usual socket (or the one DOCKER_HOST names). Asked once per process, within a second. */
export function dockerAnswers(): Promise<boolean> {
  return (answered ??= probe());
}

async function probe(): Promise<boolean> {
  const host = process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock';
  const found = await ping(host);
  process.stderr.write(
    found
      ? `test servers: containers, a Docker engine answers at ${host}\n`
      : `test servers: embedded, no Docker engine answers at ${host}\n`,
  );
  return found;
}

function ping(host: string): Promise<boolean> {
  const socketPath = host.startsWith('unix://') ? host.slice('unix://'.length) : undefined;
  if (socketPath !== undefined && !existsSync(socketPath)) return Promise.resolve(false);
  return new Promise((resolve) => {
    const target =
      socketPath === undefined
        ? { ...splitAddress(host), path: '/_ping', timeout: probeTimeoutMs }
        : { socketPath, path: '/_ping', timeout: probeTimeoutMs };
    const asked = request(target, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    asked.once('timeout', () => asked.destroy());
    asked.once('error', () => resolve(false));
    asked.once('close', () => resolve(false));
    asked.end();
  });
}

function splitAddress(host: string): { host: string; port: number } {
  const url = new URL(host.replace(/^tcp:/, 'http:'));
  return { host: url.hostname, port: Number(url.port || 2375) };
}
