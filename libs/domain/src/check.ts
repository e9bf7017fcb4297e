import { z } from 'zod';
import { artifactRefSchema, objectIdSchema } from './names.js';

/** Every check the gate knows, in the order of the catalogue. The rails on reviews have their own ids ({@link railIds}). */
export const checkIds = [
  'format',
  'lint',
  'types',
  'build',
  'tests',
  'bite',
  'lost-test',
  'skip-marker',
  'old-tests',
  'assertion-erosion',
  'assertion-free',
  'runner-tamper',
  'special-casing',
  'placeholder-value',
  'fixture-churn',
  'changed-line-coverage',
  'tautology',
  'subject-mocked',
  'unwired',
  'half-wired',
  'name-parity',
  'caller-impact',
  'deleted-reference',
  'no-op',
  'scope',
  'claims',
  'size',
  'secrets',
  'dependencies',
  'generated',
  'harness-config',
  'unsafe-path',
  'git-surface',
  'binary',
  'hidden-unicode',
  'license',
  'dirty-tree',
  'network',
  'suppression',
  'provenance',
] as const;
export const checkIdSchema = z.enum(checkIds);
export type CheckId = z.infer<typeof checkIdSchema>;

export const railIds = ['evidence', 'grounding', 'coverage', 'verdict-from-findings', 'empty-claim', 'panel'] as const;
export const railIdSchema = z.enum(railIds);
export type RailId = z.infer<typeof railIdSchema>;

/** What a reason of a verdict may name: a check, a rail, or one of the two things that come before both. */
export const reasonIdSchema = z.enum([...checkIds, ...railIds, 'attempt', 'gate']);
export type ReasonId = z.infer<typeof reasonIdSchema>;

export const findingSchema = z.strictObject({
  path: z.string().max(4096).optional(),
  line: z.int().min(1).optional(),
  message: z.string().min(1).max(2000),
});
export type Finding = z.infer<typeof findingSchema>;

export const outcomeSchema = z.enum(['pass', 'fail', 'unknown', 'not-applicable']);
export type Outcome = z.infer<typeof outcomeSchema>;

/**
 * What one check concluded about one tree. `unknown` means that the check could not tell (missing tool, fault of the machine): it is
 * never a pass. `not-applicable` counts only together with the `predicate` that showed it.
 */
export const checkResultSchema = z.strictObject({
  check: checkIdSchema,
  /** Version of the rule, so that a recorded result says which rule it is a result of. */
  version: z.int().min(1),
  /** The tree the result is about. A result about another tree is no evidence. */
  tree: objectIdSchema,
  outcome: outcomeSchema,
  summary: z.string().min(1).max(500),
  predicate: z.string().max(500).optional(),
  findings: z.array(findingSchema).max(200),
  evidence: z.array(artifactRefSchema).max(20),
  durationMs: z.number().min(0),
});
export type CheckResult = z.infer<typeof checkResultSchema>;
