import { cut, digestSchema } from '@plumbline/domain';
import { z } from 'zod';

/** What parameters of the API look like. Each takes the text of a URL and gives the value; the OpenAPI document shows the value. */

const positionMax = Number.MAX_SAFE_INTEGER;

/** A whole decimal number in a range; no signs, spaces, exponents. */
export function wholeNumber(min: number, max: number) {
  const expected = `a whole number from ${min} to ${max}`;
  return z
    .string(expected)
    .regex(/^(0|[1-9]\d{0,15})$/, expected)
    .transform(Number)
    .pipe(z.int(expected).min(min, expected).max(max, expected));
}

export const position = wholeNumber(0, positionMax);

/** An instant in UTC. At most nanoseconds. */
export const instant = z
  .string()
  .regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?Z$/, 'an instant in UTC such as 2026-11-20T09:30:00.000Z')
  .refine((text) => !Number.isNaN(Date.parse(text)), 'an instant that exists')
  .meta({ format: 'date-time' });

/** Text that is compared with what was recorded. */
export const comparedText = (charsMax: number) =>
  z
    .string()
    .min(1, 'at least one character')
    .max(charsMax, `at most ${charsMax} characters`)
    .refine((text) => !text.includes('\0') && text.isWellFormed(), 'well-formed text without NUL characters');

/** A task's id, or the beginning of one that no other task's id has; with or without its `t-`. */
export const taskRef = z
  .string()
  .regex(/^(t-)?[0-9a-z]{1,26}$/, 'a task id, or its beginning: t- and up to 26 characters of 0-9 a-z');

export const escalationRef = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/, 'an escalation id: 1-100 of A-Z a-z 0-9 . _ -');

export const digest = digestSchema;

export const limit = (standard: number, max: number) => wholeNumber(1, max).default(standard);
export const cursor = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,200}$/, 'the `next` of an answer to the same query')
  .optional();
export const waitMs = wholeNumber(0, 25_000).default(0);

/** A value of a request, short enough to be quoted to whoever sent it. */
export const quoted = (text: string): string => JSON.stringify(cut(text.toWellFormed(), 60));
