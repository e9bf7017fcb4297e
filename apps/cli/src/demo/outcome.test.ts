import { describe, expect, it } from 'vitest';
import { noProgress, type Progress } from '../ledger/follow.js';
import { brokenPromises, demoExitCode, logState, type DemoFindings } from './outcome.js';

const progress = (change: Partial<Progress>): Progress => ({ ...noProgress, resting: true, ...change });
const audit = { schema: 'plumbline.audit/1' as const, ok: true, events: 80, headPosition: 80 };

function findings(change: Partial<DemoFindings> = {}): DemoFindings {
  return {
    tasks: [
      {
        name: 'fix',
        eventId: '1',
        id: 't-1',
        head: 'abc',
        progress: progress({ verdict: 'GO', outcome: 'go', branch: 'plumbline/t-1' }),
      },
      {
        name: 'trap',
        eventId: '2',
        id: 't-2',
        head: undefined,
        progress: progress({
          verdict: 'NO-GO',
          reasons: ['scope', 'evidence'].map((check) => ({ check, summary: 's' })),
        }),
      },
    ],
    audit,
    branches: new Map([
      ['main', '000'],
      ['plumbline/t-1', 'abc'],
    ]),
    escalations: [{ task: 't-2', to: 'human' }],
    scripted: true,
    ...change,
  };
}

const withTask = (name: 'fix' | 'trap', change: Partial<Progress>): DemoFindings => {
  const base = findings();
  return {
    ...base,
    tasks: base.tasks.map((task) =>
      task.name === name ? { ...task, progress: { ...task.progress, ...change } } : task,
    ),
  };
};

describe('the demo is a success', () => {
  it('when every promise is kept', () => {
    expect(brokenPromises(findings())).toEqual([]);
    expect(demoExitCode([])).toBe(0);
  });

  it.each<[string, DemoFindings, RegExp]>([
    ['the fix is not GO', withTask('fix', { verdict: 'INCOMPLETE', branch: undefined }), /the fix is INCOMPLETE/],
    ['the trap is not NO-GO', withTask('trap', { verdict: 'INCOMPLETE' }), /the trap is INCOMPLETE/],
    ['the trap went through', withTask('trap', { verdict: 'GO' }), /the trap is GO/],
    ['scope is missing', withTask('trap', { reasons: [{ check: 'evidence', summary: 's' }] }), /scope is not among/],
    ['evidence is missing', withTask('trap', { reasons: [{ check: 'scope', summary: 's' }] }), /evidence is not among/],
    ['no escalation', findings({ escalations: [] }), /no escalation/],
    [
      'the log says published, the origin does not',
      findings({ branches: new Map([['main', '0']]) }),
      /not at the origin as the log says/,
    ],
    [
      'the branch is at another commit',
      findings({
        branches: new Map([
          ['main', '0'],
          ['plumbline/t-1', 'other'],
        ]),
      }),
      /not at the origin/,
    ],
    ['GO without a branch', withTask('fix', { branch: undefined }), /no branch was published/],
    ['the trap was published', withTask('trap', { branch: 'plumbline/t-2' }), /yet plumbline\/t-2 was published/],
    [
      'a branch nobody accounts for',
      findings({
        branches: new Map([
          ['plumbline/t-1', 'abc'],
          ['plumbline/t-2', 'x'],
        ]),
      }),
      /t-2 is at the origin without a GO/,
    ],
    [
      'the audit fails',
      findings({ audit: { ...audit, ok: false, firstBad: { position: 3, what: 'its hash is wrong' } } }),
      /audit/,
    ],
  ])('never when %s', (_, given, message) => {
    const broken = brokenPromises(given);
    expect(broken.join('\n')).toMatch(message);
    expect(demoExitCode(broken)).toBe(1);
  });

  it('with a real model, whatever the verdicts are, as long as only GO publishes', () => {
    const both = withTask('fix', { verdict: 'NO-GO', branch: undefined });
    const real = { ...both, scripted: false, branches: new Map([['main', '0']]), escalations: [] };
    expect(brokenPromises(real)).toEqual([]);
    expect(brokenPromises({ ...real, branches: new Map([['x', '0']]) })).toHaveLength(1);
  });
});

it('a log whose audit failed is never called sound', () => {
  expect(logState(audit)).toEqual({ events: 80, positions: 'dense', chain: 'ok' });
  const bad = (what: string) => logState({ ...audit, ok: false, firstBad: { position: 7, what } });
  expect(bad('the chain hash is not that of its content')).toMatchObject({ positions: 'dense', chain: 'broken' });
  expect(bad('position 7 is missing')).toMatchObject({ positions: 'broken', chain: 'broken' });
  expect(logState({ ...audit, ok: false })).toMatchObject({ chain: 'broken' });
});
