import { describe, expect, it } from 'vitest';
import { check } from './checker.js';
import { planOf } from './plan.js';
import { describeFault } from './report.js';
import { runPlan } from './run.js';

/** The short form of `npm run faults`: one system, a fixed schedule. The seed was chosen for what it holds: kills of all services, and servers. */
describe('the fault suite, short form', () => {
  it('loses nothing and doubles nothing', async () => {
    const plan = planOf({ seed: 'short', faults: 16, tasks: 6 });
    const run = await runPlan({ plan, onProgress: () => undefined, patienceMs: 25_000 });
    let sound = false;
    try {
      const { findings, outcome } = check(run.history);
      expect(findings, `logs and states: ${run.folder}`).toEqual([]);
      expect([outcome, run.givenUp]).toEqual(['held', undefined]);
      const notSeen = run.history.faults.filter((record) => record.outcome === 'missed');
      expect(notSeen.map(({ fault, evidence }) => `${describeFault(fault)}: ${evidence}`)).toEqual([]);
      sound = true;
    } finally {
      await run.close(!sound);
    }
  }, 300_000);
});
