import { InvalidInputError } from './errors.js';

/**
 * The JSON text of a value, exactly as it will be stored and hashed. Throws InvalidInputError when the value has no JSON form, or when
 * a string in it holds NUL or half a surrogate pair: Postgres stores such `json` text but can never turn it into text again.
 */
export function jsonText(value: unknown, path: string): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    throw new InvalidInputError(path, `has no JSON form (${error instanceof Error ? error.message : String(error)})`);
  }
  if (text === undefined) throw new InvalidInputError(path, 'has no JSON form (undefined, a function or a symbol)');
  if (text.includes('\\u')) refuseUnstorableEscapes(text, path);
  return text;
}

/** JSON.stringify escapes exactly what cannot be stored: NUL (among control characters) and lone surrogates. */
function refuseUnstorableEscapes(text: string, path: string): void {
  for (const match of text.matchAll(/\\(?:u([0-9a-f]{4})|.)/gi)) {
    const code = match[1]?.toLowerCase();
    if (code === '0000') throw new InvalidInputError(path, 'contains the character NUL (\\u0000): remove it');
    if (code !== undefined && code >= 'd800' && code <= 'dfff') {
      throw new InvalidInputError(path, `contains a lone surrogate (\\u${code}): the text is not well-formed Unicode`);
    }
  }
}

const maxNameLength = 512;

/** Returns the name unchanged; throws InvalidInputError unless it is well-formed text of 1–512 characters without NUL. */
export function checkedName(value: unknown, path: string): string {
  if (typeof value !== 'string' || value.length === 0 || value.length > maxNameLength) {
    throw new InvalidInputError(path, `must be text of 1 to ${maxNameLength} characters`);
  }
  if (value.includes('\0') || !value.isWellFormed()) {
    throw new InvalidInputError(path, 'contains NUL or a lone surrogate');
  }
  return value;
}

/** Returns the number unchanged; throws InvalidInputError unless it is a whole number from `min` to `max`. */
export function checkedInteger(value: unknown, path: string, min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw new InvalidInputError(path, `must be a whole number from ${min} to ${max}, got ${String(value)}`);
  }
  return value;
}

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Returns the UUID in lower case; throws InvalidInputError for anything else. */
export function checkedUuid(value: unknown, path: string): string {
  if (typeof value !== 'string' || !uuidPattern.test(value)) throw new InvalidInputError(path, 'must be a UUID');
  return value.toLowerCase();
}

const instantPattern = /^(?!0000)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)$/;

/** Returns the instant unchanged; throws InvalidInputError unless it is RFC 3339 with at most microseconds. */
export function checkedInstant(value: unknown, path: string): string {
  if (typeof value !== 'string' || !instantPattern.test(value) || Number.isNaN(Date.parse(value))) {
    throw new InvalidInputError(
      path,
      `must be an RFC 3339 instant such as 2026-01-31T12:00:00.000Z, got ${String(value)}`,
    );
  }
  return value;
}
