import { exitCodes } from '../failure.js';
import type { AuditDocument } from '../ledger/documents.js';
import type { DemoTask, OpenEscalation } from './tasks.js';

/** What was found when both tasks had come to rest. */
export interface DemoFindings {
  readonly tasks: readonly DemoTask[];
  readonly audit: AuditDocument;
  /** Branches at the origin, read back from it, with their commits. */
  readonly branches: ReadonlyMap<string, string>;
  readonly escalations: readonly OpenEscalation[];
  readonly scripted: boolean;
}

/**
 * What is not as it must be, one sentence each; empty when the demo shows what it promises. With a real model the verdicts are the
 * model's own affair; what the harness promises holds all the same: only GO publishes, and the log is whole.
 */
export function brokenPromises(findings: DemoFindings): string[] {
  return [
    ...(findings.scripted ? scriptedPromises(findings) : []),
    ...findings.tasks.flatMap((task) => publishingPromises(task, findings)),
    ...strangers(findings),
    ...(findings.audit.ok
      ? []
      : [`the audit of the log failed: ${findings.audit.firstBad?.what ?? 'it did not say where'}`]),
  ];
}

function scriptedPromises({ tasks, escalations }: DemoFindings): string[] {
  const fix = tasks.find(({ name }) => name === 'fix');
  const trap = tasks.find(({ name }) => name === 'trap');
  const reasons = new Set(trap?.progress.reasons.map(({ check }) => check));
  return [
    ...(fix?.progress.verdict === 'GO' ? [] : [`the fix is ${fix?.progress.verdict ?? 'without verdict'}, not GO`]),
    ...(trap?.progress.verdict === 'NO-GO'
      ? []
      : [`the trap is ${trap?.progress.verdict ?? 'without verdict'}, not NO-GO`]),
    ...['scope', 'evidence'].flatMap((check) =>
      reasons.has(check) ? [] : [`${check} is not among the reasons against the trap`],
    ),
    ...(escalations.some(({ task, to }) => task === trap?.id && to === 'human')
      ? []
      : ['no escalation of the trap waits for a human']),
  ];
}

function publishingPromises({ name, progress, head }: DemoTask, { branches }: DemoFindings): string[] {
  const { verdict, branch } = progress;
  const went = verdict === 'GO';
  if (went && branch === undefined) return [`${name} is GO and no branch was published`];
  if (went && branches.get(branch ?? '') !== head)
    return [`the branch ${branch ?? ''} is not at the origin as the log says`];
  if (!went && branch !== undefined) return [`${name} is not GO and yet ${branch} was published`];
  return [];
}

/** Branches at the origin that no GO accounts for. */
function strangers({ tasks, branches }: DemoFindings): string[] {
  const accounted = new Set([
    'main',
    ...tasks.flatMap(({ progress }) => (progress.verdict === 'GO' ? [progress.branch] : [])),
  ]);
  return [...branches.keys()]
    .filter((branch) => !accounted.has(branch))
    .map((branch) => `the branch ${branch} is at the origin without a GO`);
}

/** The log as `plumbline.demo/1` states it. What a failed audit does not say to be sound is called broken. */
export function logState(audit: AuditDocument): {
  events: number;
  positions: 'dense' | 'broken';
  chain: 'ok' | 'broken';
} {
  const what = audit.firstBad?.what ?? '';
  const chainOnly = /chain|hash/i.test(what);
  return {
    events: audit.events,
    positions: audit.ok || chainOnly ? 'dense' : 'broken',
    chain: audit.ok ? 'ok' : 'broken',
  };
}

/** 0 only when every promise is kept. */
export const demoExitCode = (broken: readonly string[]): number =>
  broken.length === 0 ? exitCodes.ok : exitCodes.refused;
