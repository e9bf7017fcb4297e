import { STATUS_CODES } from 'node:http';
import type { Problem, ProblemDocument } from '@plumbline/domain';

export const problemMediaType = 'application/problem+json';

/** Every way in which the API refuses or fails: its status, its title, and what to do about it. */
export const problemCatalogue = {
  'invalid-request': {
    status: 400,
    title: 'The request is not one the API knows',
    mend: 'Correct what is named; GET /v1/openapi.json says what every operation takes.',
  },
  'body-not-expected': {
    status: 400,
    title: 'This operation takes no body',
    mend: 'Send the request without a body.',
  },
  unauthorized: {
    status: 401,
    title: 'The token is missing or wrong',
    mend: 'Send the API token as "authorization: Bearer …"; it is never taken from a URL.',
  },
  'foreign-origin': {
    status: 403,
    title: 'Pages of other origins may not use this API',
    mend: 'Ask without an Origin header, or from a page served at the same address.',
  },
  'not-found': {
    status: 404,
    title: 'There is no such thing',
    mend: 'Check the path; lists (GET /v1/tasks, /v1/escalations) show what there is.',
  },
  'method-not-allowed': {
    status: 405,
    title: 'The method is not one of this path',
    mend: 'Use a method of the Allow header.',
  },
  'digest-mismatch': {
    status: 409,
    title: 'The body is not what the path says',
    mend: 'Send the bytes whose SHA-256 is in the path; nothing was stored.',
  },
  'ahead-of-the-log': {
    status: 409,
    title: 'The log does not reach to that position',
    mend: 'It is another log, or one restored from a backup: read it anew from position 0.',
  },
  gone: { status: 410, title: 'It was here and was pruned', mend: 'Its digest stays in the log; the bytes are gone.' },
  'too-large': {
    status: 413,
    title: 'The body is too large',
    mend: 'Send less, or raise PLUMB_ARTIFACT_BYTES_MAX of the ledger.',
  },
  'url-too-long': { status: 414, title: 'The URL is too long', mend: 'Shorten what the query asks for.' },
  misdirected: {
    status: 421,
    title: 'The API does not answer to this host name',
    mend: 'Use its address, localhost or a name without dots, or add the name to PLUMB_API_HOSTS of the ledger.',
  },
  'too-many-requests': {
    status: 429,
    title: 'Too much at once',
    mend: 'Wait as long as Retry-After says; GET /v1/log/stream follows the log with one request.',
  },
  internal: { status: 500, title: 'The ledger failed', mend: 'Its log says more; it is a fault of the ledger.' },
  unavailable: {
    status: 503,
    title: 'The ledger cannot answer now',
    mend: 'Ask again after a moment; GET /ready says what it waits for.',
  },
} as const satisfies Record<string, { status: number; title: string; mend: string }>;
export type ProblemCode = keyof typeof problemCatalogue;

/** A refusal of the API, thrown wherever it is found out. */
export class ApiProblem extends Error {
  override readonly name = 'ApiProblem';
  constructor(
    readonly code: ProblemCode,
    detail: string,
    readonly more: { problems?: Problem[]; headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(detail);
  }

  get status(): number {
    return problemCatalogue[this.code].status;
  }

  /** The body that says it. */
  document(): ProblemDocument {
    const { title, status, mend } = problemCatalogue[this.code];
    return {
      schema: 'plumbline.problem/1',
      type: `urn:plumbline:problem:${this.code}`,
      title,
      status,
      detail: this.message || (STATUS_CODES[status] ?? title),
      code: this.code,
      problems: this.more.problems ?? [],
      mend,
    };
  }
}
