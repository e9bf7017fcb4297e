import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** What models are told, from files of this release, and the SHA-256 of each: a transcript names the wording it was made with. */
export interface Prompts<Name extends string> {
  readonly text: Readonly<Record<Name, string>>;
  readonly digests: Readonly<Record<Name, string>>;
}

/** Reads `<name>.md` of each name from a folder. Throws when one is missing, which is a broken installation. */
export function readPrompts<const Name extends string>(folder: URL, names: readonly Name[]): Prompts<Name> {
  const texts = names.map((name) => [name, readFileSync(new URL(`${name}.md`, folder), 'utf8').trim()] as const);
  const digests = texts.map(([name, text]) => [name, createHash('sha256').update(text).digest('hex')] as const);
  return {
    text: Object.fromEntries(texts) as Record<Name, string>,
    digests: Object.fromEntries(digests) as Record<Name, string>,
  };
}
