import { existsSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Mount } from './sandbox.js';

/** A toolchain outside /usr: what to mount, and what to put first in PATH. */
export interface Toolchain {
  readonly mount: Mount;
  readonly pathEntry: string;
}

/**
 * Makes the given Node.js available inside under /opt/node, read-only. `execPath` is a node binary, e.g. `process.execPath`. A
 * recognised distribution directory (`bin/node` beside `include/node`) is mounted whole, so that npm comes along; otherwise only the
 * binary, since its directory may be somebody's home. Null when the binary lies under /usr and is therefore inside already.
 */
export function nodeToolchain(execPath: string): Toolchain | null {
  const real = realpathSync(execPath);
  if (real.startsWith('/usr/')) return null;
  const root = dirname(dirname(real));
  const isDistribution = basename(dirname(real)) === 'bin' && existsSync(join(root, 'include', 'node'));
  const mount: Mount = isDistribution
    ? { host: root, inside: '/opt/node', mode: 'ro' }
    : { host: real, inside: '/opt/node/bin/node', mode: 'ro' };
  return { mount, pathEntry: '/opt/node/bin' };
}
