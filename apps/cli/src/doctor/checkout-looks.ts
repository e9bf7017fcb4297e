import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { homeOf } from '../system/home.js';
import { bytes } from '../terminal/text.js';
import { broken, ok, reason, warning, type Finding, type Look } from './finding.js';

const NODE_MAJOR_MIN = 22;
const GIT_MIN = [2, 30] as const;
const DISK_BROKEN_BYTES = 512 * 1024 ** 2;
const DISK_WARNING_BYTES = 4 * 1024 ** 3;
const named = 5;
const SETUP = 'Run `npm run setup` in the checkout.';

/** The Node that runs this. */
export const node: Look = async () => {
  const { version, execPath } = process;
  const major = Number(/^v(\d+)/.exec(version)?.[1]);
  if (major >= NODE_MAJOR_MIN) return [ok(`node ${version.slice(1)} (${execPath})`)];
  return [
    broken(
      `Node ${version.slice(1)} is too old.`,
      `Start plumb through its launcher \`./plumb\`, which brings its own, or install Node ${NODE_MAJOR_MIN} or newer.`,
    ),
  ];
};

/** Every dependency that the root package names is in node_modules. */
export const dependencies: Look = async ({ root }) => {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    dependencies?: Record<string, string>;
  };
  const wanted = Object.entries(manifest.dependencies ?? {});
  const found = wanted.map(([name, version]) => ({ name, version, has: installedVersion(root, name) }));
  const missing = found.filter(({ has }) => has === undefined).map(({ name }) => name);
  const other = found.filter(({ has, version }) => has !== undefined && /^\d/.test(version) && has !== version);
  if (missing.length > 0)
    return [broken(`${listed(missing)} ${missing.length === 1 ? 'is' : 'are'} not installed.`, SETUP)];
  if (other.length > 0) {
    const names = other.map(({ name, has, version }) => `${name} ${has ?? ''} (not ${version})`);
    return [warning(`Installed in another version than asked for: ${listed(names)}.`, SETUP)];
  }
  return [ok(`dependencies: all ${wanted.length} installed`)];
};

function installedVersion(root: string, name: string): string | undefined {
  try {
    return (JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8')) as { version: string })
      .version;
  } catch {
    return undefined;
  }
}

/** Every lib has its index and every service its entry in dist. */
export const build: Look = async ({ root }) => {
  const wanted = [
    ...folders(join(root, 'libs')).map((path) => join(path, 'dist', 'index.js')),
    ...folders(join(root, 'services')).map((path) => join(path, 'dist', 'main.js')),
  ];
  const missing = wanted.filter((path) => !existsSync(path)).map((path) => path.slice(root.length + 1));
  if (missing.length > 0) return [broken(`Not built: ${listed(missing)}.`, SETUP)];
  return [ok(`build: ${wanted.length} libs and services`)];
};

function folders(path: string): string[] {
  return readdirSync(path, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? [join(path, entry.name)] : [],
  );
}

function listed(names: readonly string[]): string {
  const more = names.length - named;
  return names.slice(0, named).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

/** Git is there and new enough for what we ask of it. */
export const git: Look = async ({ env }) => {
  const mend = 'Install it with your package manager (Debian: `apt-get install git`).';
  try {
    const said = execFileSync('git', ['--version'], { encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'ignore'] });
    const [, major = '0', minor = '0', rest = ''] = /(\d+)\.(\d+)(\S*)/.exec(said) ?? [];
    const old = Number(major) < GIT_MIN[0] || (Number(major) === GIT_MIN[0] && Number(minor) < GIT_MIN[1]);
    return [
      old
        ? broken(`git ${major}.${minor} is older than ${GIT_MIN.join('.')}.`, mend)
        : ok(`git ${major}.${minor}${rest}`),
    ];
  } catch {
    return [broken('git was not found on PATH.', mend)];
  }
};

/** There is room where the system keeps its state. */
export const disk: Look = async ({ env }) => {
  let folder = homeOf(env).folder;
  while (!existsSync(folder)) folder = dirname(folder);
  try {
    const { bavail, bsize } = await statfs(folder);
    const free = bavail * bsize;
    const what = `${bytes(free)} free on the disk of ${folder}`;
    const mend = 'Free some space there, or set PLUMB_HOME to a directory on another disk.';
    return [
      free < DISK_BROKEN_BYTES
        ? broken(`Only ${what}.`, mend)
        : free < DISK_WARNING_BYTES
          ? warning(`Only ${what}.`, mend)
          : ok(`disk: ${what}`),
    ];
  } catch (error) {
    const findings: Finding[] = [
      warning(`The free space of ${folder} cannot be told: ${reason(error)}.`, 'See that the directory can be read.'),
    ];
    return findings;
  }
};
