import type { z } from 'zod';
import { cut } from '../cut.js';
import { eventCatalogue, type PlumblineEvent } from './catalogue.js';
import { problemsOf, type Problem } from '../intake.js';

/**
 * Upcasters: from one version of a type's data to the next, pure. Empty while every type is at version 1; `codec.test.ts` proves the
 * mechanism on types of its own.
 */
export type Upcasters = Readonly<Record<string, Readonly<Record<number, (data: unknown) => unknown>>>>;
export const upcasters: Upcasters = {};

export type Decoded =
  | { outcome: 'event'; event: PlumblineEvent }
  /** A type or version this build does not know, e.g. written by a newer one: readers skip it, deciders refuse to decide. */
  | { outcome: 'unknown'; type: string; schemaVersion: number }
  | { outcome: 'invalid'; type: string; problems: Problem[] };

/** What decoding needs to know of a type: its current version and the schema of its data. */
export type Schemas = Readonly<Record<string, { version: number; data: z.ZodType }>>;

/** Brings recorded data to the current version of its type and checks it. Never throws on data. */
export function decodeEvent(
  recorded: { type: string; schemaVersion: number; data: unknown },
  steps: Upcasters = upcasters,
  schemas: Schemas = eventCatalogue,
): Decoded {
  const { type, schemaVersion } = recorded;
  const entry = Object.hasOwn(schemas, type) ? schemas[type] : undefined;
  if (entry === undefined || !Number.isInteger(schemaVersion) || schemaVersion < 1 || schemaVersion > entry.version)
    return { outcome: 'unknown', type, schemaVersion };
  let data = recorded.data;
  for (let version = schemaVersion; version < entry.version; version++) {
    const step = steps[type]?.[version];
    if (step === undefined) throw new Error(`no upcaster from version ${version} of ${type}`);
    try {
      data = step(data);
    } catch (error) {
      const expected = `data that can be brought from version ${version} on: ${String(error)}`;
      return {
        outcome: 'invalid',
        type,
        problems: [{ field: '(whole document)', value: `version ${version}`, expected: cut(expected, 1000) }],
      };
    }
  }
  const parsed = entry.data.safeParse(data);
  if (!parsed.success) return { outcome: 'invalid', type, problems: problemsOf(parsed.error, data) };
  return { outcome: 'event', event: { type, data: parsed.data } as PlumblineEvent };
}
