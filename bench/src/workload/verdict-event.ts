import type { EventData } from '@plumbline/domain';

/** A verdict of the size of an ordinary event (about half a KiB): what the append benchmarks record, and what the bare INSERTs insert. */
export const verdictReached = {
  type: 'verdict.reached',
  schemaVersion: 1,
  data: {
    attempt: 1,
    policy: 'standard',
    subject: { base: 'a1'.repeat(20), head: 'b2'.repeat(20), tree: 'c3'.repeat(20) },
    judgement: {
      verdict: 'NO-GO',
      reasons: [
        {
          check: 'tests',
          effect: 'block',
          summary: 'two tests of src/price.test.ts fail on the change and pass without it',
          evidence: ['src/price.test.ts > total > rounds once', 'src/price.test.ts > total > keeps cents'],
        },
      ],
      advice: [],
    },
  } satisfies EventData<'verdict.reached'>,
  meta: { actor: 'scheduler', commandId: '3f0a6f3e-7a44-5b0e-9d0e-6f1f1c1f2a3b' },
};
