import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { aPolicy, aSubmission } from '../../test/builders.js';
import { snapshotted } from '../../test/phases.js';
import type { World } from '../../test/world.js';
import { batchSource } from '../batch/batch.js';
import type { RecordedEvent } from '../events/catalogue.js';
import { evolve } from '../task/evolve.js';
import { initialTask } from '../task/state.js';
import { noticeDocumentSchema, noticeOf, type NoticeDocument } from './notice.js';
import { webhooksSchema } from './webhooks.js';

const oneTry = aPolicy({ attempts: { perTier: [1] } });

/** The notices of a whole history, in order. */
function notices(world: World): NoticeDocument[] {
  let state = initialTask;
  return world.events.flatMap((event, at) => {
    state = evolve(state, event);
    const eventId = `00000000-0000-5000-8000-${String(at).padStart(12, '0')}`;
    const recorded: RecordedEvent = {
      ...event,
      eventId,
      streamId: 's',
      version: at + 1,
      at: '2026-11-20T20:00:00.000Z',
    };
    const notice = noticeOf(state, recorded, at + 1);
    if (notice !== undefined) expect(noticeDocumentSchema.safeParse(notice).error?.issues ?? []).toEqual([]);
    return notice ?? [];
  });
}

describe('a notice', () => {
  it('tells of a verdict and of the end, with the branch', () => {
    const told = notices(
      snapshotted({ source: batchSource('night-1'), submissionId: 'lost-cent' })
        .attempt(1)
        .succeed('publishing.1.1'),
    );
    expect(told.map(({ kind, verdict }) => [kind, verdict])).toEqual([
      ['verdict', 'GO'],
      ['closed', 'GO'],
    ]);
    expect(told[1]).toMatchObject({
      outcome: 'go',
      branch: expect.stringMatching(/^plumbline\/t-/) as string,
      task: { batch: 'night-1', key: 'lost-cent' },
    });
    expect(told[1]?.text).toMatch(
      /^Closed, go: night-1\/lost-cent: Totals[^\n]+\nBranch plumbline\/t-\w+\nplumb show t-\w+$/,
    );
  });

  it('tells of what waits for a person, with the commands, and not of a bigger tier', () => {
    const told = notices(snapshotted({ policy: oneTry }).attempt(1, { tests: 'fail' }));
    expect(told.map(({ kind }) => kind)).toEqual(['verdict', 'escalation']);
    expect(told[1]?.commands).toHaveLength(4);
    expect(told[1]?.reasons.length).toBeGreaterThan(0);
    const tiers = notices(
      snapshotted({ policy: aPolicy({ attempts: { perTier: [1, 1] } }) }).attempt(1, { tests: 'fail' }),
    );
    expect(tiers.map(({ kind }) => kind)).toEqual(['verdict']);
  });

  it('names who ruled', () => {
    const world = snapshotted({ policy: oneTry }).attempt(1, { tests: 'fail' });
    world.decide({ kind: 'rule', decision: 'no-go', by: 'ada', why: 'no' });
    expect(notices(world).at(-1)).toMatchObject({
      kind: 'closed',
      outcome: 'no-go',
      reasons: ['ruled NO-GO by ada: no'],
    });
  });

  it('lets no word of an issue ping, link, format or end a line, and tells no login', () => {
    const marks = /[<>@[\]`*~#]|:\/\/|[\p{Cc}\p{Cf}]/u;
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 80 }), (text) => {
        const title = `<!channel> @all http://x ${text.replaceAll('\0', '').toWellFormed()}`;
        const [notice] = notices(snapshotted({ issue: { ...aSubmission().issue, title } }).attempt(1));
        const [first = ''] = (notice?.text ?? '').split('\n');
        expect(first).not.toMatch(marks);
        expect(notice?.text.split('\n').length).toBeLessThanOrEqual(8);
      }),
      { seed: 5, numRuns: 100 },
    );
    const [notice] = notices(
      snapshotted({ repository: { url: 'https://bob:hunter2@h.example/r.git', base: 'main' } }).attempt(1),
    );
    expect(JSON.stringify(notice)).not.toContain('hunter2');
  });
});

describe('webhooks', () => {
  const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
  const hook = (change: Record<string, unknown> = {}) => ({
    name: 'chat',
    url: 'http://192.168.1.2:8080/x?y',
    secret,
    ...change,
  });
  const fields = (value: unknown): string[] =>
    webhooksSchema.safeParse(value).error?.issues.map(({ path }) => path.join('.')) ?? [];
  it('are taken whatever network they are in, for all kinds unless told otherwise', () => {
    expect(webhooksSchema.parse([hook()])).toEqual([hook({ kinds: ['verdict', 'escalation', 'closed'] })]);
    for (const bytes of [24, 25, 26, 32, 63, 64])
      expect(fields([hook({ secret: `whsec_${Buffer.alloc(bytes, 9).toString('base64')}` })])).toEqual([]);
  });
  it.each([
    ['url', { url: 'ftp://h/x' }],
    ['url', { url: 'http://bob:secret@h/x' }],
    ['url', { url: 'nonsense' }],
    ['name', { name: 'nats' }],
    ['name', { name: 'Chat room' }],
    ['secret', { secret: 'hunter2' }],
    ['secret', { secret: `whsec_${Buffer.alloc(23).toString('base64')}` }],
    ['secret', { secret: `whsec_${Buffer.alloc(65).toString('base64')}` }],
    ['kinds', { kinds: [] }],
    ['kinds.0', { kinds: ['all'] }],
  ])('are refused by %s for %j', (field, change) => {
    expect(fields([hook(change)])).toContain(`0.${field}`);
  });
  it('have names of their own', () => {
    expect(fields([hook(), hook()])).toEqual(['1.name']);
  });
});
