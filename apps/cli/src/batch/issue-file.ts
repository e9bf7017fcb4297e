import { closeSync, constants, fstatSync, openSync, readFileSync, realpathSync } from 'node:fs';
import { isAbsolute, resolve, sep } from 'node:path';

/** More than an issue may have (64 KiB of text), so that one that is too long is told as such by the one who knows the limit. */
const issueBytesMax = 512 * 1_024;

/** Text, or what is wrong in words that continue "expected". */
export type ReadText = { readonly text: string } | { readonly expected: string };

/**
 * The text of an issue file named in a batch. It must lie below the batch file's own folder, also when symbolic links are followed: what it
 * holds is recorded and shown to a model, and a batch file may come from somebody else.
 */
export function readIssueFile(folder: string, given: string): ReadText {
  if (given.includes('\0')) return { expected: 'a path without NUL characters' };
  if (isAbsolute(given)) return { expected: "a path below the batch file's folder, not an absolute one" };
  const root = realpathSync(folder);
  if (!isBelow(root, resolve(root, given))) return { expected: "a path below the batch file's folder" };
  try {
    const path = realpathSync(resolve(root, given));
    if (!isBelow(root, path))
      return { expected: "a file below the batch file's folder; a symbolic link leads out of it" };
    return readPlainFile(path, issueBytesMax);
  } catch (error) {
    return { expected: reasonOf(error) };
  }
}

/** A regular file's text, at most `bytesMax` of well-formed UTF-8. Never waits on a pipe or a device. Throws what the system throws. */
export function readPlainFile(path: string, bytesMax: number): ReadText {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(file);
    if (stat.isDirectory()) return { expected: 'a file; this is a directory' };
    if (!stat.isFile()) return { expected: 'a regular file' };
    if (stat.size > bytesMax) return { expected: `at most ${bytesMax} bytes; it has ${stat.size}` };
    const bytes = readFileSync(file);
    if (bytes.length > bytesMax) return { expected: `at most ${bytesMax} bytes` };
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch (error) {
    if (error instanceof TypeError) return { expected: 'text in UTF-8' };
    throw error;
  } finally {
    closeSync(file);
  }
}

/** Why a file cannot be read, in words that continue "expected". */
export function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'a file that exists';
  if (code === 'ELOOP') return 'a file; this is a circle of symbolic links';
  return `a file that can be read (${code})`;
}

const isBelow = (root: string, path: string): boolean => path.startsWith(root.endsWith(sep) ? root : root + sep);
