/** Builds every project: TypeScript to dist, then the files under src that TypeScript does not copy. */
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildStamp, inRoot, projectEnv, projectNode, root, SetupError } from './checkout.mjs';
import { withLock } from './lock.mjs';
import { createProgress, run } from './progress.mjs';

const ROOMS = ['libs', 'services', 'apps'];
/** Rooms that are a project themselves. */
const SINGLE = ['bench', 'sim'];
const COPIED = /\.(sql|json|md|yaml|mjs|d\.mts)$/;
/** Kinds that TypeScript never writes itself. */
const PRUNED = /\.(sql|md|yaml)$/;

/** Compiles what changed and copies assets; throws SetupError with the compiler's output. */
export async function build(progress) {
  // The stamp says "as old as the start": a source saved during the build is newer and builds again.
  const startedAt = new Date();
  const node = projectNode();
  await progress.step('Building', async () => {
    const compiler = inRoot('node_modules', 'typescript7', 'bin', 'tsc');
    const { code, output } = await run(node.path, [compiler, '-b'], { cwd: root, env: projectEnv(node) });
    if (code !== 0) throw new SetupError('The build failed.', output);
    for (const project of projects()) copyAssets(join(project, 'src'), join(project, 'dist'));
  });
  mkdirSync(dirname(buildStamp), { recursive: true });
  writeFileSync(buildStamp, '');
  utimesSync(buildStamp, startedAt, startedAt);
}

/** Folders of all workspace projects. */
export function projects() {
  return ROOMS.flatMap((room) =>
    existsSync(inRoot(room)) ? readdirSync(inRoot(room)).map((name) => inRoot(room, name)) : [],
  )
    .concat(SINGLE.map((room) => inRoot(room)))
    .filter((folder) => existsSync(join(folder, 'package.json')));
}

/** Everything inside a `sample` folder is data and goes as it is; elsewhere only known kinds of files. */
function copyAssets(from, to, inSample = false) {
  if (!existsSync(from)) return;
  pruneAssets(from, to, inSample);
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const source = join(from, entry.name);
    const target = join(to, entry.name);
    if (entry.isDirectory()) copyAssets(source, target, inSample || entry.name === 'sample');
    else if (inSample || COPIED.test(entry.name)) copyIfChanged(source, target);
  }
}

/** What was deleted in the source must not live on in dist, where a folder of SQL files may be read whole. */
function pruneAssets(from, to, inSample) {
  if (!existsSync(to)) return;
  for (const entry of readdirSync(to, { withFileTypes: true })) {
    const gone = !existsSync(join(from, entry.name));
    if (gone && (inSample || (entry.isFile() && PRUNED.test(entry.name))))
      rmSync(join(to, entry.name), { recursive: true });
  }
}

function copyIfChanged(source, target) {
  const from = statSync(source);
  const to = statSync(target, { throwIfNoEntry: false });
  if (to?.size === from.size && to.mtimeMs >= from.mtimeMs) return;
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(source, target);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    const progress = createProgress({ quiet: process.argv.includes('--quiet') });
    await withLock(inRoot('.tools', 'setup.lock'), () => build(progress));
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`${error.output}\n${error.message}\n`);
    process.exitCode = 1;
  }
}
