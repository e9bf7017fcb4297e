import {
  changeProposed,
  changePublished,
  exampleIssue,
  exampleModel,
  gateConcluded,
  reviewConcluded,
  snapshotTaken,
} from '@plumbline/testing';
import {
  decide,
  evolve,
  initialTask,
  parseStepId,
  resolvePolicy,
  stepsOf,
  type PlumblineEvent,
  type StepState,
  type TaskState,
} from '@plumbline/domain';

/** How a task goes: its attempts' test results, in order; the last one decides. */
type Course = readonly ('pass' | 'fail')[];

const turnsPerAttempt = 12;
const courses: readonly Course[] = [['pass'], ['fail', 'pass'], ['pass'], ['fail', 'fail', 'fail']];
const placeholder = `t-${'0'.repeat(26)}`;

/**
 * Histories of tasks as the real process manager makes them: submitted, snapshot, attempts with turns, checks, reviews and verdicts, then
 * published, or escalated to a human who says no. Endless; the n-th is always the same but for its task's id.
 */
export class TaskWalks {
  private readonly templates: Promise<string[]> = Promise.all(
    courses.map(async (course) => JSON.stringify(await walk(placeholder, course))),
  );

  /** The history of the n-th task. */
  async task(n: number): Promise<{ taskId: string; events: PlumblineEvent[] }> {
    const templates = await this.templates;
    const taskId = `t-${n.toString(36).padStart(26, '0')}`;
    const template = templates[n % templates.length] as string;
    return { taskId, events: JSON.parse(template.replaceAll(placeholder, taskId)) as PlumblineEvent[] };
  }
}

async function walk(taskId: string, course: Course): Promise<PlumblineEvent[]> {
  const history: PlumblineEvent[] = [];
  let state: TaskState = initialTask;
  const record = (events: readonly PlumblineEvent[]): void => {
    for (const event of events) {
      state = evolve(state, event);
      history.push(event);
    }
  };
  const decided = (input: Parameters<typeof decide>[1]): void => {
    const decision = decide(state, input);
    if (decision.outcome === 'refused') throw new Error(`the walk is refused: ${decision.message}`);
    record(decision.events);
  };
  decided({ kind: 'submit', submitted: submittedOf(taskId) });
  for (let round = 0; round < 200 && state.phase !== 'closed'; round++) {
    const steps = stepsOf(state);
    const waiting = steps.find(({ status }) => status === 'waiting');
    const requested = steps.find(({ status }) => status === 'requested');
    if (waiting !== undefined) decided({ kind: 'seat', step: waiting.id, model: modelFor(state, waiting, taskId) });
    else if (requested !== undefined) {
      record(await worked(taskId, state, requested, course));
      decided({ kind: 'observe' });
    } else decided({ kind: 'rule', decision: 'no-go', by: 'ada', why: 'not worth another attempt' });
  }
  if (state.phase !== 'closed') throw new Error(`the walk ends in ${state.phase}, expected it to be closed`);
  return history;
}

function submittedOf(taskId: string): Extract<PlumblineEvent, { type: 'task.submitted' }>['data'] {
  return {
    taskId,
    source: 'bench',
    submissionId: taskId,
    contentDigest: 'ab'.repeat(32),
    repository: { url: 'https://git.example.org/shop.git', base: 'main' },
    issue: exampleIssue,
    policy: resolvePolicy('standard'),
    priority: 'normal',
    publish: 'branch',
  };
}

function modelFor(state: TaskState, step: StepState, taskId: string) {
  const { name, family, endpoint } = exampleModel();
  return {
    name,
    family: step.kind === 'review' ? 'glm' : family,
    tier: state.tier,
    node: 'studio',
    endpoint,
    grantId: `${taskId}.${step.id}`,
  };
}

/** The lease, the facts and, for a coder, its turns. */
async function worked(taskId: string, task: TaskState, step: StepState, course: Course): Promise<PlumblineEvent[]> {
  const recorded: PlumblineEvent[] = [
    { type: 'lease.granted', data: { step: step.id, holder: 'worker/1', epoch: 1, ttlMs: 60_000 } },
  ];
  const held = {
    taskId,
    id: step.id,
    name: parseStepId(step.id),
    epoch: 1,
    task,
    history: [],
    signal: new AbortController().signal,
    record: (_key: string, events: PlumblineEvent[]) => {
      recorded.push(...events);
      return Promise.resolve();
    },
    live: () => undefined,
  };
  switch (step.kind) {
    case 'snapshot':
      return [...recorded, ...snapshotTaken(held)];
    case 'coding':
      return [...recorded, ...turnsOf(step), ...changeProposed(held)];
    case 'gating': {
      const tests = course[step.attempt - 1] ?? 'fail';
      const concluded = await gateConcluded(held, { tests });
      return [...recorded, ...concluded];
    }
    case 'review':
      return [...recorded, ...reviewConcluded(held)];
    case 'publishing':
      return [...recorded, ...changePublished(held)];
  }
}

function turnsOf(step: StepState): PlumblineEvent[] {
  const transcript = { digest: 'cd'.repeat(32), sizeBytes: 24_000, mediaType: 'application/json' };
  return Array.from({ length: turnsPerAttempt }, (_, index) => ({
    type: 'turn.recorded',
    data: {
      step: step.id,
      attempt: step.attempt,
      turn: index + 1,
      treeAfter: 'd4'.repeat(20),
      transcript,
      tools: ['read', 'edit', 'run'],
      tokens: { prompt: 9_000 + index * 700, completion: 400 },
    },
  }));
}
