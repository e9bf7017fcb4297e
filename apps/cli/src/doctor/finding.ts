/** One thing that was looked at: what was found in one sentence, and how to mend it unless it is in order. */
export interface Finding {
  readonly what: string;
  readonly state: 'ok' | 'warning' | 'broken';
  readonly mend?: string;
}

export const ok = (what: string): Finding => ({ what, state: 'ok' });
export const warning = (what: string, mend: string): Finding => ({ what, state: 'warning', mend });
export const broken = (what: string, mend: string): Finding => ({ what, state: 'broken', mend });

/** Where to look. `root` is the checkout. */
export interface Place {
  readonly root: string;
  readonly env: NodeJS.ProcessEnv;
}

/** Looks at one part of the machine. Imports what it needs itself, so that a missing package stops no other look. */
export type Look = (place: Place) => Promise<Finding[]>;

/** What an error says, in one sentence's worth of text. */
export function reason(error: unknown): string {
  const inner = error instanceof AggregateError ? (error.errors[0] as unknown) : error;
  const text = inner instanceof Error ? inner.message || inner.name : String(inner);
  return (text.split('\n')[0] ?? '').replace(/[.\s]+$/, '');
}
