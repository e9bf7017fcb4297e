import { constants } from 'node:fs';
import { lstat, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';

const fileBytesMax = 2 << 20;

export type TextFile = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly problem: string };

/** The text of a regular UTF-8 file of at most 2 MiB. Pipes, sockets and devices are refused unopened: reading one could wait for ever. */
export async function readText(host: string): Promise<TextFile> {
  const found = await lstat(host).catch(() => undefined);
  if (found === undefined) return { ok: false, problem: 'does not exist' };
  if (found.isDirectory()) return { ok: false, problem: 'is a directory' };
  if (!found.isFile()) return { ok: false, problem: 'is not a regular file' };
  if (found.size > fileBytesMax)
    return { ok: false, problem: `has ${found.size} bytes, too many; look at parts of it with run` };
  const file = await open(host, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    return { ok: true, text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await file.readFile()) };
  } catch (error) {
    if (error instanceof TypeError) return { ok: false, problem: 'is not UTF-8 text' };
    throw error;
  } finally {
    await file.close();
  }
}

/** Writes a regular file, with its directories; keeps the permissions of one that exists. Answers what stands in the way, or undefined. */
export async function writeText(host: string, text: string): Promise<string | undefined> {
  const found = await lstat(host).catch(() => undefined);
  if (found !== undefined && !found.isFile()) return found.isDirectory() ? 'is a directory' : 'is not a regular file';
  try {
    await mkdir(dirname(host), { recursive: true });
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
    const file = await open(host, flags, 0o644);
    try {
      await file.writeFile(text);
    } finally {
      await file.close();
    }
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOTDIR' || code === 'EEXIST') return 'lies below something that is a file, not a directory';
    if (code === 'ENAMETOOLONG') return 'has a name that is too long';
    if (code === 'EACCES' || code === 'EPERM') return 'may not be written';
    throw error;
  }
}
