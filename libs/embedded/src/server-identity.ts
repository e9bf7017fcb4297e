import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { EmbeddedError } from './embedded-error.js';

/** Under which user a server runs: as we are, as root seen as `nobody` in a user namespace, or as another user. */
export type ServerIdentity =
  | { kind: 'own' }
  | { kind: 'namespace'; prefix: readonly string[] }
  | { kind: 'other-user'; name: string; uid: number; gid: number };

const UNSHARE = '/usr/bin/unshare';
const NOBODY = '65534';
const NAMESPACE_PREFIX = [UNSHARE, '--user', `--map-user=${NOBODY}`, `--map-group=${NOBODY}`, '--'];

/**
 * Postgres refuses to run as root. As root we show it a user namespace in which we are `nobody`: files keep their owner
 * and nothing has to be created. Where namespaces are forbidden the server runs as user `postgres` or `nobody`.
 * Throws EmbeddedError `root-refused` when neither can be.
 */
export function unprivilegedIdentity(): ServerIdentity {
  if (process.getuid?.() !== 0) return { kind: 'own' };
  return userNamespace() ?? otherUser();
}

/** Undefined where the kernel or the container forbids user namespaces. */
export function userNamespace(): ServerIdentity | undefined {
  if (!existsSync(UNSHARE)) return undefined;
  const [program = UNSHARE, ...args] = NAMESPACE_PREFIX;
  return succeeds(program, [...args, 'true']) ? { kind: 'namespace', prefix: NAMESPACE_PREFIX } : undefined;
}

/** The user to drop to when root cannot hide behind a namespace. */
export function otherUser(): ServerIdentity {
  for (const name of ['postgres', 'nobody']) {
    try {
      return { kind: 'other-user', name, uid: idOf('-u', name), gid: idOf('-g', name) };
    } catch {
      // No such user here.
    }
  }
  throw new EmbeddedError(
    'root-refused',
    'Postgres refuses to run as root, and this machine has neither user namespaces nor a user `postgres` or `nobody`.',
    'Run this as an ordinary user.',
  );
}

function idOf(flag: '-u' | '-g', name: string): number {
  return Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
}

function succeeds(program: string, args: readonly string[]): boolean {
  try {
    execFileSync(program, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
