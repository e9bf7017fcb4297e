import { describe, expect, it } from 'vitest';
import { check } from './checker.js';
import { planOf, type Fault, type Plan } from './plan.js';
import { describeFault } from './report.js';
import { runPlan } from './run.js';

/** One kill of every kind of service where it hurts most, and one of each family of other faults. */
const chosen: ReadonlySet<string> = new Set([
  ...['ledger append.committed', 'ledger relay.published', 'scheduler decision.recorded', 'coder step.fact-recorded'],
  ...['gate step.worked', 'reviewer step.acknowledged', 'code-host publish.pushed', 'node-agent fact.spooled'],
  ...['zombie', 'double', 'nats-wipe', 'postgres-kill'],
]);
const nameOf = (fault: Fault): string =>
  fault.kind === 'kill' ? `${fault.process.split('/')[0] ?? ''} ${fault.failpoint}` : fault.kind;

/** Of a seed's schedule what is chosen here, in its order; kills at the first passage, because there are few tasks. */
function shortPlan(seed: string): Plan {
  const plan = planOf({ seed, tasks: 6 });
  const isChosen = (fault: Fault): boolean => chosen.has(nameOf(fault));
  const chains = Object.fromEntries(
    Object.entries(plan.chains).map(([process, chain]) => [
      process,
      (chain ?? []).filter(isChosen).map((fault) => (fault.kind === 'kill' ? { ...fault, hit: 1 } : fault)),
    ]),
  );
  const house = plan.house.filter(isChosen);
  const faults = house.length + Object.values(chains).reduce((sum, chain) => sum + chain.length, 0);
  return { ...plan, chains, house, faults, wanted: faults };
}

describe('the fault suite, short form', () => {
  it('loses nothing and doubles nothing', async () => {
    const plan = shortPlan('1');
    expect(plan.faults).toBe(chosen.size);
    const run = await runPlan({ plan, onProgress: () => undefined });
    let sound = false;
    try {
      const { findings, outcome } = check(run.history);
      expect(findings, `seed ${plan.seed}; logs and states: ${run.folder}`).toEqual([]);
      expect([outcome, run.givenUp]).toEqual(['held', undefined]);
      const notSeen = run.history.faults.filter((record) => record.outcome !== 'injected');
      expect(notSeen.map(({ fault, evidence }) => `${describeFault(fault)}: ${evidence}`)).toEqual([]);
      sound = true;
    } finally {
      await run.close(!sound);
    }
  }, 400_000);
});
