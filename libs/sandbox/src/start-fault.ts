import type { Fault } from './sandbox.js';

/**
 * Reads why bubblewrap did not execute the payload. Its messages can be trusted here, and only here: nothing of the judged code
 * ran, so nothing of it can have written them. Wording of bubblewrap 0.4 to 0.11 (`bubblewrap.c`, `bind-mount.c`).
 */
export function startFault(stderr: string, program: string): Fault {
  const message = stderr.trim().split('\n').at(-1) ?? '';
  const exec = /execvp (.*): (No such file or directory|Permission denied|Exec format error|Not a directory|.+)$/s.exec(
    message,
  );
  if (exec !== null) return execFault(program, exec[2] ?? '');
  if (/Can't chdir to/.test(message)) {
    return { kind: 'unknown', what: message, mend: 'The working directory must exist inside one of the mounts.' };
  }
  if (/No space left on device|Disk quota exceeded/.test(message)) {
    return { kind: 'infra', what: message, mend: 'Free disk space or memory on this machine, then retry.' };
  }
  if (/new namespace|No permissions to creat|unshare|uid map|user namespace|uid_map/i.test(message)) {
    return { kind: 'infra', what: message, mend: NAMESPACE_MEND };
  }
  return { kind: 'infra', what: message === '' ? 'bubblewrap ended without starting the program' : message };
}

/** What helps when the kernel refuses namespaces. */
export const NAMESPACE_MEND =
  'Allow user namespaces: sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces above 0, on Ubuntu 24.04 or later an ' +
  'AppArmor profile for bwrap (kernel.apparmor_restrict_unprivileged_userns), in a container a seccomp profile that permits them.';

function execFault(program: string, reason: string): Fault {
  if (/No such file|Permission denied|Exec format|Not a directory|Is a directory|Too many levels/.test(reason)) {
    return { kind: 'change', what: `${program}: ${reason} (inside the sandbox)` };
  }
  return { kind: 'infra', what: `${program}: ${reason}` };
}
