import { lstat, realpath } from 'node:fs/promises';
import { basename, dirname, join, posix, relative, sep } from 'node:path';
import { pathProblem } from '@plumbline/repo';

/** Where the work tree appears inside the sandbox; the model sees such paths in the output of its commands. */
export const treeInside = '/work';

export type Confined =
  | { readonly ok: true; /** Real path on this machine. */ readonly host: string; readonly path: string }
  | { readonly ok: false; readonly problem: string };

/**
 * Finds what a path of the model means inside the work tree, with every symbolic link resolved; refuses whatever lies outside, and every
 * spelling of .git. The last parts need not exist. Nothing of the model runs meanwhile, so what was checked is what is used.
 */
export async function confine(treeDir: string, asked: string): Promise<Confined> {
  const refuse = (why: string): Confined => ({ ok: false, problem: `${JSON.stringify(asked.slice(0, 300))} ${why}` });
  const inside =
    asked === treeInside || asked.startsWith(`${treeInside}/`) ? `.${asked.slice(treeInside.length)}` : asked;
  const path = posix.normalize(inside === '' ? '.' : inside).replace(/(.)\/+$/, '$1');
  if (posix.isAbsolute(path)) return refuse('is outside the repository; give a path relative to its root');
  const problem = path === '.' ? null : pathProblem(path);
  if (problem !== null) return refuse(`${problem}; give a plain path relative to the root of the repository`);
  const host = await resolve(join(treeDir, path));
  if (host === null) return refuse('leads through a symbolic link that points nowhere');
  if (host !== treeDir && !host.startsWith(treeDir + sep)) return refuse('leads out of the repository');
  const real = relative(treeDir, host);
  const realProblem = real === '' ? null : pathProblem(real);
  return realProblem === null ? { ok: true, host, path } : refuse(`leads to a path that ${realProblem}`);
}

/** The real path of the part that exists, and the rest as it stands. Null for a link that dangles or turns in circles. */
async function resolve(path: string): Promise<string | null> {
  const missing: string[] = [];
  for (let probe = path; ; probe = dirname(probe)) {
    try {
      return join(await realpath(probe), ...missing);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ELOOP') return null;
      if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error;
    }
    const found = await lstat(probe).catch(() => undefined);
    if (found?.isSymbolicLink()) return null;
    missing.unshift(basename(probe));
  }
}
