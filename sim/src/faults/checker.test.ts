import { describe, expect, it } from 'vitest';
import { check, invariantNames, type InvariantName } from './checker.js';
import type { History, LogEvent, SubmittedTask } from './history.js';
import type { TaskKind } from './tasks.js';

const artifact = { digest: 'ab'.repeat(32) };
const tree = 'a'.repeat(40);
const head = (taskId: string): string => `${taskId.at(-1) ?? '0'}`.repeat(40);
type Told = [type: string, data: Record<string, unknown>];

/** Ten seconds pass between two events; what is long is told with more events in between. */
const granted = (step: string, epoch = 1): Told => ['lease.granted', { step, epoch, holder: 'worker/1' }];
const worked = (step: string, type: string, data: Record<string, unknown> = {}): Told[] => [
  granted(step),
  [type, { step, ...data }],
];
const verdict = (taskId: string, outcome: string): Told => [
  'verdict.reached',
  { attempt: 1, judgement: { verdict: outcome, reasons: [] }, subject: { head: head(taskId), tree } },
];
const toVerdict = (taskId: string, outcome: string): Told[] => [
  ['task.submitted', { taskId }],
  ...worked('snapshot.0.1', 'snapshot.taken', { pack: artifact }),
  granted('coding.1.1'),
  ['turn.recorded', { step: 'coding.1.1', turn: 1 }],
  ['change.proposed', { step: 'coding.1.1' }],
  granted('gating.1.1'),
  ['check.concluded', { step: 'gating.1.1', result: { check: 'scope' } }],
  ['gate.concluded', { step: 'gating.1.1' }],
  ...worked('review.1.1.concluder', 'review.concluded'),
  verdict(taskId, outcome),
];
const published = (taskId: string, outcome: string, word: string): Told[] => [
  ...worked('publishing.1.1', 'change.published', { branch: `plumbline/${taskId}`, head: head(taskId) }),
  ['task.closed', { outcome, verdict: word }],
];
const escalated: Told = ['escalation.opened', { to: 'human', escalationId: 'e1', attempt: 1 }];
const ruled = (decision: string): Told[] => [
  ['task.ruled', { decision, attempt: 1, by: 'somebody' }],
  ['escalation.resolved', { how: 'ruled' }],
];

/** With more turns before the change. */
const slowly = (told: readonly Told[]): Told[] =>
  told.flatMap((entry): Told[] =>
    entry[0] === 'turn.recorded'
      ? [entry, ...[2, 3, 4].map((turn): Told => ['turn.recorded', { step: 'coding.1.1', turn }])]
      : [entry],
  );

/** What is told of an honest task of each kind that ends as it should. */
const walks: Readonly<Record<TaskKind, (taskId: string) => Told[]>> = {
  fix: (id) => [...toVerdict(id, 'GO'), ...published(id, 'go', 'GO')],
  'slow-fix': (id) => [...slowly(toVerdict(id, 'GO')), ...published(id, 'go', 'GO')],
  trap: (id) => [...toVerdict(id, 'NO-GO'), escalated],
  ruled: (id) => [...toVerdict(id, 'NO-GO'), escalated, ...ruled('no-go'), ['task.closed', { outcome: 'no-go' }]],
  waived: (id) => [...toVerdict(id, 'NO-GO'), escalated, ...ruled('go'), ...published(id, 'go-waived', 'GO-WAIVED')],
  declined: (id) => [
    ['task.submitted', { taskId: id }],
    ...worked('coding.1.1', 'attempt.ended', { code: 'MODEL_DECLINED' }),
    verdict(id, 'INCOMPLETE'),
    escalated,
  ],
  cancelled: (id) => [
    ['task.submitted', { taskId: id }],
    ['task.cancelled', {}],
    ['task.closed', { outcome: 'cancelled', verdict: null }],
  ],
};
const kinds = Object.keys(walks) as (keyof typeof walks)[];
const idOf = (kind: keyof typeof walks): string => `t-${kind}-${kinds.indexOf(kind) + 1}`;

/** A run in which all went well: one task of each kind. Made anew for each test, to be broken. */
function sound(): History {
  const events: LogEvent[] = [];
  const tasks: SubmittedTask[] = [];
  for (const kind of kinds) {
    const taskId = idOf(kind);
    for (const [at, [type, data]] of walks[kind](taskId).entries())
      events.push({
        pos: events.length + 1,
        at: 10_000 * events.length,
        streamId: `task-${taskId}`,
        version: at + 1,
        type,
        data: { ...data },
      });
    tasks.push({ key: kind, kind, door: 'request', twice: false, taskId, answers: [taskId] });
  }
  const pushed = (['fix', 'slow-fix', 'waived'] as const).map((kind) => ({
    branch: `plumbline/${idOf(kind)}`,
    commit: head(idOf(kind)),
  }));
  return {
    seed: 'by hand',
    ...{ tasks, events, lost: [] },
    audit: { ok: true, events: events.length },
    branches: pushed.map((push) => ({ ...push, tree })),
    pushes: pushed,
    readModels: [{ name: 'tasks', served: 'x', rebuilt: 'x', parked: 0 }],
    ...{ deadLetters: [], openLeases: [], crashes: [], faults: [] },
  };
}

/** Takes an event away or puts one in, and keeps positions, versions and the audit as they would be. */
function retold(history: History, change: (events: LogEvent[]) => LogEvent[]): void {
  const versions = new Map<string, number>();
  history.events = change(history.events).map((event, at) => {
    const version = (versions.get(event.streamId) ?? 0) + 1;
    versions.set(event.streamId, version);
    return { ...event, pos: at + 1, version };
  });
  history.audit.events = history.events.length;
}
const without = (history: History, kind: keyof typeof walks, type: string): void =>
  retold(history, (events) => events.filter((event) => event.streamId !== `task-${idOf(kind)}` || event.type !== type));
const after = (history: History, kind: keyof typeof walks, type: string, ...told: Told[]): void =>
  retold(history, (events) =>
    events.flatMap((event) =>
      event.streamId === `task-${idOf(kind)}` && event.type === type
        ? [event, ...told.map(([added, data]) => ({ ...event, type: added, data }))]
        : [event],
    ),
  );
const first = <T>(items: readonly T[]): T => items[0] as T;
const said = (history: History, kind: keyof typeof walks, type: string): LogEvent =>
  first(history.events.filter((event) => event.streamId === `task-${idOf(kind)}` && event.type === type));

/** For each rule at least one history that breaks it: what the checker must find, whatever else it finds. */
const mutants: Readonly<Record<InvariantName, Readonly<Record<string, (history: History) => void>>>> = {
  'positions are dense': {
    'a position is missing': ({ events }) => events.splice(3, 1),
    'a position comes twice': ({ events }) => void (first(events.slice(5)).pos = 5),
    'the log begins late': ({ events }) => events.shift(),
  },
  'streams are whole': {
    'a version is missing': ({ events }) => void (first(events.slice(4)).version += 1),
  },
  'the chain holds': {
    'the audit fails': ({ audit }) => void (audit.ok = false),
    'fewer events were audited than are there': ({ audit }) => void (audit.events -= 1),
  },
  'none lost': {
    'a task that was answered is not in the log': (history) =>
      retold(history, (events) => events.filter(({ streamId }) => streamId !== `task-${idOf('fix')}`)),
    'a submission was never answered': ({ tasks }) => void delete first(tasks).taskId,
  },
  'none doubled': {
    'one submission has two ids': ({ tasks }) => void first(tasks).answers.push('t-other'),
    'a task was submitted twice': (history) =>
      after(history, 'fix', 'task.submitted', ['task.submitted', { taskId: idOf('fix') }]),
    'a task that nobody handed in': ({ tasks }) => void tasks.pop(),
  },
  'every task ended once, as it should': {
    'a task never ends': (history) => without(history, 'fix', 'task.closed'),
    'a task ends twice': (history) => after(history, 'fix', 'task.closed', ['task.closed', { outcome: 'go' }]),
    'a trap is published': (history) => after(history, 'trap', 'escalation.opened', ['task.closed', { outcome: 'go' }]),
    'nobody is told of a trap': (history) => without(history, 'trap', 'escalation.opened'),
    'somebody is told twice': (history) => after(history, 'trap', 'escalation.opened', escalated),
    'a ruling is not followed': (history) => void (said(history, 'ruled', 'task.closed').data['outcome'] = 'go-waived'),
    'a cancelled task goes on': (history) => void (said(history, 'cancelled', 'task.closed').data['outcome'] = 'go'),
  },
  'verdicts depend on the change alone': {
    'a trap becomes GO': (history) =>
      void (said(history, 'trap', 'verdict.reached').data['judgement'] = { verdict: 'GO' }),
    'a fault of the machine counts against a fix': (history) =>
      void (said(history, 'fix', 'verdict.reached').data['judgement'] = { verdict: 'NO-GO' }),
    'a fix could not be judged': (history) =>
      void (said(history, 'fix', 'verdict.reached').data['judgement'] = { verdict: 'INCOMPLETE' }),
    'a fix is judged twice': (history) => after(history, 'fix', 'verdict.reached', verdict(idOf('fix'), 'GO')),
    'there is no verdict': (history) => without(history, 'declined', 'verdict.reached'),
  },
  'no branch without GO': {
    'a branch of a trap': ({ branches, pushes }) => {
      const branch = `plumbline/${idOf('trap')}`;
      branches.push({ branch, commit: head(idOf('trap')), tree });
      pushes.push({ branch, commit: head(idOf('trap')) });
    },
    'another commit than the judged one': ({ branches }) => void (first(branches).commit = 'f'.repeat(40)),
    'another tree than the judged one': ({ branches }) => void (first(branches).tree = 'f'.repeat(40)),
    'a branch of nobody': ({ branches }) =>
      void branches.push({ branch: 'plumbline/t-nobody', commit: head('x'), tree }),
    'the ruling was about another attempt': (history) =>
      void (said(history, 'waived', 'task.ruled').data['attempt'] = 2),
    'the ruling was no': (history) => void (said(history, 'waived', 'task.ruled').data['decision'] = 'no-go'),
    'a branch that was pushed is gone': ({ branches }) => void branches.pop(),
  },
  'published once': {
    'pushed twice, with different objects': ({ pushes }) =>
      void pushes.push({ ...first(pushes), commit: 'f'.repeat(40) }),
    'pushed twice': ({ pushes }) => void pushes.push(first(pushes)),
    'recorded twice': (history) =>
      after(history, 'fix', 'change.published', [
        'change.published',
        { step: 'publishing.1.2', head: head(idOf('fix')) },
      ]),
    'recorded and not there': ({ branches, pushes }) => {
      branches.shift();
      pushes.shift();
    },
    'recorded at another commit': (history) =>
      void (said(history, 'fix', 'change.published').data['head'] = 'f'.repeat(40)),
    'there and not recorded': (history) => without(history, 'fix', 'change.published'),
  },
  'a step ends once': {
    'two results of one step': (history) =>
      after(history, 'fix', 'gate.concluded', granted('gating.1.1', 2), ['gate.concluded', { step: 'gating.1.1' }]),
    'a result and a failure of one step': (history) =>
      after(history, 'fix', 'change.proposed', granted('coding.1.1', 2), ['attempt.ended', { step: 'coding.1.1' }]),
  },
  'facts only under a lease': {
    'the fact of a zombie': (history) =>
      after(history, 'fix', 'turn.recorded', ['lease.expired', { step: 'coding.1.1', epoch: 1 }]),
    'nobody ever held it': (history) =>
      retold(history, (events) =>
        events.filter(({ type, data }) => type !== 'lease.granted' || data['step'] !== 'gating.1.1'),
      ),
    'two hold it at once': (history) => after(history, 'fix', 'turn.recorded', granted('coding.1.1', 2)),
    'an epoch that was given before': (history) =>
      after(
        history,
        'fix',
        'turn.recorded',
        ['lease.expired', { step: 'coding.1.1', epoch: 1 }],
        granted('coding.1.1', 1),
      ),
    'a fact after the end': (history) =>
      after(history, 'fix', 'change.proposed', ['turn.recorded', { step: 'coding.1.1', turn: 2 }]),
  },
  'a fact is recorded once': {
    'a turn twice': (history) =>
      after(history, 'fix', 'turn.recorded', ['turn.recorded', { step: 'coding.1.1', turn: 1 }]),
    'a check twice': (history) =>
      after(history, 'fix', 'check.concluded', ['check.concluded', { step: 'gating.1.1', result: { check: 'scope' } }]),
  },
  'tries are explained': {
    'a second try of what did not fail': (history) =>
      after(history, 'fix', 'gate.concluded', granted('gating.1.2'), ['gate.concluded', { step: 'gating.1.2' }]),
    'more leases than were lost': (history) =>
      after(history, 'fix', 'change.proposed', granted('coding.1.1', 2), granted('coding.1.1', 3)),
  },
  'long steps are long, and done once': {
    'it was not long': (history) => void (said(history, 'slow-fix', 'change.proposed').at -= 30_000),
  },
  'read models equal a rebuild': {
    'a row is wrong': ({ readModels }) => void (first(readModels).rebuilt = 'y'),
    'nothing could be read': ({ readModels }) => void Object.assign(first(readModels), { served: '', rebuilt: '' }),
    'events are parked': ({ readModels }) => void (first(readModels).parked = 1),
  },
  'what is lost is told': {
    'a restore without a new epoch': (history) => {
      restored(history);
      retold(history, (events) => events.filter(({ type }) => type !== 'log.epoch-started'));
    },
    'a new epoch without a restore': (history) => {
      restored(history);
      Object.assign(history, { faults: [], lost: [] });
    },
    'events are gone and nothing was restored': (history) => void history.lost.push(first(history.events)),
    'the new epoch begins too late': (history) => {
      restored(history);
      first(history.lost).pos = 1;
    },
  },
  'no dead letters': {
    'a message could not be handled': ({ deadLetters }) => void deadLetters.push({ subject: 'log.x', reason: 'a bug' }),
  },
  'nothing is held of what is closed': {
    'a step of a closed task is still open': ({ openLeases }) =>
      void openLeases.push({ taskId: idOf('fix'), step: 'gating.1.1', state: 'open' }),
  },
  'no process ended by itself': {
    'an exception nobody caught': ({ crashes }) =>
      void crashes.push({ process: 'coder', code: 1, signal: null, words: 'TypeError' }),
  },
};

/** A restore took the last event back, and was told of. */
function restored(history: History): void {
  const { events } = history;
  const lost = events.at(-1);
  if (lost === undefined) throw new Error('there is nothing to lose');
  history.lost.push({ ...lost, pos: events.length });
  retold(history, () => [
    ...events.slice(0, -1),
    { ...lost, streamId: 'log', type: 'log.epoch-started', data: { afterPosition: events.length - 1 } },
    lost,
  ]);
  history.faults.push({ fault: { id: 1, kind: 'restore', afterEvents: 1 }, outcome: 'injected', evidence: '1 event' });
}

describe('check', () => {
  it('finds nothing in a sound history, and says what it looked at', () => {
    const { outcome, findings, looked } = check(sound());
    expect(findings).toEqual([]);
    expect(outcome).toBe('held');
    expect(looked['facts only under a lease']).toBeGreaterThan(10);
  });

  it('finds nothing in one with a restore that was told of', () => {
    const history = sound();
    restored(history);
    expect(check(history).findings).toEqual([]);
  });

  it('has mutants of every rule', () => {
    expect(Object.keys(mutants).sort()).toEqual([...invariantNames].sort());
  });

  const all = invariantNames.flatMap((name) =>
    Object.entries(mutants[name]).map(([what, mutate]) => ({ name, what, mutate })),
  );
  it.each(all)('finds that not «$name»: $what', ({ name, mutate }) => {
    const history = sound();
    mutate(history);
    const { outcome, findings } = check(history);
    expect(outcome).toBe('violated');
    expect(findings.map(({ invariant }) => invariant)).toContain(name);
  });

  it('takes what a restore took back for what was recorded when a branch was pushed, and for nothing else', () => {
    const history = sound();
    const judged = said(history, 'fix', 'verdict.reached');
    history.lost.push({ ...judged, data: { ...judged.data } });
    judged.data['subject'] = { head: 'f'.repeat(40), tree };
    expect(check(history).findings.map(({ invariant }) => invariant)).not.toContain('no branch without GO');
    history.lost.pop();
    expect(check(history).findings.map(({ invariant }) => invariant)).toContain('no branch without GO');
  });

  it('cannot tell where it saw nothing', () => {
    const nothing: History = { ...sound(), tasks: [], events: [], pushes: [], branches: [], readModels: [] };
    nothing.audit.events = 0;
    expect(check(nothing)).toMatchObject({ outcome: 'unknown', findings: [] });
    const unread: History = { ...sound(), readModels: [] };
    expect(check(unread).outcome).toBe('unknown');
  });
});
