import { posix } from 'node:path';
import { ignoredPaths, listTree, readBlob, type TreeEntry } from '@plumbline/repo';
import { writeBlob, writeTree } from './write-objects.js';

/** Fields of a package.json that decide how it is built and tested: they are base's, whatever the change says. */
const harnessFields = ['scripts', 'config', 'jest', 'vitest', 'mocha', 'ava', 'tap', 'c8', 'nyc', 'babel'] as const;

const harnessNames =
  /^(package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.yaml|pnpm-workspace\.yaml|\.npmrc|\.yarnrc(\.yml)?|\.pnp\..*|[jt]sconfig.*\.json|(vite|vitest|jest|babel|mocha)\.(config|workspace)\..*|\.mocharc.*|\.babelrc.*|\.swcrc|\.nycrc.*|\.c8rc.*|\.taprc|node\.config\.json|.*\.tsbuildinfo)$/;
const fixtures = /(^|\/)(fixtures?|__fixtures__|testdata)\//;
const examples = /(^|\/)(fixtures?|__fixtures__|testdata|node_modules)\//;
const manifestBytesMax = 1 << 20;

/** A tree as it is run: the change's files under base's harness. */
export interface ComposedTree {
  readonly tree: string;
  /** Paths that are not as the change has them, sorted. Empty when the change left the harness alone; then `tree` is the change's own. */
  readonly replaced: readonly string[];
}

/**
 * Composes the tree that is run, H: the files of `head` with lock files, compiler and runner configuration, the scripts of every
 * package.json, and the files `named` by base's scripts as base has them (absent where base has none). So are dependencies (node_modules),
 * and what the change brings although base ignores it: outputs of base's build, which makes them itself. Test fixtures that only look like
 * configuration are the change's own.
 */
export async function composeTree(options: {
  readonly gitDir: string;
  readonly base: string;
  readonly head: string;
  readonly named: readonly string[];
}): Promise<ComposedTree> {
  const { gitDir } = options;
  const base = await listTree({ gitDir, tree: options.base });
  const head = await listTree({ gitDir, tree: options.head });
  const named = new Set(options.named);
  const isHarness = (path: string): boolean =>
    isDependency(path) || named.has(path) || (harnessNames.test(posix.basename(path)) && !examples.test(`/${path}`));
  const harness = base.filter(({ path }) => isHarness(path));
  const inBase = new Set(base.map(({ path }) => path));
  const brought = head.map(({ path }) => path).filter((path) => !inBase.has(path));
  const ignored = await ignoredPaths({ gitDir, tree: options.base, paths: brought });
  const kept = head.filter(
    ({ path }) => !isHarness(path) && !ignored.has(path) && !harness.some((own) => isInTheWay(path, own.path)),
  );
  const merged = await Promise.all(kept.map((entry) => withBaseScripts(gitDir, entry, base)));
  const entries = [...merged, ...harness];
  const before = new Map(head.map((entry) => [entry.path, `${entry.mode} ${entry.id}`]));
  const after = new Map(entries.map((entry) => [entry.path, `${entry.mode} ${entry.id}`]));
  const paths = new Set([...before.keys(), ...after.keys()]);
  const replaced = [...paths].filter((path) => before.get(path) !== after.get(path)).sort();
  return { tree: await writeTree(gitDir, options.base, entries), replaced };
}

/** Dependencies are installed, not brought along: one beside the code would be loaded in place of the installed one. */
function isDependency(path: string): boolean {
  const at = /(^|\/)node_modules(\/|$)/.exec(path)?.index;
  return at !== undefined && !fixtures.test(`${path.slice(0, at)}/`);
}

/** A file where the harness needs a folder, or a folder where it needs a file. */
function isInTheWay(path: string, harnessPath: string): boolean {
  return harnessPath.startsWith(`${path}/`) || path.startsWith(`${harnessPath}/`);
}

async function withBaseScripts(gitDir: string, entry: TreeEntry, base: readonly TreeEntry[]): Promise<TreeEntry> {
  const isManifest = posix.basename(entry.path) === 'package.json' && !examples.test(`/${entry.path}`);
  const old = base.find(({ path }) => path === entry.path);
  if (!isManifest || entry.mode === '120000' || old?.id === entry.id) return entry;
  const ours = await readManifest(gitDir, entry.id);
  // A manifest that is no JSON object is left as it is: whatever reads it fails, as it would for everybody else.
  if (ours === null) return entry;
  const theirs = old === undefined ? {} : ((await readManifest(gitDir, old.id)) ?? {});
  const same = harnessFields.every((field) => JSON.stringify(ours[field]) === JSON.stringify(theirs[field]));
  if (same) return entry;
  const result = Object.fromEntries(Object.entries(ours).filter(([field]) => !isHarnessField(field)));
  for (const field of harnessFields) if (theirs[field] !== undefined) result[field] = theirs[field];
  const bytes = Buffer.from(`${JSON.stringify(result, null, 2)}\n`);
  return { ...entry, id: await writeBlob(gitDir, entry.id, bytes) };
}

const isHarnessField = (field: string): boolean => (harnessFields as readonly string[]).includes(field);

/** A package.json as an object; null when it is not one. */
export async function readManifest(gitDir: string, blob: string): Promise<Record<string, unknown> | null> {
  try {
    const text = (await readBlob({ gitDir, blob, maxBytes: manifestBytesMax })).toString('utf8');
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch (error) {
    if (error instanceof SyntaxError || (error as { code?: unknown }).code === 'TOO_LARGE') return null;
    throw error;
  }
}
