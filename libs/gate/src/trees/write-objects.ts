import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { deflateSync } from 'node:zlib';
import type { TreeEntry } from '@plumbline/repo';

/**
 * Writes objects into a private store, in git's loose format (gitformat-loose, gitformat-tree). Composed trees are made of blobs the store
 * has already, so this needs no index, no work tree and no process.
 */

/** Stores a file's contents; returns its object id. `like` is any id of the same store: it tells the hash in use. */
export async function writeBlob(gitDir: string, like: string, bytes: Buffer): Promise<string> {
  return writeObject(gitDir, like, 'blob', bytes);
}

/** Stores the tree of a flat list of entries, with all its subtrees; returns its id. Paths must be distinct, none a folder of another. */
export async function writeTree(gitDir: string, like: string, entries: readonly TreeEntry[]): Promise<string> {
  const folders = new Map<string, TreeEntry[]>();
  const items: { name: string; mode: string; id: string }[] = [];
  for (const entry of entries) {
    const slash = entry.path.indexOf('/');
    if (slash < 0) {
      items.push({ name: entry.path, mode: entry.mode, id: entry.id });
      continue;
    }
    const name = entry.path.slice(0, slash);
    const inside = { ...entry, path: entry.path.slice(slash + 1) };
    const known = folders.get(name);
    if (known === undefined) folders.set(name, [inside]);
    else known.push(inside);
  }
  for (const [name, inside] of folders) items.push({ name, mode: '40000', id: await writeTree(gitDir, like, inside) });
  // git sorts folders as if their names ended in a slash.
  const sortKey = (item: { name: string; mode: string }) =>
    Buffer.from(item.mode === '40000' ? `${item.name}/` : item.name);
  items.sort((a, b) => Buffer.compare(sortKey(a), sortKey(b)));
  const body = items.map(({ name, mode, id }) =>
    Buffer.concat([Buffer.from(`${mode} ${name}\0`), Buffer.from(id, 'hex')]),
  );
  return writeObject(gitDir, like, 'tree', Buffer.concat(body));
}

async function writeObject(gitDir: string, like: string, type: 'blob' | 'tree', body: Buffer): Promise<string> {
  const bytes = Buffer.concat([Buffer.from(`${type} ${body.length}\0`), body]);
  const id = createHash(like.length === 64 ? 'sha256' : 'sha1')
    .update(bytes)
    .digest('hex');
  const path = join(gitDir, 'objects', id.slice(0, 2), id.slice(2));
  if (existsSync(path)) return id;
  await mkdir(dirname(path), { recursive: true });
  // Whole or not at all: a reader never meets half an object.
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  await writeFile(draft, deflateSync(bytes), { mode: 0o444 });
  await rename(draft, path);
  return id;
}
