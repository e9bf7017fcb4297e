import { readPrompts } from '@plumbline/model';

/** What the coder tells a model. */
export const loadPrompts = () =>
  readPrompts(new URL('./prompts/', import.meta.url), ['system', 'no-tool-call', 'truncated', 'no-edit', 'repeat']);
export type Prompts = ReturnType<typeof loadPrompts>;
