import type { ScenarioInput } from '@plumbline/testing';
import { shippedPolicies, type Policy } from '@plumbline/domain';

/**
 * The work of the suite: a repository of four files and issues that take a model two turns, so that a task is cheap and still walks the whole
 * way: snapshot, coder with its fast gate, clean room with both runs of the tests, review, verdict, push.
 */

/** What becomes of a task when nothing goes wrong, and so also when everything does. */
export type TaskKind = 'fix' | 'slow-fix' | 'trap' | 'ruled' | 'waived' | 'declined' | 'cancelled';
/** The slow one last: a run of few tasks does without it. */
export const taskKinds: readonly TaskKind[] = ['fix', 'trap', 'ruled', 'waived', 'declined', 'cancelled', 'slow-fix'];

/** How a task must end. `escalated`: it waits for a human, and stays open. */
export interface Expectation {
  end: 'go' | 'go-waived' | 'no-go' | 'cancelled' | 'escalated';
  /** The verdict of its last attempt; null when it never came to one. */
  verdict: 'GO' | 'NO-GO' | 'INCOMPLETE' | null;
  published: boolean;
}

export const expectations: Readonly<Record<TaskKind, Expectation>> = {
  fix: { end: 'go', verdict: 'GO', published: true },
  'slow-fix': { end: 'go', verdict: 'GO', published: true },
  trap: { end: 'escalated', verdict: 'NO-GO', published: false },
  ruled: { end: 'no-go', verdict: 'NO-GO', published: false },
  waived: { end: 'go-waived', verdict: 'NO-GO', published: true },
  declined: { end: 'escalated', verdict: 'INCOMPLETE', published: false },
  cancelled: { end: 'cancelled', verdict: null, published: false },
};

/** Longer than any acknowledgement is waited for on the bus (30 s). */
export const slowTurnMs = 33_000;
/** Longer than any run: whoever waits for it is cancelled. */
const endlessTurnMs = 3_600_000;

const code = `/** The value, kept between two bounds. */
export function clamp(value, low, high) {
  return Math.max(low, value);
}
`;
const test = `import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clamp } from './clamp.js';

test('what is too small becomes the lower bound', () => {
  assert.equal(clamp(-1, 0, 10), 0);
});
`;
const fixedCode = code.replace('Math.max(low, value)', 'Math.min(high, Math.max(low, value))');
const fixedTest = `${test}
test('what is too large becomes the upper bound', () => {
  assert.equal(clamp(11, 0, 10), 10);
  assert.equal(clamp(5, 0, 10), 5);
});
`;

/** The files of the origin. \`ballast\` makes its snapshot larger than one chunk of an artifact. */
export function repositoryFiles(ballast: string): Record<string, string> {
  return {
    'package.json': `${JSON.stringify({ name: 'bounds', private: true, type: 'module', scripts: { test: 'node --test' } }, null, 2)}\n`,
    'src/clamp.js': code,
    'src/clamp.test.js': test,
    'src/greet.js': 'export const greet = (name) => `Hello ${name}`;\n',
    'ballast.txt': ballast,
  };
}

const titles = {
  fix: 'clamp ignores its upper bound',
  'slow-fix': 'clamp lets large values through',
  trap: 'greet does not end in a full stop',
  declined: 'make the product better',
  cancelled: 'rewrite everything',
} as const;
type Issue = keyof typeof titles;

const bodies: Readonly<Record<Issue, string>> = {
  fix: '- `clamp` in `src/clamp.js` must never return more than `high` and keeps every value between the bounds.\n',
  'slow-fix':
    '- `clamp` in `src/clamp.js` must never return more than `high` and keeps every value between the bounds.\n',
  trap: '- `greet` in `src/greet.js` must end its sentence with a full stop, whoever is greeted.\n',
  declined: '- It should be better in every respect that matters to anybody.\n',
  cancelled: '- Everything is to be written once more from the beginning.\n',
};
const issueOf = (kind: TaskKind): Issue => (kind === 'ruled' || kind === 'waived' ? 'trap' : kind);

/** Strict, with one attempt: what a second one would add to a trap is time. */
const policy: Policy = { ...shippedPolicies.strict, name: 'faults', attempts: { perTier: [1] } };

/** What is handed in for a task; `key` makes a repetition of it the same submission. */
export function submissionOf(kind: TaskKind, origin: string, key: string): Record<string, unknown> {
  const issue = issueOf(kind);
  return {
    repository: { url: origin, base: 'main' },
    issue: { title: titles[issue], body: bodies[issue] },
    policy,
    publish: 'branch',
    idempotencyKey: key,
  };
}

const write = (path: string, old: string, changed: string) => ({
  name: 'str_replace',
  arguments: { path, old, new: escape(changed) },
});
/** In a reply `${` begins a template. */
const escape = (text: string): string => text.replaceAll('${', '$${');
const handIn = (summary: string) => ({ reply: { toolCalls: [{ name: 'submit', arguments: { summary } }] } });

function fixScenario(issue: 'fix' | 'slow-fix'): ScenarioInput[] {
  return [
    {
      name: `${issue}-coder`,
      describes: 'Mends the bound and tests it.',
      select: { model: 'scripted/coder', promptMatches: titles[issue] },
      turns: [
        {
          reply: {
            toolCalls: [write('src/clamp.js', code, fixedCode), write('src/clamp.test.js', test, fixedTest)],
          },
          delayMs: issue === 'slow-fix' ? slowTurnMs : 0,
        },
        handIn('clamp keeps its upper bound'),
      ],
    },
    {
      name: `${issue}-reviewer`,
      describes: 'Answers clause by clause and rejects the one that is not in the issue.',
      select: { model: 'scripted/reviewer', promptMatches: titles[issue] },
      turns: [
        {
          when: { lastMessageMatches: '' },
          captureAll: {
            own: `^[\\s*-]*(C\\d+): (?:${titles[issue]}|\`clamp\` in)`,
            foreign: `^[\\s*-]*(C\\d+): (?!${titles[issue]}|\`clamp\` in)`,
            hunks: '^[\\s#*-]*(H\\d+) ',
          },
          reply: {
            content: {
              findings: [],
              clauses: [
                {
                  $each: 'own',
                  item: { id: '${item}', status: 'served', hunks: [{ $each: 'hunks', item: '${item}' }] },
                },
                { $each: 'foreign', item: { id: '${item}', status: 'not-in-issue', hunks: [] } },
              ],
              quotes: ['must never return more than `high` and keeps every value between the bounds'],
              decision: 'approve',
            },
          },
        },
      ],
    },
  ];
}

/** What the scripted model plays for each issue. */
export const scenarios: readonly ScenarioInput[] = [
  ...fixScenario('fix'),
  ...fixScenario('slow-fix'),
  {
    name: 'trap-coder',
    describes: 'A clean, tested change in the wrong place.',
    select: { model: 'scripted/coder', promptMatches: titles.trap },
    turns: [
      {
        reply: {
          toolCalls: [write('src/clamp.js', code, fixedCode), write('src/clamp.test.js', test, fixedTest)],
        },
      },
      handIn('sentences end in full stops'),
    ],
  },
  {
    name: 'trap-reviewer',
    describes: 'Calls every clause served and approves.',
    select: { model: 'scripted/reviewer', promptMatches: titles.trap },
    turns: [
      {
        when: { lastMessageMatches: '' },
        captureAll: { clauses: '^[\\s*-]*(C\\d+): ', hunks: '^[\\s#*-]*(H\\d+) ' },
        reply: {
          content: {
            findings: [],
            clauses: [
              {
                $each: 'clauses',
                item: { id: '${item}', status: 'served', hunks: [{ $each: 'hunks', item: '${item}' }] },
              },
            ],
            quotes: ['must end its sentence with a full stop, whoever is greeted'],
            decision: 'approve',
          },
        },
      },
    ],
  },
  {
    name: 'declined-coder',
    describes: 'Says with a reason that it cannot.',
    select: { model: 'scripted/coder', promptMatches: titles.declined },
    turns: [
      {
        reply: {
          toolCalls: [{ name: 'decline', arguments: { reason: 'the issue names nothing that could be done' } }],
        },
      },
    ],
  },
  {
    name: 'cancelled-coder',
    describes: 'Thinks until it is told to stop.',
    select: { model: 'scripted/coder', promptMatches: titles.cancelled },
    turns: [
      {
        reply: { toolCalls: [{ name: 'decline', arguments: { reason: 'nobody stopped me' } }] },
        delayMs: endlessTurnMs,
      },
    ],
  },
];
