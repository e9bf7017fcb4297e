import type { Sandbox, Toolchain } from '@plumbline/sandbox';
import type { z } from 'zod';

/** What a tool may touch: the work tree, and a sandbox to run things in. */
export interface ToolContext {
  /** Real path of the work tree. */
  readonly treeDir: string;
  readonly sandbox: Sandbox;
  readonly toolchain: Toolchain | null;
  readonly signal: AbortSignal;
}

/** What the model asks for beyond an answer: to hand in its work, or to say that it will not. */
export type Ending =
  { readonly kind: 'submit'; readonly summary: string } | { readonly kind: 'decline'; readonly reason: string };

/** The answer of a tool. `error` is an answer to the model (it asked for something that is not there), never a fault of the tool. */
export interface ToolAnswer {
  readonly outcome: 'ok' | 'error';
  /** In full; what the model is shown of it is cut elsewhere. */
  readonly text: string;
  readonly ending?: Ending;
}

/** A tool as offered to the model. Its JSON Schema is made from `parameters`, so that what is offered is what is checked. */
export interface Tool<Arguments = unknown> {
  readonly name: string;
  readonly description: string;
  readonly parameters: z.ZodType<Arguments>;
  /** Whether it may change the work tree; looked at after each call. */
  readonly writes: boolean;
  /** Throws only when this machine fails. */
  answer(args: Arguments, context: ToolContext): Promise<ToolAnswer>;
}

export const ok = (text: string): ToolAnswer => ({ outcome: 'ok', text });
export const error = (text: string): ToolAnswer => ({ outcome: 'error', text });
