import { stepEndings } from './log-eye.js';
import type { History, LogEvent, SubmittedTask } from './history.js';
import { expectations, slowTurnMs } from './tasks.js';

/** Something that must never be. */
export interface Finding {
  invariant: InvariantName;
  /** The task, step, branch or process it is about. */
  subject: string;
  detail: string;
}

/** `unknown`: there was too little to look at; it never counts as held. */
export interface CheckResult {
  outcome: 'held' | 'violated' | 'unknown';
  findings: Finding[];
  /** How many things each invariant looked at. */
  looked: Record<InvariantName, number>;
}

/** One rule over a history: what it looked at, and what it found wrong. */
type Invariant = (history: History, index: Index) => { looked: number; findings: Omit<Finding, 'invariant'>[] };

/** The log sorted by what it is about. */
interface Index {
  byTask: Map<string, LogEvent[]>;
}

const taskOf = (event: LogEvent): string | undefined =>
  event.streamId.startsWith('task-') ? event.streamId.slice('task-'.length) : undefined;
const text = (event: LogEvent | undefined, key: string): string => String(event?.data[key] ?? '');
const ofType = (events: readonly LogEvent[], type: string): LogEvent[] => events.filter((event) => event.type === type);

const dense: Invariant = ({ events }) => {
  const findings = events.flatMap(({ pos }, at) =>
    pos === at + 1 ? [] : [{ subject: `position ${pos}`, detail: `expected position ${at + 1}` }],
  );
  return { looked: events.length, findings: findings.slice(0, 3) };
};

const streamsWhole: Invariant = ({ events }) => {
  const versions = new Map<string, number>();
  const findings: Omit<Finding, 'invariant'>[] = [];
  for (const { streamId, version, pos } of events) {
    const expected = (versions.get(streamId) ?? 0) + 1;
    if (version !== expected)
      findings.push({ subject: streamId, detail: `version ${version} at ${pos}, expected ${expected}` });
    versions.set(streamId, version);
  }
  return { looked: versions.size, findings };
};

const chain: Invariant = ({ audit, events }) => ({
  looked: audit.events,
  findings: [
    ...(audit.ok ? [] : [{ subject: 'the chain', detail: audit.detail ?? 'the audit failed' }]),
    ...(audit.events === events.length
      ? []
      : [{ subject: 'the chain', detail: `${audit.events} events audited, ${events.length} read` }]),
  ],
});

const noneLost: Invariant = ({ tasks }, { byTask }) => ({
  looked: tasks.length,
  findings: tasks.flatMap(({ key, taskId }) => {
    if (taskId === undefined) return [{ subject: key, detail: 'it was handed in and never answered' }];
    const submitted = ofType(byTask.get(taskId) ?? [], 'task.submitted').length;
    return submitted > 0 ? [] : [{ subject: key, detail: `it was answered with ${taskId}, which is not in the log` }];
  }),
});

const noneDoubled: Invariant = ({ tasks }, { byTask }) => {
  const known = new Set(tasks.flatMap(({ taskId }) => taskId ?? []));
  return {
    looked: tasks.length,
    findings: [
      ...tasks
        .filter(({ answers }) => new Set(answers).size > 1)
        .map(({ key, answers }) => ({
          subject: key,
          detail: `one submission, answered with ${answers.join(' and ')}`,
        })),
      ...[...byTask].flatMap(([taskId, events]) => {
        const submitted = ofType(events, 'task.submitted').length;
        if (submitted > 1) return [{ subject: taskId, detail: `submitted ${submitted} times` }];
        return known.has(taskId) ? [] : [{ subject: taskId, detail: 'a task that nobody handed in' }];
      }),
    ],
  };
};

const endedOnce: Invariant = ({ tasks }, { byTask }) => ({
  looked: tasks.length,
  findings: tasks.flatMap((task) => {
    const events = byTask.get(task.taskId ?? '') ?? [];
    const closed = ofType(events, 'task.closed');
    const { end } = expectations[task.kind];
    const found = closed.length > 0 ? closed.map((event) => text(event, 'outcome')).join(' and ') : standing(events);
    return found === end ? [] : [{ subject: named(task), detail: `it ended as ${found}, expected ${end}` }];
  }),
});

/** How a task stands that was not closed. */
function standing(events: readonly LogEvent[]): string {
  const opened = ofType(events, 'escalation.opened').filter((event) => text(event, 'to') === 'human');
  const resolved = ofType(events, 'escalation.resolved').length;
  if (opened.length === resolved + 1) return opened.length === 1 ? 'escalated' : `escalated ${opened.length} times`;
  return events.length === 0 ? 'nothing' : `open, last ${events.at(-1)?.type ?? ''}`;
}

const rightVerdict: Invariant = ({ tasks }, { byTask }) => ({
  looked: tasks.length,
  findings: tasks.flatMap((task) => {
    const expected = expectations[task.kind].verdict;
    const verdicts = ofType(byTask.get(task.taskId ?? '') ?? [], 'verdict.reached').map((event) => verdictOf(event));
    const wanted = expected === null ? [] : [expected];
    return String(verdicts) === String(wanted)
      ? []
      : [{ subject: named(task), detail: `its verdicts are [${String(verdicts)}], expected [${String(wanted)}]` }];
  }),
});

const verdictOf = (event: LogEvent | undefined): string =>
  String((event?.data['judgement'] as { verdict?: string } | undefined)?.verdict ?? 'none');
const headOf = (event: LogEvent | undefined): { head?: string; tree?: string } =>
  (event?.data['subject'] as { head?: string; tree?: string } | null | undefined) ?? {};

/** No branch without GO on exactly that tree, or a human's ruling on exactly that attempt. Verdicts that a restore took back count: they were recorded when it was pushed. */
const branchesAllowed: Invariant = ({ branches, pushes, lost }, { byTask }) => ({
  looked: pushes.length,
  findings: [
    ...branches.flatMap(({ branch, commit, tree }) => {
      const taskId = branch.replace(/^plumbline\//, '');
      const events = [...(byTask.get(taskId) ?? []), ...lost.filter((event) => taskOf(event) === taskId)];
      const judged = ofType(events, 'verdict.reached').filter((event) => {
        const subject = headOf(event);
        return subject.head === commit && subject.tree === tree;
      });
      const allowed = judged.some(
        (event) =>
          verdictOf(event) === 'GO' ||
          ofType(events, 'task.ruled').some(
            (ruling) => text(ruling, 'decision') === 'go' && text(ruling, 'attempt') === text(event, 'attempt'),
          ),
      );
      return allowed
        ? []
        : [{ subject: branch, detail: `it is at ${commit}, which no recorded GO and no ruling allows` }];
    }),
    ...pushes
      .filter(({ branch }) => !branches.some((known) => known.branch === branch))
      .map(({ branch }) => ({ subject: branch, detail: 'it was pushed and is not there' })),
  ],
});

/** A branch is pushed once, and what is recorded as published is what lies at the origin. */
const publishedOnce: Invariant = ({ tasks, branches, pushes }, { byTask }) => ({
  looked: tasks.length,
  findings: tasks.flatMap((task) => {
    const taskId = task.taskId ?? '';
    const published = ofType(byTask.get(taskId) ?? [], 'change.published');
    const wanted = expectations[task.kind].published ? 1 : 0;
    const pushed = pushes.filter(({ branch }) => branch === `plumbline/${taskId}`).map(({ commit }) => commit);
    const there = branches.find(({ branch }) => branch === `plumbline/${taskId}`);
    const problems = [
      ...(published.length === wanted ? [] : [`published ${published.length} times, expected ${wanted}`]),
      ...(pushed.length === wanted ? [] : [`pushed ${pushed.length} times (${pushed.join(', ')}), expected ${wanted}`]),
      ...published
        .filter((event) => text(event, 'head') !== there?.commit)
        .map(
          (event) => `recorded as published at ${text(event, 'head')}, the branch is at ${there?.commit ?? 'nothing'}`,
        ),
    ];
    return problems.map((detail) => ({ subject: named(task), detail }));
  }),
});

const stepsEndOnce: Invariant = (_, { byTask }) => {
  let looked = 0;
  const findings: Omit<Finding, 'invariant'>[] = [];
  for (const [taskId, events] of byTask) {
    const ends = new Map<string, number>();
    for (const event of events)
      if (stepEndings.has(event.type)) ends.set(text(event, 'step'), (ends.get(text(event, 'step')) ?? 0) + 1);
    looked += ends.size;
    for (const [step, count] of ends)
      if (count > 1) findings.push({ subject: `${step} of ${taskId}`, detail: `it ended ${count} times` });
  }
  return { looked, findings };
};

const workersFacts: ReadonlySet<string> = new Set([...stepEndings, 'turn.recorded', 'check.concluded']);

/** Facts of a step come only while somebody holds its lease: after a grant, before its end, expiry or return. Epochs only rise. */
const factsUnderLease: Invariant = (_, { byTask }) => {
  let looked = 0;
  const findings: Omit<Finding, 'invariant'>[] = [];
  for (const [taskId, events] of byTask) {
    const held = new Map<string, number>();
    const epochs = new Map<string, number>();
    for (const event of events) {
      const step = text(event, 'step');
      const subject = `${step} of ${taskId}`;
      const epoch = Number(event.data['epoch'] ?? 0);
      if (event.type === 'lease.granted') {
        if (held.has(step))
          findings.push({ subject, detail: `granted at ${event.pos} while epoch ${held.get(step) ?? 0} held it` });
        if (epoch <= (epochs.get(step) ?? 0))
          findings.push({ subject, detail: `epoch ${epoch} at ${event.pos} is not new` });
        held.set(step, epoch);
        epochs.set(step, epoch);
      } else if (event.type === 'lease.expired' || event.type === 'lease.released') held.delete(step);
      else if (workersFacts.has(event.type)) {
        looked += 1;
        if (!held.has(step)) findings.push({ subject, detail: `${event.type} at ${event.pos} while nobody held it` });
        if (stepEndings.has(event.type)) held.delete(step);
      }
    }
  }
  return { looked, findings };
};

/** Each turn and each check of a step is recorded once, whoever held it. */
const factsOnce: Invariant = (_, { byTask }) => {
  let looked = 0;
  const findings: Omit<Finding, 'invariant'>[] = [];
  for (const [taskId, events] of byTask) {
    const seen = new Map<string, number>();
    for (const event of events) {
      const which =
        event.type === 'turn.recorded'
          ? `turn ${text(event, 'turn')}`
          : event.type === 'check.concluded'
            ? `check ${String((event.data['result'] as { check?: string } | undefined)?.check)}`
            : undefined;
      if (which === undefined) continue;
      looked += 1;
      const fact = `${which} of ${text(event, 'step')}`;
      seen.set(fact, (seen.get(fact) ?? 0) + 1);
    }
    for (const [fact, count] of seen)
      if (count > 1) findings.push({ subject: taskId, detail: `${fact} was recorded ${count} times` });
  }
  return { looked, findings };
};

/** An attempt, and a try of a step, exist only where something recorded explains them. */
const triesExplained: Invariant = (_, { byTask }) => {
  let looked = 0;
  const findings: Omit<Finding, 'invariant'>[] = [];
  for (const [taskId, events] of byTask) {
    const grants = new Map<string, number>();
    for (const event of ofType(events, 'lease.granted'))
      grants.set(text(event, 'step'), (grants.get(text(event, 'step')) ?? 0) + 1);
    for (const [step, count] of grants) {
      looked += 1;
      const gone = events.filter(
        (event) => ['lease.expired', 'lease.released'].includes(event.type) && text(event, 'step') === step,
      );
      if (count > gone.length + 1)
        findings.push({
          subject: `${step} of ${taskId}`,
          detail: `${count} leases and only ${gone.length} of them lost`,
        });
      const [kind, attempt, tryNumber] = step.split('.');
      if (Number(tryNumber) < 2) continue;
      const before = `${kind}.${attempt}.${Number(tryNumber) - 1}`;
      const failed = events.some(
        (event) =>
          [
            'task.step-abandoned',
            'snapshot.failed',
            'attempt.ended',
            'gate.failed',
            'review.failed',
            'publish.failed',
          ].includes(event.type) && text(event, 'step').startsWith(before),
      );
      if (!failed) findings.push({ subject: `${step} of ${taskId}`, detail: `${before} did not fail` });
    }
  }
  return { looked, findings };
};

/** What outlives every acknowledgement is still done once: one worker, under leases of which each but the last was lost. Shorter, it proves nothing. */
const longSteps: Invariant = ({ tasks }, { byTask }) => {
  const slow = tasks.filter(({ kind }) => kind === 'slow-fix');
  return {
    looked: slow.length,
    findings: slow.flatMap((task) => {
      const events = byTask.get(task.taskId ?? '') ?? [];
      const end = events.findIndex(({ type }) => type === 'change.proposed');
      const grants = events
        .slice(0, Math.max(0, end))
        .filter((event) => event.type === 'lease.granted' && text(event, 'step') === text(events[end], 'step'));
      const tookMs = (events[end]?.at ?? 0) - (grants[0]?.at ?? 0);
      return end >= 0 && tookMs >= slowTurnMs
        ? []
        : [{ subject: named(task), detail: `its coding step took ${tookMs} ms, which is not long` }];
    }),
  };
};

const models: Invariant = ({ readModels }) => ({
  looked: readModels.length,
  findings: readModels.flatMap(({ name, served, rebuilt, parked }) => [
    ...(served === rebuilt && served !== '' ? [] : [{ subject: name, detail: 'built anew it is not what was served' }]),
    ...(parked === 0 ? [] : [{ subject: name, detail: `${parked} events are parked` }]),
  ]),
});

/** Positions are given out a second time only in a new epoch, which begins before everything that was lost. */
const lossesTold: Invariant = ({ events, lost, faults }) => {
  const restores = faults.filter(({ fault, outcome }) => fault.kind === 'restore' && outcome === 'injected').length;
  const epochs = ofType(events, 'log.epoch-started');
  const firstLost = Math.min(...lost.map(({ pos }) => pos));
  return {
    looked: Math.max(1, lost.length),
    findings: [
      ...(epochs.length === restores
        ? []
        : [{ subject: 'the log', detail: `${restores} restores and ${epochs.length} new epochs` }]),
      ...(lost.length > 0 && restores === 0
        ? [{ subject: 'the log', detail: `${lost.length} events are gone, and nothing was restored` }]
        : []),
      ...epochs
        .slice(0, 1)
        .filter((event) => Number(event.data['afterPosition']) >= firstLost)
        .map((event) => ({
          subject: 'the log',
          detail: `the new epoch begins after ${text(event, 'afterPosition')}, and ${firstLost} was lost`,
        })),
    ],
  };
};

const noDeadLetters: Invariant = ({ deadLetters, events }) => ({
  looked: Math.max(1, events.length),
  findings: deadLetters.map(({ subject, reason }) => ({ subject, detail: reason.slice(0, 300) })),
});

const nothingHeld: Invariant = ({ openLeases, tasks }) => ({
  looked: tasks.length,
  findings: openLeases.map(({ taskId, step, state }) => ({
    subject: `${step} of ${taskId}`,
    detail: `${state}, and the task is closed`,
  })),
});

const noCrashes: Invariant = ({ crashes, faults }) => ({
  looked: Math.max(1, faults.length),
  findings: crashes.map(({ process, code, signal, words }) => ({
    subject: process,
    detail: `it ended by itself with ${signal ?? `code ${code ?? '?'}`}: ${words.slice(-400)}`,
  })),
});

/** Every rule, by the name under which a finding is told. */
export const invariants = {
  'positions are dense': dense,
  'streams are whole': streamsWhole,
  'the chain holds': chain,
  'none lost': noneLost,
  'none doubled': noneDoubled,
  'every task ended once, as it should': endedOnce,
  'verdicts depend on the change alone': rightVerdict,
  'no branch without GO': branchesAllowed,
  'published once': publishedOnce,
  'a step ends once': stepsEndOnce,
  'facts only under a lease': factsUnderLease,
  'a fact is recorded once': factsOnce,
  'tries are explained': triesExplained,
  'long steps are long, and done once': longSteps,
  'read models equal a rebuild': models,
  'what is lost is told': lossesTold,
  'no dead letters': noDeadLetters,
  'nothing is held of what is closed': nothingHeld,
  'no process ended by itself': noCrashes,
} as const satisfies Record<string, Invariant>;
export type InvariantName = keyof typeof invariants;
export const invariantNames = Object.keys(invariants) as InvariantName[];

/** Judges a history. Pure: what is found depends on what was observed and on nothing else. */
export function check(history: History): CheckResult {
  const byTask = new Map<string, LogEvent[]>();
  for (const event of history.events) {
    const taskId = taskOf(event);
    if (taskId === undefined) continue;
    const known = byTask.get(taskId);
    if (known === undefined) byTask.set(taskId, [event]);
    else known.push(event);
  }
  const looked = {} as Record<InvariantName, number>;
  const findings: Finding[] = [];
  for (const invariant of invariantNames) {
    const result = invariants[invariant](history, { byTask });
    looked[invariant] = result.looked;
    findings.push(...result.findings.map((finding) => ({ invariant, ...finding })));
  }
  const blind = invariantNames.filter((invariant) => looked[invariant] === 0 && needsSomething(invariant, history));
  const outcome =
    findings.length > 0 ? 'violated' : blind.length > 0 || history.tasks.length === 0 ? 'unknown' : 'held';
  return { outcome, findings, looked };
}

/** A run in which nothing was to be published has no pushes to look at; everything else always has something. */
const needsSomething = (invariant: InvariantName, { tasks }: History): boolean =>
  (invariant !== 'no branch without GO' || tasks.some(({ kind }) => expectations[kind].published)) &&
  (invariant !== 'long steps are long, and done once' || tasks.some(({ kind }) => kind === 'slow-fix'));

const named = ({ key, kind, taskId }: SubmittedTask): string => `${key} (${kind}, ${taskId ?? 'no id'})`;
