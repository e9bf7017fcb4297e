import { StepFault } from '@plumbline/bus';
import { parseRepositoryUrl, parseRevision, type FaultCode } from '@plumbline/domain';
import { GitError, type Credential } from '@plumbline/repo';
import type { CodeHostConfig } from './config.js';

/** A repository this service may talk to, with the credential for it. */
export interface Origin {
  url: string;
  credential?: Credential;
}

/**
 * The origin of a submission, checked again although intake checked it: what reaches git is decided here, where the credentials are.
 * @throws StepFault REPOSITORY_FORBIDDEN
 */
export function originOf(config: Pick<CodeHostConfig, 'allowLocal' | 'credentials'>, url: string): Origin {
  const parsed = parseRepositoryUrl(url, { allowLocal: config.allowLocal });
  if (!parsed.ok) {
    const { field, value, expected } = parsed.problem;
    throw new StepFault('REPOSITORY_FORBIDDEN', `${field}: got ${value}, expected ${expected}`);
  }
  const { https, ssh } = config.credentials;
  const { transport } = parsed.value;
  const credential = transport === 'https' ? https : transport === 'ssh' ? ssh : undefined;
  return { url: parsed.value.url, ...(credential === undefined ? {} : { credential }) };
}

/** @throws StepFault BASE_UNKNOWN */
export function revisionOf(revision: string): string {
  const parsed = parseRevision(revision);
  if (parsed.ok) return parsed.value;
  throw new StepFault(
    'BASE_UNKNOWN',
    `${parsed.problem.field}: got ${parsed.problem.value}, expected ${parsed.problem.expected}`,
  );
}

const codes: Partial<Record<GitError['code'], FaultCode>> = {
  UNKNOWN_REVISION: 'BASE_UNKNOWN',
  NOT_A_REPOSITORY: 'REPOSITORY_FORBIDDEN',
  AUTH: 'REPOSITORY_FORBIDDEN',
  FORBIDDEN_URL: 'REPOSITORY_FORBIDDEN',
  TOO_LARGE: 'REPOSITORY_FORBIDDEN',
  UNREACHABLE: 'REPOSITORY_UNREACHABLE',
  TIMEOUT: 'REPOSITORY_UNREACHABLE',
  NO_SPACE: 'WORKSPACE_SETUP',
};

/** A failure of git as the step's fault. Everything that is not git's passes through. */
export function faultOf(error: unknown, otherwise: FaultCode): unknown {
  if (!(error instanceof GitError)) return error;
  return new StepFault(codes[error.code] ?? otherwise, error.message, { cause: error });
}
