import { lstatSync, realpathSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import type { Fault, Mount } from './sandbox.js';

/**
 * Looks at the mount sources before anything starts. Answers the first problem, or null. A source reached through a symbolic link is
 * refused: an earlier run may have planted the link in a directory it was allowed to write. The same goes for the place of a mount
 * that lies below another mount, because bubblewrap would follow the link while it still sees this machine's files.
 */
export function mountFault(mounts: readonly Mount[]): Fault | null {
  for (const mount of mounts) {
    const real = realPath(mount.host);
    if (real === null) {
      return {
        kind: 'infra',
        what: `mount source ${mount.host} does not exist or cannot be read`,
        mend: 'Prepare it before the run.',
      };
    }
    if (real !== mount.host) {
      return {
        kind: 'infra',
        what: `mount source ${mount.host} leads through a symbolic link`,
        mend: `Mount its real path: ${real}`,
      };
    }
    const link = nestedLink(mount, mounts);
    if (link !== null) {
      return {
        kind: 'change',
        what: `${link} is a symbolic link where ${mount.inside} is to be mounted`,
        mend: 'Remove the link.',
      };
    }
  }
  return null;
}

function nestedLink(mount: Mount, mounts: readonly Mount[]): string | null {
  for (const outer of mounts) {
    if (outer === mount || !mount.inside.startsWith(`${outer.inside}/`)) continue;
    let place = join(outer.host, relative(outer.inside, mount.inside));
    while (realPath(place) === null && place !== outer.host) {
      // A dangling link has no real path but is a link all the same; its parent then resolves and reveals nothing, so ask for itself.
      if (isLink(place)) return place;
      place = dirname(place);
    }
    if (realPath(place) !== place) return place;
  }
  return null;
}

function realPath(path: string): string | null {
  try {
    return realpathSync(path);
  } catch {
    return null;
  }
}

function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
}
