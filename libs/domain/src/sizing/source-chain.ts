import { whole } from './refusal.js';

/** Where a figure can come from, most trusted first. */
export const sizeSources = [
  'measured',
  'oracle',
  'local-header',
  'remote-header',
  'content-length',
  'declared',
] as const;
export type SizeSource = (typeof sizeSources)[number];

/** One step of the chain: what it yielded or why it did not. */
export interface ChainStep {
  readonly source: SizeSource;
  readonly outcome: 'used' | 'failed' | 'skipped';
  readonly reason: string;
}

/**
 * How far a figure is to be trusted. `exact`: weights and caches to the byte, the rest bounded. `bounded`: parts of it were never checked against
 * a server. `declared`: somebody said so.
 */
export type Confidence = 'exact' | 'bounded' | 'declared';

const MiB = 1024 * 1024;

/** Bytes added to a figure for what its source cannot know: a header's formula 5 % and 256 MiB, llama.cpp's own figure 2 %, a declaration nothing. */
export function marginBytes(source: SizeSource, bytes: number): number {
  switch (source) {
    case 'measured':
      return whole(Math.ceil(bytes * 0.03), 'the margin');
    case 'oracle':
      return whole(Math.ceil(bytes * 0.02), 'the margin');
    case 'local-header':
    case 'remote-header':
    case 'content-length':
      return whole(Math.ceil(bytes * 0.05) + 256 * MiB, 'the margin');
    case 'declared':
      return 0;
  }
}
