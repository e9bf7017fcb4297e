import { expect } from 'vitest';
import {
  decide,
  effectsOf,
  eventCatalogue,
  evolve,
  initialTask,
  liveSteps,
  parseStepId,
  type Decision,
  type FaultCode,
  type PlumblineEvent,
  type StepState,
  type TaskInput,
  type TaskState,
} from '../src/index.js';
import { aModel, aSubmission, failureOf, successOf, taskId } from './builders.js';

/**
 * One task with what the ledger keeps of it: its history, timers, open steps and grants. Decisions are committed together with their
 * effects, as the ledger does; facts are recorded as they come.
 */
export class World {
  state: TaskState = initialTask;
  readonly events: PlumblineEvent[] = [];
  readonly timers = new Map<string, { kind: 'deadline' | 'retry'; step: string }>();
  readonly opened = new Set<string>();
  readonly closedSteps = new Set<string>();
  grants = new Set<string>();

  /** A fact of a worker, a lease or a timer: recorded, not yet looked at. */
  record(...events: PlumblineEvent[]): this {
    for (const event of events) {
      const parsed = eventCatalogue[event.type].data.safeParse(event.data);
      expect(parsed.success ? [] : [event.type, parsed.error.issues]).toEqual([]);
      this.state = evolve(this.state, event);
      this.events.push(event);
    }
    return this;
  }

  decide(input: TaskInput): Decision {
    const before = this.state;
    const decision = decide(before, input);
    if (decision.outcome === 'refused') return decision;
    const effects = effectsOf(before, decision.events);
    this.record(...decision.events);
    for (const id of effects.cancelTimers) this.timers.delete(id);
    if (effects.cancelAllTimers) this.timers.clear();
    for (const timer of effects.setTimers) this.timers.set(timer.timerId, { kind: timer.kind, step: timer.step });
    for (const step of effects.openSteps) {
      expect(this.opened.has(step), `${step} is opened twice`).toBe(false);
      this.opened.add(step);
    }
    for (const step of effects.closeSteps)
      for (const id of step === '*' ? this.opened : [step]) this.closedSteps.add(id);
    if (input.kind === 'seat' && decision.events.length > 0) this.grants.add(input.model.grantId);
    this.grants = new Set([...this.grants].filter((grant) => effects.grantsKept.includes(grant)));
    return decision;
  }

  observe(): PlumblineEvent[] {
    const decision = this.decide({ kind: 'observe' });
    return decision.outcome === 'accepted' ? decision.events : [];
  }

  fire(kind: 'deadline' | 'retry', step: string): void {
    const timerId = `${taskId}:${step}:${kind}`;
    this.timers.delete(timerId);
    this.record({ type: 'timer.fired', data: { timerId, kind, data: { step } } });
  }

  step(id: string): StepState {
    const step = this.state.steps[id];
    if (step === undefined)
      throw new Error(`there is no step ${id}; there are ${Object.keys(this.state.steps).join(' ')}`);
    return step;
  }

  submit(overrides: Parameters<typeof aSubmission>[0] = {}): this {
    this.decide({ kind: 'submit', submitted: aSubmission(overrides) });
    return this;
  }

  seat(id: string, family = 'qwen'): this {
    const { kind } = parseStepId(id);
    const model = aModel({
      name: kind === 'coding' ? 'coder-30b' : `reviewer-${family}`,
      family,
      grantId: `${taskId}.${id}`,
    });
    expect(this.decide({ kind: 'seat', step: id, model })).toMatchObject({ outcome: 'accepted' });
    return this;
  }

  succeed(id: string, options: Parameters<typeof successOf>[2] = {}): this {
    this.record(...successOf(this.state, this.step(id), options));
    this.observe();
    return this;
  }

  fail(id: string, code: FaultCode, detail?: string): this {
    this.record(failureOf(this.step(id), code, detail));
    this.observe();
    return this;
  }

  /** Drives attempt `n` from its waiting coding step to its verdict, with the strict one-seat panel. */
  attempt(n: number, options: Parameters<typeof successOf>[2] = {}): this {
    this.seat(`coding.${n}.1`).succeed(`coding.${n}.1`).succeed(`gating.${n}.1`, options);
    return this.seat(`review.${n}.1.concluder`, 'glm').succeed(`review.${n}.1.concluder`, options);
  }

  get live(): string[] {
    return liveSteps(this.state).map((step) => `${step.id}:${step.status}`);
  }

  get types(): string[] {
    return this.events.map((event) => event.type);
  }
}
