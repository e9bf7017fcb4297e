import { StepFault, type Policy } from '@plumbline/domain';
import type { FastGate } from '@plumbline/gate';
import type { CallOutcome } from './turn-record.js';
import { UnusableTree, type WorkTree } from './work-tree.js';

/** What became of a submission: accepted, or why not, in words for the model. */
export interface HandedIn {
  readonly outcome: Extract<CallOutcome, 'accepted' | 'empty-submission' | 'red-gate' | 'error'>;
  readonly text: string;
}

/** Looks at the work tree as it is handed in. What the model says of it plays no part. */
export async function handIn(options: {
  readonly workTree: WorkTree;
  readonly base: string;
  readonly summary: string;
  readonly policy: Policy;
  readonly fastGate: FastGate | undefined;
  readonly signal: AbortSignal;
}): Promise<HandedIn> {
  const { workTree, base, policy, fastGate, signal } = options;
  const packed = await workTree.pack(commitMessage(options.summary)).catch((error: unknown) => {
    if (error instanceof UnusableTree) return error;
    throw error;
  });
  if (packed instanceof UnusableTree) return { outcome: 'error', text: `not accepted: ${packed.message}` };
  if (packed === null)
    return {
      outcome: 'empty-submission',
      text: 'not accepted: nothing changed. No file differs from what you were given.',
    };
  if (fastGate === undefined) return { outcome: 'accepted', text: 'accepted' };
  const { head, tree } = packed;
  const result = await fastGate({ gitDir: workTree.gitDir, base, head, tree, policy, signal });
  if (result.outcome === 'error') throw new StepFault('GATE_ERROR', result.why.slice(0, 1_900));
  if (result.outcome === 'green') return { outcome: 'accepted', text: 'accepted' };
  const findings = result.findings.map((finding) => `- ${finding}`).join('\n');
  return { outcome: 'red-gate', text: `not accepted: the checks found\n${findings}\nMend this and submit again.` };
}

/** A summary as a commit message: characters that neither git nor the log can store are left out. */
export function commitMessage(summary: string): string {
  return `${storable(summary).trim() || 'Change'}\n`;
}

/** Text that an event can hold: well-formed, without control characters but line ends and tabs. */
export function storable(text: string): string {
  return text.toWellFormed().replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, ' ');
}
