import { listTree } from '@plumbline/repo';
import { readManifest } from '../trees/compose-tree.js';
import { nodeProfile } from './node-profile.js';
import type { NotRunnable, Profile } from './profile.js';

/** Reads from base, and from nothing else, how its project is built and tested. */
export async function detectProfile(options: { readonly gitDir: string; readonly base: string }): Promise<Profile> {
  const { gitDir, base } = options;
  const entries = await listTree({ gitDir, tree: base });
  const manifest = entries.find(({ path, mode }) => path === 'package.json' && mode.startsWith('100'));
  if (manifest === undefined) return generic('base has no package.json');
  const contents = await readManifest(gitDir, manifest.id);
  if (contents === null) return generic("base's package.json is not a JSON object");
  return nodeProfile(
    contents,
    entries.map(({ path }) => path),
  );
}

function generic(why: string): Profile {
  const plan: NotRunnable = {
    kind: 'not-runnable',
    why,
    hint: 'Give base a package.json with the scripts `build` and `test`, so that the gate can run them.',
  };
  return { name: 'generic', build: plan, tests: plan, harnessFiles: [] };
}
