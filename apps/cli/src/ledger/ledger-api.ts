import { setTimeout as sleep } from 'node:timers/promises';
import type { z } from 'zod';
import { badInput, CliError, explain, throwIfAborted } from '../failure.js';
import { plain } from '../terminal/text.js';
import {
  auditDocument,
  escalationsDocument,
  eventPage,
  taskDocument,
  taskListDocument,
  whyDocument,
  type AuditDocument,
  type EscalationsDocument,
  type EventPage,
  type TaskDocument,
  type TaskListDocument,
  type WhyDocument,
} from './documents.js';

const ANSWER_TIMEOUT_MS = 15_000;
/** While somebody follows a task, the ledger may be restarted: that long they wait for it to come back. */
const FOLLOW_PATIENCE_MS = 60_000;
const RETRY_MS = 500;
/** A long log is read event by event. */
const AUDIT_TIMEOUT_MS = 30 * 60_000;

/** What a list of tasks may be narrowed to. Instants are ISO 8601 UTC; spans hold their beginning and not their end. */
export interface TaskFilter {
  state?: string;
  verdict?: string;
  repository?: string;
  priority?: string;
  /** The beginning of the CloudEvent source, and of the id, under which a task was submitted. */
  sourcePrefix?: string;
  submissionPrefix?: string;
  submittedSince?: string;
  submittedUntil?: string;
  updatedSince?: string;
  updatedUntil?: string;
  closedSince?: string;
  closedUntil?: string;
  limit?: number;
  cursor?: string;
}

/** The read side of a running system. Every method throws CliError in one sentence when the ledger is away, refuses or answers nonsense. */
export class LedgerApi {
  readonly #url: string;
  readonly #token: string;
  readonly #signal: AbortSignal;

  constructor(options: { url: string; token: string; signal: AbortSignal }) {
    this.#url = options.url.replace(/\/+$/, '');
    this.#token = options.token;
    this.#signal = options.signal;
  }

  /** A page of the newest tasks that pass the filter, at most 1000; `next` of an answer is the `cursor` of the following page. */
  tasks(filter: TaskFilter = {}): Promise<TaskListDocument> {
    return this.#get('/v1/tasks', taskListDocument, { limit: 1_000, ...filter });
  }

  /** Every task that passes the filter, newest first, page by page. */
  async *allTasks(filter: Omit<TaskFilter, 'cursor'> = {}): AsyncGenerator<TaskListDocument['tasks'][number], void> {
    for (let cursor: string | undefined; ;) {
      const { tasks, next } = await this.tasks({ ...filter, ...(cursor === undefined ? {} : { cursor }) });
      yield* tasks;
      if (next === undefined) return;
      cursor = next;
    }
  }

  /** The task with this id or the only one whose id begins so; undefined when there is none. */
  async task(id: string): Promise<TaskDocument | undefined> {
    return this.#find(`/v1/tasks/${encodeURIComponent(id)}`, taskDocument);
  }

  /** Why a task is where it is; undefined when there is none. */
  async why(id: string): Promise<WhyDocument | undefined> {
    return this.#find(`/v1/tasks/${encodeURIComponent(id)}/why`, whyDocument);
  }

  /** Events of one task after a position, oldest first; waits up to `waitMs` when there are none yet. Undefined for no such task. */
  taskEvents(id: string, query: { after: number; waitMs: number }): Promise<EventPage | undefined> {
    return this.#find(`/v1/tasks/${encodeURIComponent(id)}/events`, eventPage, query, query.waitMs + ANSWER_TIMEOUT_MS);
  }

  /** Events of the whole log after a position, at most `limit`, oldest first; waits up to `waitMs` when there are none yet. */
  log(query: { after: number; limit: number; waitMs: number }): Promise<EventPage> {
    return this.#get('/v1/log', eventPage, query, query.waitMs + ANSWER_TIMEOUT_MS);
  }

  audit(): Promise<AuditDocument> {
    return this.#get('/v1/audit', auditDocument, {}, AUDIT_TIMEOUT_MS);
  }

  escalations(): Promise<EscalationsDocument> {
    return this.#get('/v1/escalations', escalationsDocument);
  }

  async #get<S extends z.ZodType>(
    path: string,
    schema: S,
    query: Record<string, string | number> = {},
    timeoutMs = ANSWER_TIMEOUT_MS,
  ): Promise<z.infer<S>> {
    const found = await this.#find(path, schema, query, timeoutMs);
    if (found !== undefined) return found;
    throw new CliError(
      `The ledger at ${this.#url} does not know ${path}.`,
      'Check that PLUMB_API_URL is the address of a ledger of this version.',
    );
  }

  async #find<S extends z.ZodType>(
    path: string,
    schema: S,
    query: Record<string, string | number> = {},
    timeoutMs = ANSWER_TIMEOUT_MS,
  ): Promise<z.infer<S> | undefined> {
    const response = await this.#ask(path, query, timeoutMs);
    if (response === undefined) return undefined;
    const parsed = schema.safeParse(response);
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0];
    throw unreadable(path, `${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`.trim());
  }

  async #ask(path: string, query: Record<string, string | number>, timeoutMs: number): Promise<unknown> {
    const search = new URLSearchParams(
      Object.entries(query).map(([key, value]): [string, string] => [key, String(value)]),
    );
    const address = `${this.#url}${path}${search.size === 0 ? '' : `?${search.toString()}`}`;
    try {
      const response = await fetch(address, {
        headers: { authorization: `Bearer ${this.#token}`, accept: 'application/json' },
        signal: AbortSignal.any([this.#signal, AbortSignal.timeout(timeoutMs)]),
      });
      if (response.status === 404) return undefined;
      if (!response.ok) throw await refusal(response, this.#url);
      return await response.json();
    } catch (error) {
      throwIfAborted(this.#signal);
      if (error instanceof CliError) throw error;
      throw error instanceof SyntaxError ? unreadable(path, 'it is not JSON') : unreachable(this.#url, error);
    }
  }
}

/** Runs a read again while the ledger is away, for as long as somebody who follows a task is patient. Refusals are not repeated. */
export async function patiently<T>(
  read: () => Promise<T>,
  signal: AbortSignal,
  patienceMs = FOLLOW_PATIENCE_MS,
): Promise<T> {
  for (const until = performance.now() + patienceMs; ;) {
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof LedgerUnreachable) || performance.now() > until) throw error;
      await sleep(RETRY_MS, undefined, { signal });
    }
  }
}

/** The ledger does not answer at all; it may come back. */
export class LedgerUnreachable extends CliError {}

function unreadable(path: string, why: string): CliError {
  return new CliError(
    `The ledger's answer to ${path} cannot be read: ${why}.`,
    'Check that the command line and the system are of the same version.',
  );
}

async function refusal(response: Response, url: string): Promise<CliError> {
  if (response.status === 401 || response.status === 403) {
    return new CliError(
      `The ledger at ${url} refused the token.`,
      'Correct PLUMB_API_TOKEN, or unset PLUMB_API_URL to use the system of this machine.',
    );
  }
  const body = (await response.text().catch(() => '')).slice(0, 2000);
  if (response.status === 400) return badInput(sentence(messageIn(body)), 'Correct it and try again.');
  const said = body === '' ? '' : `: ${messageIn(body)}`;
  return new CliError(
    sentence(`The ledger at ${url} answered ${response.status}${said}`),
    'Its log says more (`ledger.log` in the logs folder).',
    { retry: passing(response.status) ? 'later' : 'never' },
  );
}

/** Too slow, too busy, or broken: about the moment, not about the question. */
const passing = (status: number): boolean => status === 408 || status === 429 || status >= 500;

/** What the problem that the API answered with says happened; else the text itself. */
function messageIn(body: string): string {
  try {
    const { detail } = JSON.parse(body) as { detail?: unknown };
    if (typeof detail === 'string') return plain(detail);
  } catch {
    // Not JSON: something else answers there.
  }
  return plain(body.slice(0, 200));
}

const sentence = (text: string): string => (/[.!?]$/.test(text) ? text : `${text}.`);

function unreachable(url: string, error: unknown): LedgerUnreachable {
  const cause = error instanceof TypeError && error.cause instanceof Error ? error.cause : error;
  const late = error instanceof DOMException && error.name === 'TimeoutError';
  const why = late
    ? 'it did not answer in time'
    : plain(explain(cause).message || ((cause as { code?: string }).code ?? ''));
  return new LedgerUnreachable(
    `The ledger at ${url} cannot be reached: ${why}.`,
    'See `plumb doctor`, or start the system with `plumb up`.',
    { cause: error, retry: 'later' },
  );
}
