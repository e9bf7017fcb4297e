/** Set-up, part (a) and (b): node_modules as locked, and Postgres binaries that run. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { embeddedPostgresFolder, locate } from '../libs/embedded/src/locate.mjs';
import { inRoot, lockStamp, root, SetupError } from './checkout.mjs';
import { run } from './progress.mjs';

const lockHash = () =>
  createHash('sha256')
    .update(readFileSync(inRoot('package-lock.json')))
    .digest('hex');

/** True when node_modules was installed from this very package-lock.json. */
export function dependenciesMatch() {
  return existsSync(lockStamp) && readFileSync(lockStamp, 'utf8').trim() === lockHash();
}

/** Installs exactly what package-lock.json says, unless it is there already. */
export async function installDependencies(progress) {
  if (dependenciesMatch()) {
    // A lock file that is newer but equal (a branch changed and changed back) must not look like work for ever.
    utimesSync(lockStamp, new Date(), new Date());
    return;
  }
  const hash = lockHash();
  await progress.step('Installing dependencies (npm ci)', async () => {
    const { code, output } = await run('npm', ['ci', '--no-audit', '--no-fund'], { cwd: root });
    if (code !== 0)
      throw new SetupError('`npm ci` failed; its last lines tell why. Mend that and run this again.', output);
    writeFileSync(lockStamp, `${hash}\n`);
  });
}

/** Postgres from the npm package when it runs, after mending it if its install script was not run. */
export async function preparePostgres(progress) {
  const folder = embeddedPostgresFolder(root);
  const first = locate('postgres', { root, env: process.env });
  if ('found' in first && first.how === 'npm') return first;
  const script = `${folder}/scripts/hydrate-symlinks.js`;
  if (!existsSync(script)) return first;
  await progress.step('Mending the Postgres binaries', () => run(process.execPath, [script], { cwd: folder }));
  return locate('postgres', { root, env: process.env });
}
