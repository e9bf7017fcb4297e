/** Set-up, part (c) and (d): nats-server and bubblewrap, unpacked into .tools where the machine has none; for tests of alerts, promtool. */
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { delimiter, join, relative } from 'node:path';
import { locate } from '../libs/embedded/src/locate.mjs';
import { inRoot, root } from './checkout.mjs';
import { run } from './progress.mjs';

const PACKAGES = {
  'nats-server': {
    debian: 'nats-server',
    brew: 'nats-server',
    binaries: ['usr/sbin/nats-server', 'usr/bin/nats-server'],
  },
  bwrap: { debian: 'bubblewrap', binaries: ['usr/bin/bwrap'] },
  // Only taken out of its package: an installed one would start a server of its own.
  promtool: { debian: 'prometheus', brew: 'prometheus', binaries: ['usr/bin/promtool'], unpackOnly: true },
};

/** Finds `tool`, or gets it with the system's package manager. Returns what `locate` says in the end; never throws. */
export async function obtain(tool, progress) {
  const search = () => locate(tool, { root, env: process.env });
  const present = search();
  // A binary the user named, or one the kernel refuses to run, does not become better by installing another.
  if ('found' in present || !/was found neither|library/.test(present.missing)) return present;
  const ways = [unpackDebian, installDebian, installBrew];
  const said = [];
  for (const way of ways) {
    const outcome = await way(tool, progress);
    const now = search();
    if ('found' in now) return now;
    if (outcome !== undefined) said.push(outcome);
  }
  const last = search();
  return said.length === 0 ? last : { missing: `${last.missing} Getting it failed: ${said[0]}`, mend: last.mend };
}

/** Downloads the distribution's own package, checked by apt's signatures, and unpacks it: no root, no service started. */
async function unpackDebian(tool, progress) {
  if (!onPath('apt-get') || !onPath('dpkg-deb')) return undefined;
  const name = PACKAGES[tool].debian;
  const target = inRoot('.tools', 'pkg', name);
  return progress.step(`Getting ${name} (apt-get download)`, async () => {
    rmSync(target, { recursive: true, force: true });
    mkdirSync(target, { recursive: true });
    let fetched = await run('apt-get', ['-q', ...unsandboxed(), 'download', name], { cwd: target });
    if (fetched.code !== 0) fetched = await downloadWithOwnLists(name, target);
    if (fetched.code !== 0) return lastLine(fetched.output);
    const archive = readdirSync(target).find((file) => file.endsWith('.deb'));
    const unpacked = await run('dpkg-deb', ['-x', join(target, archive), target]);
    rmSync(join(target, archive));
    if (unpacked.code !== 0) return lastLine(unpacked.output);
    return link(tool, target);
  });
}

/** The machine's package lists may be missing or old and not ours to renew: fetch fresh ones into .tools. */
async function downloadWithOwnLists(name, target) {
  const lists = inRoot('.tools', 'apt', 'lists');
  const cache = inRoot('.tools', 'apt', 'cache');
  mkdirSync(join(lists, 'partial'), { recursive: true });
  mkdirSync(join(cache, 'archives', 'partial'), { recursive: true });
  const own = [...unsandboxed(), '-o', `Dir::State::lists=${lists}`, '-o', `Dir::Cache=${cache}`];
  const update = await run('apt-get', ['-q', ...own, 'update']);
  const fetched = await run('apt-get', ['-q', ...own, 'download', name], { cwd: target });
  rmSync(inRoot('.tools', 'apt'), { recursive: true, force: true });
  return fetched.code === 0 || update.code === 0 ? fetched : update;
}

/** As root apt would read through user _apt, which cannot write into our folders. */
const unsandboxed = () => ['-o', 'APT::Sandbox::User=root'];

/** Last resort as root: the ordinary installation, which brings missing libraries. Starts no service through invoke-rc.d. */
async function installDebian(tool, progress) {
  if (PACKAGES[tool].unpackOnly === true || process.getuid?.() !== 0 || !onPath('apt-get')) return undefined;
  const name = PACKAGES[tool].debian;
  return progress.step(`Installing ${name} (apt-get install)`, async () => {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
    const install = () => run('apt-get', ['-q', 'install', '-y', '--no-install-recommends', name], { env });
    let outcome = await install();
    if (outcome.code !== 0 && (await run('apt-get', ['-q', 'update'], { env })).code === 0) outcome = await install();
    return outcome.code === 0 ? undefined : lastLine(outcome.output);
  });
}

async function installBrew(tool, progress) {
  const name = PACKAGES[tool].brew;
  if (name === undefined || !onPath('brew')) return undefined;
  return progress.step(`Installing ${name} (brew install)`, async () => {
    const outcome = await run('brew', ['install', '--quiet', name]);
    return outcome.code === 0 ? undefined : lastLine(outcome.output);
  });
}

function link(tool, target) {
  const binary = PACKAGES[tool].binaries.map((path) => join(target, path)).find((path) => existsSync(path));
  if (binary === undefined) return `its package has none of ${PACKAGES[tool].binaries.join(', ')}.`;
  const folder = inRoot('.tools', 'bin');
  mkdirSync(folder, { recursive: true });
  rmSync(join(folder, tool), { force: true });
  symlinkSync(relative(folder, binary), join(folder, tool));
  return undefined;
}

function onPath(command) {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => folder !== '' && existsSync(join(folder, command)));
}

function lastLine(output) {
  const lines = output.trim().split('\n');
  return (lines.findLast((line) => line.startsWith('E:')) ?? lines.at(-1) ?? 'it said nothing').trim();
}
