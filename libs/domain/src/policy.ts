import { z } from 'zod';
import { checkIds, checkIdSchema, type CheckId } from './check.js';
import { seatSchema } from './names.js';

/** What a failed check does to the verdict: NO-GO; GO becomes INCOMPLETE; or it is only shown. */
export const effectSchema = z.enum(['block', 'demote', 'advise']);
export type Effect = z.infer<typeof effectSchema>;

const deadline = z
  .int()
  .min(1_000)
  .max(24 * 3_600_000);

/**
 * Everything the process manager and the verdict are allowed to depend on besides the facts. A policy is data: it is recorded whole with
 * the task, so that a verdict can be recomputed, and replaced by another to re-judge history.
 */
export const policySchema = z
  .strictObject({
    name: z.string().regex(/^[a-z][a-z0-9-]{0,39}$/),
    /** Checks that must pass, or be shown not to apply, for GO. */
    required: z.array(checkIdSchema).max(checkIds.length),
    effects: z.partialRecord(checkIdSchema, effectSchema),
    panel: z.strictObject({
      seats: z.array(z.strictObject({ seat: seatSchema, canVouch: z.boolean() })).max(8),
      /** Approvals with verified evidence that GO needs. 0 = no review is asked for. */
      approvalsMin: z.int().min(0).max(8),
      /** Distinct model families among those approvals. */
      familiesMin: z.int().min(0).max(8),
    }),
    attempts: z.strictObject({
      /** How many attempts each tier gets. The number of entries is the number of tiers; after the last comes a human. */
      perTier: z.array(z.int().min(1).max(5)).min(1).max(5),
    }),
    deadlines: z.strictObject({
      snapshotMs: deadline,
      codingMs: deadline,
      gatingMs: deadline,
      reviewMs: deadline,
      publishingMs: deadline,
    }),
    coder: z.strictObject({ turnsMax: z.int().min(1).max(500), gateRoundsMax: z.int().min(0).max(10) }),
  })
  .superRefine((policy, ctx) => {
    for (const check of policy.required) {
      if (policy.effects[check] === 'advise') {
        ctx.addIssue({
          code: 'custom',
          path: ['effects', check],
          message: `${check} is required, so its effect must be block or demote`,
        });
      }
    }
    const vouching = policy.panel.seats.filter((s) => s.canVouch).length;
    if (policy.panel.approvalsMin > vouching) {
      ctx.addIssue({
        code: 'custom',
        path: ['panel', 'approvalsMin'],
        message: `asks for ${policy.panel.approvalsMin} approvals, but only ${vouching} seats can vouch`,
      });
    }
    if (policy.panel.familiesMin > policy.panel.approvalsMin) {
      ctx.addIssue({
        code: 'custom',
        path: ['panel', 'familiesMin'],
        message: 'asks for more families than approvals',
      });
    }
    if (new Set(policy.panel.seats.map((s) => s.seat)).size !== policy.panel.seats.length) {
      ctx.addIssue({ code: 'custom', path: ['panel', 'seats'], message: 'names a seat twice' });
    }
  });
export type Policy = z.infer<typeof policySchema>;

/** Effects shared by the shipped policies: what the catalogue of checks recommends. A check that is not listed blocks. */
const catalogueEffects: Partial<Record<CheckId, Effect>> = {
  'assertion-erosion': 'demote',
  'special-casing': 'demote',
  'placeholder-value': 'demote',
  'fixture-churn': 'demote',
  'changed-line-coverage': 'demote',
  'subject-mocked': 'demote',
  'half-wired': 'demote',
  'name-parity': 'demote',
  'caller-impact': 'advise',
  claims: 'demote',
  size: 'demote',
  'harness-config': 'demote',
  binary: 'demote',
  license: 'demote',
  network: 'demote',
  suppression: 'demote',
};

const base = {
  panel: { seats: [{ seat: 'concluder', canVouch: true }], approvalsMin: 1, familiesMin: 1 },
  attempts: { perTier: [2] },
  deadlines: {
    snapshotMs: 600_000,
    codingMs: 7_200_000,
    gatingMs: 3_600_000,
    reviewMs: 3_600_000,
    publishingMs: 600_000,
  },
  coder: { turnsMax: 60, gateRoundsMax: 3 },
};

/** The shipped policies. `strict` is for changes written by models, `standard` for `plumb check`, `advisory` never blocks but on tests. */
export const shippedPolicies: Readonly<Record<'strict' | 'standard' | 'advisory', Policy>> = {
  strict: { ...base, name: 'strict', required: ['build', 'tests', 'scope'], effects: catalogueEffects },
  standard: {
    ...base,
    name: 'standard',
    required: ['build', 'tests', 'scope'],
    effects: { ...catalogueEffects, scope: 'demote', format: 'advise', lint: 'advise' },
    panel: { seats: [], approvalsMin: 0, familiesMin: 0 },
  },
  advisory: {
    ...base,
    name: 'advisory',
    required: ['tests'],
    effects: { ...Object.fromEntries(checkIds.map((id) => [id, 'advise'])), tests: 'block' } as Record<CheckId, Effect>,
    panel: { seats: [], approvalsMin: 0, familiesMin: 0 },
  },
};

/** The effect of a failed check under a policy: `block` where the policy is silent, so that an unlisted check fails closed. */
export function effectOf(policy: Policy, check: CheckId): Effect {
  return policy.effects[check] ?? 'block';
}
