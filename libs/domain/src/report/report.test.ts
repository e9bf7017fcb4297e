import { readFileSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { anIssue, aPolicy } from '../../test/builders.js';
import { minute, Told } from '../../test/told.js';
import { batchSource } from '../batch/batch.js';
import { reportDocumentSchema } from './document.js';
import { reportMarkdown } from './markdown.js';
import { reportOf, type ReportInput } from './report.js';
import { reportText } from './text.js';

const id = (n: number): string => `t-${'0'.repeat(25)}${n}`;
const oneTry = aPolicy({ attempts: { perTier: [1] } });
const source = batchSource('night-1');
/** Everything a title may try to be. */
const hostile =
  '| a\u001b[31m `b` **c** <img src=x onerror=1> [d](http://evil.example) @everyone #1 www.evil.example \u202Egnirts\r\n# Heading | ```';

/** GO: coded from 2 to 10 with a lost lease, gated 10 to 14, reviewed 15 to 16, published at 17. */
const good = (): Told =>
  new Told(id(1))
    .submit(0, { source, submissionId: 'lost-cent', issue: anIssue })
    .lease(0.5, 'snapshot.0.1')
    .at(1, (world) => world.succeed('snapshot.0.1'))
    .at(1.5, (world) => world.seat('coding.1.1'))
    .lease(2, 'coding.1.1')
    .turn(3, 1, 1_000, 200)
    .record(5, { type: 'lease.expired', data: { step: 'coding.1.1', holder: 'w/1', epoch: 1 } })
    .lease(6, 'coding.1.1', 2)
    .turn(8, 2, 3_000, 345)
    .at(10, (world) => world.succeed('coding.1.1'))
    .lease(10, 'gating.1.1')
    .at(14, (world) => world.succeed('gating.1.1'))
    .at(14.5, (world) => world.seat('review.1.1.concluder', 'glm'))
    .lease(15, 'review.1.1.concluder')
    .at(16, (world) => world.succeed('review.1.1.concluder'))
    .lease(16, 'publishing.1.1')
    .at(17, (world) => world.succeed('publishing.1.1'));

/** NO-GO with a title of the worst kind; waits for a person from 30 on. The reviewer's tokens were recorded, one turn's were not. */
const bad = (): Told =>
  new Told(id(2))
    .submit(1, { source, submissionId: 'trap', policy: oneTry, issue: { title: hostile, body: 'x' } })
    .lease(1, 'snapshot.0.1')
    .record(1.5, {
      type: 'snapshot.failed',
      data: { step: 'snapshot.0.1', code: 'REPOSITORY_UNREACHABLE', detail: 'no' },
    })
    .at(1.5, (world) => world.observe())
    .at(2, (world) => {
      world.fire('retry', 'snapshot.0.1');
      world.observe();
    })
    .lease(2, 'snapshot.0.2')
    .at(3, (world) => world.succeed('snapshot.0.2'))
    .at(20, (world) => world.seat('coding.1.1'))
    .lease(20, 'coding.1.1')
    .turn(21, 1, 0, 0)
    .turn(22, 2, 500, 50)
    .at(25, (world) => world.succeed('coding.1.1'))
    .lease(25, 'gating.1.1')
    .at(28, (world) => world.succeed('gating.1.1', { tests: 'fail' }))
    .at(28, (world) => world.seat('review.1.1.concluder', 'glm'))
    .lease(28, 'review.1.1.concluder')
    .at(30, (world) => {
      const [event] = world.events.slice(-1);
      expect(event?.type).toBe('lease.granted');
      world.succeed('review.1.1.concluder');
    });

/** Waits for a model all night. */
const waiting = (): Told =>
  new Told(id(3))
    .submit(10, { source, submissionId: 'slow', issue: { title: 'No model for this', body: 'x' } })
    .at(11, (world) => world.succeed('snapshot.0.1'));

const input = (change: Partial<ReportInput> = {}): ReportInput => ({
  madeAt: minute(720),
  until: minute(720),
  tasks: [good(), bad(), waiting()].map(({ taskId, events }) => ({ taskId, events })),
  batch: { name: 'night-1', keys: ['lost-cent', 'trap', 'never-sent'] },
  system: {
    log: { ok: true, events: 1_234 },
    deadLetters: 2,
    notices: [
      { target: 'chat', due: 3, parkedAt: minute(30), why: 'answered 410' },
      { target: 'nats', due: 0, parkedAt: null, why: null },
    ],
  },
  ...change,
});
const minutes = (n: number): number => n * 60_000;

describe('a report', () => {
  it('is the document its schema says', () => {
    const report = reportOf(input());
    expect(reportDocumentSchema.safeParse(report).error?.issues ?? []).toEqual([]);
    expect(reportOf(input({ tasks: [] })).totals).toMatchObject({ tasks: 0, spanMs: 0 });
  });

  it('gives every instant of an open task to one thing', () => {
    const [a, b, c] = reportOf(input()).tasks;
    expect(a?.times).toEqual({
      wallMs: minutes(17),
      codingMs: minutes(7),
      gateMs: minutes(4),
      reviewMs: minutes(1),
      otherMs: minutes(1.5),
      humanMs: 0,
      waitingMs: minutes(3.5),
    });
    expect(b?.times).toMatchObject({
      humanMs: minutes(690),
      codingMs: minutes(5),
      gateMs: minutes(3),
      reviewMs: minutes(2),
    });
    expect(c?.times).toMatchObject({ wallMs: minutes(710), waitingMs: minutes(710) });
  });

  it('counts tokens per model and seat, and never says 0 for what was not recorded', () => {
    const { models } = reportOf(input());
    expect(models).toEqual([
      {
        model: 'coder-30b',
        seat: 'coder',
        steps: 2,
        heldMs: minutes(12),
        promptTokens: 4_500,
        completionTokens: 595,
        answersCounted: 3,
        answersNotCounted: 1,
      },
      {
        model: 'reviewer-glm',
        seat: 'concluder',
        steps: 2,
        heldMs: minutes(3),
        promptTokens: null,
        completionTokens: null,
        answersCounted: 0,
        answersNotCounted: 2,
      },
    ]);
    const told = good();
    const events = told.events.map((event) =>
      event.type === 'review.concluded'
        ? { ...event, data: { ...(event.data as object), tokens: { prompt: 7, completion: 1 } } }
        : event,
    );
    const counted = reportOf(input({ tasks: [{ taskId: told.taskId, events }] }));
    expect(counted.models[1]).toMatchObject({ promptTokens: 7, completionTokens: 1, answersNotCounted: 0 });
  });

  it('says what waits with the command to type, what was retried, and what was lost', () => {
    const report = reportOf(input());
    expect(report.waiting).toMatchObject([{ task: id(2), key: 'trap', since: minute(30), attempt: 1 }]);
    expect(report.waiting[0]?.commands).toEqual([
      `plumb show ${id(2)}`,
      `plumb rule ${id(2)} --go --why …`,
      `plumb rule ${id(2)} --no-go --why …`,
      `plumb retry ${id(2)} --why …`,
    ]);
    expect(report.faults).toMatchObject([{ code: 'REPOSITORY_UNREACHABLE', retried: 1, abandoned: 0, tasks: 1 }]);
    expect(report.totals).toMatchObject({
      tasks: 3,
      closed: 1,
      waitingForHuman: 1,
      underWay: 1,
      attempts: 2,
      leasesLost: 1,
      verdicts: { go: 1, goWaived: 0, noGo: 1, incomplete: 0, none: 1 },
      spanMs: minutes(720),
    });
    expect(report.batch).toEqual({
      name: 'night-1',
      entries: 3,
      submitted: 3,
      notSubmitted: ['never-sent'],
      removed: ['slow'],
    });
    expect(report.tasks.map(({ because }) => because)).toEqual([
      'Every required check passed, and the panel approved with evidence that holds.',
      'tests: tests were run (and 2 more)',
      'coding.1.1 waits for a model for the seat coder',
    ]);
  });

  it('offers no GO for an attempt without a change, and tells a ruling and a cancellation by name', () => {
    const empty = new Told(id(4)).submit(0, { policy: oneTry }).at(1, (world) => world.succeed('snapshot.0.1'));
    empty.at(2, (world) => world.seat('coding.1.1').fail('coding.1.1', 'EMPTY_DIFF'));
    const of = (told: Told) =>
      reportOf(input({ batch: undefined, tasks: [{ taskId: told.taskId, events: told.events }] }));
    expect(of(empty).waiting[0]?.commands.join()).not.toContain('--go ');
    expect(
      of(empty.at(3, (world) => world.decide({ kind: 'rule', decision: 'no-go', by: 'ada', why: 'not worth it' })))
        .tasks[0],
    ).toMatchObject({ outcome: 'no-go', because: 'Ruled NO-GO by ada: not worth it' });
    const cancelled = waiting().at(20, (world) => world.decide({ kind: 'cancel', by: 'bob', why: 'wrong issue' }));
    expect(of(cancelled).tasks[0]).toMatchObject({ outcome: 'cancelled', because: 'Cancelled by bob: wrong issue' });
    expect(of(cancelled).waiting).toEqual([]);
  });

  it('counts only what is in the window, and knows nothing of what comes after it', () => {
    const early = reportOf(input({ since: minute(3), until: minute(9), batch: undefined }));
    expect(early.tasks.map((task) => [task.id, task.verdict, task.state])).toEqual([
      [id(1), null, 'coding'],
      [id(2), null, 'waiting-for-capacity'],
    ]);
    expect(early.tasks[0]?.times).toMatchObject({ wallMs: minutes(6), codingMs: minutes(5), waitingMs: minutes(1) });
    expect(early.models).toMatchObject([{ promptTokens: 4_000, answersCounted: 2 }]);
    expect(early.totals).toMatchObject({ attempts: 0, leasesLost: 1 });
    const later = reportOf(input({ since: minute(100), batch: undefined }));
    expect(later.tasks.map((task) => task.id)).toEqual([id(2), id(3)]);
    expect(later.models).toEqual([]);
    expect(reportOf(input({ since: minute(-20), until: minute(-10) })).tasks).toEqual([]);
  });

  it('knows what of a batch was submitted before its window', () => {
    const ran = [good()].map(({ taskId, events }) => ({ taskId, events }));
    const said = (change: Partial<ReportInput>): string => {
      const report = reportOf(input({ tasks: ran, ...change }));
      expect(report.tasks).toEqual([]);
      return reportText(report, { at: utc }).join('\n');
    };
    const keys = ['lost-cent', 'never-sent'];
    const since = minute(100);
    expect(reportOf(input({ tasks: ran, since, batch: { name: 'night-1', keys } })).batch).toEqual({
      name: 'night-1',
      entries: 2,
      submitted: 1,
      notSubmitted: ['never-sent'],
      removed: [],
    });
    const before = said({ since, batch: { name: 'night-1', keys } });
    expect(before).toContain('Nothing of this batch in this window; 1 task of it was submitted.');
    expect(before).toContain('Not submitted, of 2 entries: never-sent.');
    expect(said({ since, batch: { name: 'night-1' } })).toContain('Nothing of this batch in this window');
    expect(said({ since, batch: { name: 'night-1', keys: ['other'] } })).toContain(
      'Not in the file any more, and submitted: lost-cent.',
    );
    // What is submitted after the window is not known to it.
    const early = { until: minute(-1), batch: { name: 'night-1', keys } };
    expect(said(early)).toContain('Nothing of this batch has been submitted.');
    expect(reportOf(input({ tasks: ran, ...early })).batch).toMatchObject({ submitted: 0, notSubmitted: keys });
    // A task of another batch is none of this one.
    expect(reportOf(input({ since, batch: { name: 'night-2' } })).batch).toMatchObject({ submitted: 0 });
  });

  it('ends with the newest it can know of, not with a future that was asked for', () => {
    const future = reportOf(input({ until: minute(5_000) }));
    expect(future.window.until).toBe(minute(720));
    expect(future.tasks.find(({ id: task }) => task === id(3))?.times.wallMs).toBe(minutes(710));
    // The clock of a server may be ahead of the reader's: what it recorded is there.
    const ahead = { madeAt: minute(16.5), tasks: [{ taskId: id(1), events: good().events }] };
    for (const until of [undefined, minute(5_000)]) {
      const report = reportOf(input({ ...ahead, until }));
      expect(report.window.until).toBe(minute(17));
      expect(report.totals).toMatchObject({ closed: 1, verdicts: { go: 1 } });
    }
    expect(reportOf(input({ ...ahead, until: minute(16.7) })).totals.closed).toBe(0);
    const { window } = reportOf(input({ tasks: [], until: undefined }));
    expect(window.until).toBe(minute(720));
  });

  it('is the same in whatever order histories come, and however often', () => {
    const whole = reportOf(input());
    fc.assert(
      fc.property(fc.infiniteStream(fc.nat(1_000_000)), fc.nat(719), (luck, since) => {
        const shuffled = <T>(list: readonly T[]): T[] =>
          [...list, ...list.slice(0, 3)]
            .map((entry) => ({ entry, by: luck.next().value as number }))
            .sort((a, b) => a.by - b.by)
            .map(({ entry }) => entry);
        const tasks = shuffled(input().tasks).map(({ taskId, events }) => ({ taskId, events: shuffled(events) }));
        expect(reportOf(input({ tasks }))).toEqual(whole);
        for (const { times } of reportOf(input({ tasks, since: minute(since) })).tasks) {
          const { wallMs, ...parts } = times;
          expect(Object.values(parts).reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(wallMs, 3);
        }
      }),
      { seed: 3, numRuns: 40 },
    );
  });

  it('says how many events it could not read, and is not stopped by a clock that was set back', () => {
    const told = good();
    const events = told.events.map((event, at) =>
      at === 6 ? { ...event, type: 'task.teleported' } : at === 8 ? { ...event, at: minute(-99) } : event,
    );
    const report = reportOf(input({ tasks: [{ taskId: told.taskId, events }] }));
    expect(report.totals.unreadEvents).toBe(1);
    for (const ms of Object.values(report.totals.times)) expect(ms).toBeGreaterThanOrEqual(0);
  });
});

const utc = (instant: string): string => instant.slice(0, 16).replace('T', ' ');
/** Compares with the file; UPDATE_GOLDEN=1 writes it. */
function golden(name: string, text: string): void {
  const file = new URL(`./golden/${name}`, import.meta.url);
  if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(file, text);
  expect(text).toBe(readFileSync(file, 'utf8'));
}

describe('for people', () => {
  it('is text without control characters, at most 100 columns but for commands', () => {
    const lines = reportText(reportOf(input()), { at: utc });
    golden('night.txt', `${lines.join('\n')}\n`);
    for (const line of lines) {
      expect(line).not.toMatch(/[\p{Cc}\p{Cf}]/u);
      if (!line.includes('plumb ')) expect([...line].length).toBeLessThanOrEqual(100);
    }
  });

  it('is Markdown in which no title is more than text', () => {
    const text = reportMarkdown(reportOf(input()), { at: utc });
    golden('night.md', text);
    const lines = text.split('\n');
    expect(text).not.toMatch(/(?<!\\)<|(?<!\\)\[|@\w|(?<!\\)`b|:\/\/|www\.|(?!\n)\p{Cc}|\u202e/u);
    expect(lines.filter((line) => line.startsWith('#'))).toEqual([
      '# Batch night-1',
      '## Waits for you',
      expect.stringMatching(/^### trap: \\\| a /) as string,
      '## Tasks',
      '## Cost',
      '## Machines',
    ]);
    const cells = lines.filter((line) => line.startsWith('|')).map((line) => line.split(/(?<!\\)\|/).length);
    expect(new Set(cells.slice(0, 5))).toEqual(new Set([9]));
  });

  it('stays plain whatever the foreign words are', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (title) => {
        const told = new Told(id(5)).submit(0, {
          issue: { title: `${title.replaceAll('\0', '').toWellFormed()}x`, body: '' },
        });
        const report = reportOf(input({ batch: undefined, tasks: [{ taskId: told.taskId, events: told.events }] }));
        for (const line of reportText(report, { at: utc }))
          expect(line).not.toMatch(/[\p{Cc}\p{Cs}\u202a-\u202e\u2028]/u);
        const rows = reportMarkdown(report, { at: utc })
          .split('\n')
          .filter((line) => line.startsWith('| **no verdict**'));
        expect(rows).toHaveLength(1);
        expect(rows[0]?.replace(/\\\\/g, '').match(/(?<!\\)\|/g)).toHaveLength(8);
      }),
      { seed: 4, numRuns: 300 },
    );
  });

  it('shows no control characters of a key, where it waits and where it is listed', () => {
    const told = bad();
    const events = told.events.map((event) =>
      event.type === 'task.submitted'
        ? { ...event, data: { ...(event.data as object), submissionId: 'k\u001b[31m\n\u202Ey' } }
        : event,
    );
    const lines = reportText(reportOf(input({ tasks: [{ taskId: told.taskId, events }] })), { at: utc });
    expect(lines.filter((line) => line.includes('k [31m y: '))).toHaveLength(2);
    for (const line of lines) expect(line).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  });

  it('says so when there is nothing, and when something was not looked at', () => {
    const none = reportOf(
      input({ tasks: [], batch: undefined, system: { log: null, deadLetters: null, notices: null } }),
    );
    golden('nothing.txt', `${reportText(none, { at: utc }).join('\n')}\n`);
    golden('nothing.md', reportMarkdown(none, { at: utc }));
  });
});
