import type { Retry } from './errors.js';

/** Why a request was refused or failed. */
export interface ReplyError {
  /** Stable, kebab-case. */
  readonly code: string;
  /** Names the thing, what was expected and what to do. */
  readonly message: string;
  readonly retry: Retry;
  readonly details?: unknown;
}

/** The body of every reply on the bus. */
export type Reply<T = unknown> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: ReplyError };

/** A refusal as a value. */
export function refuse(code: string, message: string, retry: Retry, details?: unknown): Reply<never> {
  return { ok: false, error: { code, message, retry, ...(details === undefined ? {} : { details }) } };
}

/** The reply in a message body; undefined if it is none. */
export function readReply(value: unknown): Reply | undefined {
  if (value === null || typeof value !== 'object') return undefined;
  const { ok, error } = value as { ok?: unknown; error?: unknown };
  if (ok === true) return { ok: true, value: (value as { value?: unknown }).value ?? null };
  if (ok !== false || error === null || typeof error !== 'object') return undefined;
  const { code, message, retry, details } = error as Record<string, unknown>;
  if (typeof code !== 'string' || typeof message !== 'string' || (retry !== 'later' && retry !== 'never'))
    return undefined;
  return refuse(code, message, retry, details);
}
