import type { Policy } from '@plumbline/domain';

/** What the fast gate looks at: the commit that is handed in, in the coder's own store. */
export interface FastGateInput {
  readonly gitDir: string;
  readonly base: string;
  readonly head: string;
  readonly tree: string;
  readonly policy: Policy;
  readonly signal: AbortSignal;
}

/** `red` goes back to the model as feedback; `error` says that the checks could not be run, which is never counted against it. */
export type FastGateResult =
  | { readonly outcome: 'green' }
  | { readonly outcome: 'red'; readonly findings: readonly string[] }
  | { readonly outcome: 'error'; readonly why: string };

/** The quick checks inside the coder's loop. The clean room afterwards believes nothing of what they said. */
export type FastGate = (input: FastGateInput) => Promise<FastGateResult>;
