/** One directory or file of this machine made visible inside the sandbox. `host` must be its real path, without symbolic links. */
export interface Mount {
  readonly host: string;
  readonly inside: string;
  readonly mode: 'ro' | 'rw';
}

/** What one run may use at most. Every figure is a positive whole number. */
export interface Limits {
  readonly wallMs: number;
  /** All processes of the run together, tmpfs contents included, where control groups are available (see `Sandbox.isolation`). */
  readonly memoryBytes: number;
  /** Processes and threads, together. */
  readonly pids: number;
  /** Standard output and standard error together; the run is killed when it writes more. */
  readonly outputBytes: number;
  /** Size of each of the temporary file systems: /tmp, the home directory, /dev/shm. */
  readonly tmpBytes: number;
  /** Largest single file that may be written. */
  readonly fileBytes: number;
}

export interface RunSpec {
  /** Program and arguments, passed as they are: no shell reads them. */
  readonly argv: readonly string[];
  /** Working directory, as seen inside. */
  readonly cwd: string;
  readonly mounts: readonly Mount[];
  /** The whole environment of the run; only PATH, HOME, TMPDIR and LANG get a default. */
  readonly env: Readonly<Record<string, string>>;
  readonly stdin?: string;
  readonly limits: Limits;
  readonly network: 'none';
  readonly onOutput?: (stream: 'stdout' | 'stderr', chunk: string) => void;
  readonly signal?: AbortSignal;
}

/**
 * Whose fault an unsuccessful start or an odd end is: `infra` (this machine: may be retried elsewhere), `change` (the judged code),
 * `unknown` (cannot be told; must never be counted against the judged code nor in its favour).
 */
export interface Fault {
  readonly kind: 'infra' | 'change' | 'unknown';
  readonly what: string;
  readonly mend?: string;
}

export interface RunResult {
  /** `exited` only says that the payload ended by itself; success is `exitCode === 0`. */
  readonly outcome: 'exited' | 'timed-out' | 'oom' | 'output-limit' | 'aborted' | 'not-started';
  /** True only when the sandbox itself reported that the program was executed. */
  readonly payloadRan: boolean;
  /** Null when the payload did not end by itself. A payload killed by signal n appears as 128+n under bubblewrap. */
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  /** True when output was cut at `outputBytes`. */
  readonly truncated: boolean;
  /** Processes killed by the kernel for memory, also when the payload itself survived. Always 0 without control groups. */
  readonly oomKills: number;
  readonly durationMs: number;
  readonly fault?: Fault;
}

/** Runs judged code. `run` answers every outcome as a value; it throws only for a malformed specification (a bug of the caller). */
export interface Sandbox {
  readonly kind: 'bubblewrap' | 'none';
  /** One line that says what is enforced here and what is not; it belongs into the evidence. */
  readonly isolation: string;
  run(spec: RunSpec): Promise<RunResult>;
}

/** This machine cannot offer the asked-for sandbox. Never answered by falling back to a weaker one. */
export class SandboxUnavailableError extends Error {
  override readonly name = 'SandboxUnavailableError';
  readonly retry = 'never';

  constructor(
    readonly what: string,
    readonly mend: string,
  ) {
    super(`No sandbox: ${what}. ${mend}`);
  }
}
