import { readPrompts } from '@plumbline/model';

/** What the reviewer tells a model. */
export const loadPrompts = () => readPrompts(new URL('./prompts/', import.meta.url), ['rubric', 'repair']);
export type Prompts = ReturnType<typeof loadPrompts>;
