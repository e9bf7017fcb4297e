import { lstatSync, readlinkSync, existsSync } from 'node:fs';
import type { RunSpec } from './sandbox.js';

/** Home directory inside: an empty temporary file system. */
export const HOME = '/home/work';
const SYSTEM_LINKS = ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'];
/** What programs under /usr read from /etc to start at all; nothing that names this machine, its users or its secrets. */
const SYSTEM_FILES = ['/etc/ld.so.cache', '/etc/ld.so.conf', '/etc/ld.so.conf.d', '/etc/alternatives'];

/** Small files made up for the sandbox, in place of the machine's. */
export const MADE_FILES: readonly { readonly path: string; readonly text: string }[] = [
  {
    path: '/etc/passwd',
    text: `root:x:0:0:root:/nonexistent:/usr/sbin/nologin\nwork:x:1000:1000:work:${HOME}:/bin/sh\n`,
  },
  { path: '/etc/group', text: 'root:x:0:\nwork:x:1000:\n' },
  { path: '/etc/hosts', text: '127.0.0.1 localhost gate\n::1 localhost\n' },
  { path: '/etc/nsswitch.conf', text: 'passwd: files\ngroup: files\nhosts: files\n' },
];

/** File descriptors handed to bubblewrap; the made files follow `firstFile`. */
export interface DescriptorPlan {
  readonly status: number;
  readonly firstFile: number;
}

/**
 * The full option list of one run. It travels NUL-separated over a descriptor (`--args`), so environment values never
 * show in the machine's process list. The root file system is an empty tmpfs, made read-only once everything is mounted.
 */
export function bubblewrapOptions(spec: RunSpec, fds: DescriptorPlan, disableUserns: boolean): string[] {
  const { tmpBytes } = spec.limits;
  const tmpfs = (path: string, mode: string) => ['--perms', mode, '--size', String(tmpBytes), '--tmpfs', path];
  const options = [
    ...['--unshare-all', '--unshare-user', '--uid', '1000', '--gid', '1000', '--cap-drop', 'ALL'],
    ...(disableUserns ? ['--disable-userns'] : []),
    ...['--new-session', '--die-with-parent', '--hostname', 'gate', '--clearenv'],
    ...['--json-status-fd', String(fds.status)],
    ...['--ro-bind', '/usr', '/usr', ...systemLinks()],
    ...SYSTEM_FILES.filter((path) => existsSync(path)).flatMap((path) => ['--ro-bind', path, path]),
    ...MADE_FILES.flatMap(({ path }, index) => ['--perms', '0444', '--file', String(fds.firstFile + index), path]),
    // bubblewrap's own cover of /proc/sys assumes an unprivileged caller: started by root, the payload's user is the machine's user 0,
    // who may write kernel settings without any capability. A read-only /proc closes that for every file in it.
    ...['--proc', '/proc', ...maskedProcFiles(), '--remount-ro', '/proc'],
    ...['--dev', '/dev', ...tmpfs('/dev/shm', '1777'), '--remount-ro', '/dev'],
    ...[...tmpfs('/tmp', '1777'), '--dir', '/home', ...tmpfs(HOME, '0700')],
  ];
  for (const mount of outermostFirst(spec)) {
    options.push(mount.mode === 'rw' ? '--bind' : '--ro-bind', mount.host, mount.inside);
  }
  options.push('--remount-ro', '/');
  for (const [name, value] of Object.entries({ ...defaultEnvironment(), ...spec.env }))
    options.push('--setenv', name, value);
  options.push('--chdir', spec.cwd);
  return options;
}

function defaultEnvironment(): Record<string, string> {
  return { PATH: '/usr/local/bin:/usr/bin:/bin', HOME, TMPDIR: '/tmp', LANG: 'C.UTF-8' };
}

/** Kernel files that user 0 may read without any capability and that tell about this machine; the list container runtimes mask. */
function maskedProcFiles(): string[] {
  const paths = [
    'kcore',
    'keys',
    'key-users',
    'kmsg',
    'kpagecount',
    'kpageflags',
    'kpagecgroup',
    'pagetypeinfo',
    'slabinfo',
    'timer_list',
    'vmallocinfo',
  ];
  return paths
    .map((name) => `/proc/${name}`)
    .filter((path) => existsSync(path))
    .flatMap((path) => ['--ro-bind', '/dev/null', path]);
}

/** A mount below another mount must come after it, or it would be hidden. */
function outermostFirst(spec: RunSpec) {
  return [...spec.mounts].sort((a, b) => a.inside.length - b.inside.length);
}

function systemLinks(): string[] {
  return SYSTEM_LINKS.flatMap((path) => {
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found === undefined) return [];
    return found.isSymbolicLink() ? ['--symlink', readlinkSync(path), path] : ['--ro-bind', path, path];
  });
}
