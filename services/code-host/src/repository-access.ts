import { StepFault, parseRepositoryUrl, type FaultCode } from '@plumbline/domain';
import { GitError, type Credential, type GitErrorCode } from '@plumbline/repo';

/** Which repositories may be reached, and how to prove who we are to the one host that we have credentials for. */
export interface HostAccess {
  readonly allowLocal: boolean;
  /** Host, with port if it has one, in lower case. No other host is ever shown the credentials below. */
  readonly host?: string;
  readonly basic?: { readonly username: string; readonly password: string };
  readonly sshKeyPath?: string;
}

/** A repository that may be reached, with the credential to use there. Throws REPOSITORY_FORBIDDEN for an address that is not allowed. */
export function admitRepository(url: string, access: HostAccess): { url: string; credential?: Credential } {
  const parsed = parseRepositoryUrl(url, { allowLocal: access.allowLocal });
  if (!parsed.ok)
    throw new StepFault(
      'REPOSITORY_FORBIDDEN',
      `${parsed.problem.value} is not allowed here: expected ${parsed.problem.expected}`,
    );
  const { transport } = parsed.value;
  if (access.host === undefined || hostOf(url) !== access.host) return { url };
  if (transport === 'https' && access.basic !== undefined)
    return { url, credential: { kind: 'basic', ...access.basic } };
  if (transport === 'ssh' && access.sshKeyPath !== undefined)
    return { url, credential: { kind: 'ssh-key', path: access.sshKeyPath } };
  return { url };
}

function hostOf(url: string): string | undefined {
  if (/^(https|ssh):\/\//i.test(url)) return URL.parse(url)?.host.toLowerCase();
  return /^[^@/:]+@([^@/:]+):/.exec(url)?.[1]?.toLowerCase();
}

const codes: Partial<Record<GitErrorCode, FaultCode>> = {
  UNKNOWN_REVISION: 'BASE_UNKNOWN',
  AUTH: 'REPOSITORY_FORBIDDEN',
  FORBIDDEN_URL: 'REPOSITORY_FORBIDDEN',
  // Hosts answer «not found» for what they will not show.
  NOT_A_REPOSITORY: 'REPOSITORY_FORBIDDEN',
  UNREACHABLE: 'REPOSITORY_UNREACHABLE',
  TIMEOUT: 'REPOSITORY_UNREACHABLE',
};

/** What went wrong with git or this machine's disk, as the fault a step ends with. Everything else stays what it was. */
export function asStepFault(error: unknown): unknown {
  if (error instanceof StepFault) return error;
  const isMachines = typeof (error as NodeJS.ErrnoException | null)?.code === 'string';
  if (!isMachines) return error;
  const code = error instanceof GitError ? (codes[error.code] ?? 'WORKSPACE_SETUP') : 'WORKSPACE_SETUP';
  return new StepFault(code, (error as Error).message.slice(0, 1_900), { cause: error });
}
