export type GitErrorCode =
  | 'NOT_A_REPOSITORY'
  | 'UNKNOWN_REVISION'
  | 'AUTH'
  | 'UNREACHABLE'
  | 'FORBIDDEN_URL'
  | 'CORRUPT'
  | 'UNSAFE_TREE'
  | 'NOT_LINEAR'
  | 'TOO_LARGE'
  | 'TIMEOUT'
  | 'NO_SPACE'
  | 'GIT_MISSING'
  | 'FAILED';

const ADVICE: Record<GitErrorCode, { readonly retry: 'later' | 'never'; readonly mend: string }> = {
  NOT_A_REPOSITORY: { retry: 'never', mend: 'Check the address: there is no git repository.' },
  UNKNOWN_REVISION: { retry: 'never', mend: 'Name a branch, tag or commit that exists there.' },
  AUTH: { retry: 'never', mend: 'Give credentials that may read (or push to) this repository.' },
  UNREACHABLE: { retry: 'later', mend: 'Check the network and the host, then try again.' },
  FORBIDDEN_URL: { retry: 'never', mend: 'Use an address that the policy allows.' },
  CORRUPT: { retry: 'never', mend: 'The objects are damaged or incomplete; take them again from their source.' },
  UNSAFE_TREE: { retry: 'never', mend: 'Remove the named entries from the change.' },
  NOT_LINEAR: { retry: 'never', mend: 'Make the change a line of commits on its base, without merges.' },
  TOO_LARGE: { retry: 'never', mend: 'Raise the limit, or make it smaller.' },
  TIMEOUT: { retry: 'later', mend: 'Try again, or raise the time limit.' },
  NO_SPACE: { retry: 'later', mend: 'Free disk space on this machine.' },
  GIT_MISSING: { retry: 'never', mend: 'Install git 2.39 or later.' },
  FAILED: { retry: 'never', mend: 'See the message of git.' },
};

/** A git operation that could not be done: `retry` says whether the same call may succeed later, the message what to do. */
export class GitError extends Error {
  override readonly name = 'GitError';
  readonly retry: 'later' | 'never';

  constructor(
    readonly code: GitErrorCode,
    readonly what: string,
  ) {
    super(`${code}: ${what} ${ADVICE[code].mend}`);
    this.retry = ADVICE[code].retry;
  }
}

/** Wording of git 2.39 to 2.51 with LC_ALL=C, first match wins. */
const PATTERNS: readonly (readonly [RegExp, GitErrorCode])[] = [
  [/transport '.*' not allowed|unknown transport|remote helper/i, 'FORBIDDEN_URL'],
  [/No space left on device|Disk quota exceeded/i, 'NO_SPACE'],
  [/File too large|file size limit exceeded|exceeds maximum allowed size|died of signal 25/i, 'TOO_LARGE'],
  [
    /Authentication failed|could not read Username|could not read Password|Permission denied \(|returned error: 40[13]|access denied/i,
    'AUTH',
  ],
  [
    /Could not resolve host|Connection (refused|timed out|reset)|Failed to connect|unable to access|Network is unreachable|Host key verification failed|returned error: 5\d\d/i,
    'UNREACHABLE',
  ],
  [/hasDotgit|hasDot\b|hasDotdot|gitmodules/i, 'UNSAFE_TREE'],
  [
    /couldn't find remote ref|unknown revision|bad revision|not our ref|unadvertised object|Needed a single revision|ambiguous argument|not a valid object name/i,
    'UNKNOWN_REVISION',
  ],
  [
    /not a git repository|does not appear to be a git repository|invalid gitfile format|repository .* not found|does not exist/i,
    'NOT_A_REPOSITORY',
  ],
  [
    /fsck|corrupt|bad object|index-pack failed|invalid index-pack|missing (blob|tree|commit)|unable to read|inflate|pack .* (bad|signature)|pack signature|early EOF|did not send all|invalid path/i,
    'CORRUPT',
  ],
  [/hung up unexpectedly|Could not read from remote repository/i, 'UNREACHABLE'],
];

/** Sorts what git wrote to standard error into a code; `FAILED` when nothing fits. */
export function gitErrorOf(stderr: string, doing: string): GitError {
  const code = PATTERNS.find(([pattern]) => pattern.test(stderr))?.[1] ?? 'FAILED';
  const message = stderr.trim().split('\n').slice(-4).join(' | ').slice(0, 600);
  return new GitError(code, `${doing}: ${message === '' ? 'git gave no message' : message}.`);
}
