import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

const names = ['system', 'no-tool-call', 'truncated', 'no-edit', 'repeat'] as const;
type PromptName = (typeof names)[number];

/** What the model is told, from files of this release, and the SHA-256 of each: a transcript names the wording it was made with. */
export interface Prompts {
  readonly text: Readonly<Record<PromptName, string>>;
  readonly digests: Readonly<Record<PromptName, string>>;
}

/** Reads the prompts; throws when one is missing, which is a broken installation. */
export function loadPrompts(): Prompts {
  const texts = names.map(
    (name) => [name, readFileSync(new URL(`./prompts/${name}.md`, import.meta.url), 'utf8').trim()] as const,
  );
  const digests = texts.map(([name, text]) => [name, createHash('sha256').update(text).digest('hex')] as const);
  return {
    text: Object.fromEntries(texts) as Record<PromptName, string>,
    digests: Object.fromEntries(digests) as Record<PromptName, string>,
  };
}
