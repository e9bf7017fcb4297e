import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { batchSource, reportDocumentSchema, shippedPolicies, StepFault, type ReportDocument } from '@plumbline/domain';
import { Crew, exampleIssue, startTestSystem, type TestSystem } from '@plumbline/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { submitBatch } from '../commands/submit-batch.js';
import { report } from '../commands/report.js';
import { explain, Interrupted } from '../failure.js';
import type { Session } from '../session.js';
import { createPalette } from '../terminal/palette.js';

let system: TestSystem;
let crew: Crew;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'plumb-batch-'));
  system = await startTestSystem({
    services: ['ledger', 'scheduler'],
    env: { PLUMB_RECONCILE_INTERVAL_MS: '500', PLUMB_STEP_IDLE_AFTER_MS: '1500' },
  });
  crew = await Crew.start(system, { concurrency: 16 });
});
afterAll(async () => {
  await crew?.stop();
  await system?.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Ran {
  readonly said: string[];
  readonly noted: string[];
  readonly documents: unknown[];
  readonly stop: AbortController;
  readonly session: Session;
}

function sessionOf(json = false): Ran {
  const ran = { said: [] as string[], noted: [] as string[], documents: [] as unknown[], stop: new AbortController() };
  const session: Session = {
    env: {
      PLUMB_API_URL: system.ledgerUrl,
      PLUMB_API_TOKEN: system.apiToken,
      PLUMB_NATS_URL: system.nats.url,
      // Whoever asks as an operator is asked for another password; the report says what it could not look at.
      PLUMB_NATS_USER: 'user',
      PLUMB_NATS_PASSWORD: system.nats.passwords.user,
    },
    cwd: folder,
    json,
    palette: createPalette(false),
    progress: { step: (_title, work) => work(), makeWay: () => undefined },
    signal: ran.stop.signal,
    say: (line = '') => void (json || ran.said.push(line)),
    document: (value) => void ran.documents.push(value),
    note: (line) => void ran.noted.push(line),
  };
  return { ...ran, session };
}

const policy = (attempts = 1) => ({ ...shippedPolicies.strict, attempts: { perTier: [attempts] } });
let count = 0;
/** A batch of its own name; `tasks` are keys, or whole entries. */
function batch(tasks: readonly (string | Record<string, unknown>)[], change: Record<string, unknown> = {}): string {
  const name = (change['name'] as string | undefined) ?? `night-${++count}`;
  const document = {
    schema: 'plumbline.batch/1',
    name,
    repository: 'https://git.example.org/shop.git',
    base: 'main',
    policy: policy(),
    tasks: tasks.map((task) => (typeof task === 'string' ? { key: task, issue: exampleIssue } : task)),
    ...change,
  };
  writeFileSync(join(folder, `${name}.json`), JSON.stringify(document));
  return `${name}.json`;
}
const keys = (n: number): string[] => Array.from({ length: n }, (_, at) => `k${at}`);
const begin = (file: string, parallel?: number, json = false) => {
  const ran = sessionOf(json);
  const options = parallel === undefined ? {} : { parallel };
  const done = submitBatch(ran.session, file, options);
  done.catch(() => undefined);
  return { ...ran, done };
};

interface Recorded {
  readonly type: string;
  readonly streamId: string;
  readonly data: unknown;
}
const submissionsOf = (file: string): Recorded[] =>
  system.watch.events.filter(
    ({ type, data }) =>
      type === 'task.submitted' && (data as { source: string }).source === batchSource(file.replace('.json', '')),
  );
const keysOf = (file: string): string[] =>
  submissionsOf(file).map(({ data }) => (data as { submissionId: string }).submissionId);
/** The most tasks of a batch that were under way at once, by the log's own order. */
function mostAtOnce(file: string): number {
  const mine = new Set(submissionsOf(file).map(({ streamId }) => streamId));
  const open = new Set<string>();
  let most = 0;
  for (const { type, streamId, data } of system.watch.events) {
    if (!mine.has(streamId)) continue;
    if (type === 'task.submitted') open.add(streamId);
    if (type === 'task.closed' || (type === 'escalation.opened' && (data as { to: string }).to === 'human'))
      open.delete(streamId);
    most = Math.max(most, open.size);
  }
  return most;
}

/** Holds every coding step until it is released. */
function holdCoding(): () => void {
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  const restore = crew.play({
    coding: async (step) => {
      await held;
      return (await import('@plumbline/testing')).changeProposed(step);
    },
  });
  return () => {
    restore();
    release();
  };
}
const submittedBy = (file: string, n: number) =>
  system.watch.until(`${n} submissions of ${file}`, () => submissionsOf(file).length >= n);

describe('a batch', () => {
  it('is worked off in its order, never more at once than asked for, and ends with one report', async () => {
    const file = batch(keys(5));
    const ran = begin(file, 2, true);
    expect(await ran.done).toBe(0);
    expect(keysOf(file)).toEqual(keys(5));
    expect(mostAtOnce(file)).toBe(2);
    expect(ran.documents).toHaveLength(1);
    const document = ran.documents[0] as ReportDocument;
    expect(reportDocumentSchema.safeParse(document).error?.issues ?? []).toEqual([]);
    expect(document.totals).toMatchObject({ tasks: 5, closed: 5, verdicts: { go: 5 } });
    expect(document.tasks.map(({ key }) => key)).toEqual(keys(5));
    expect(document.batch).toMatchObject({ entries: 5, notSubmitted: [], removed: [] });
    expect(document.system).toMatchObject({ log: { ok: true }, deadLetters: null });

    // Once more: everything is found, nothing is sent.
    const again = begin(file);
    expect(await again.done).toBe(0);
    expect(again.said.join('\n')).toContain('The log has 5 of them: 5 done, 0 under way; 0 to come.');
    expect(submissionsOf(file)).toHaveLength(5);
  });

  it('goes on after it was ended in the middle, with the same bound', async () => {
    const file = batch(keys(6));
    const release = holdCoding();
    const first = begin(file, 2);
    await submittedBy(file, 2);
    first.stop.abort(new Interrupted());
    await expect(first.done).rejects.toThrow(Interrupted);
    expect(first.noted.join('\n')).toContain(`plumb submit --batch ${file}`);
    const second = begin(file, 2);
    await expect.poll(() => second.said.join('\n')).toContain('The log has 2 of them: 0 done, 2 under way; 4 to come.');
    release();
    expect(await second.done).toBe(0);
    expect(keysOf(file)).toEqual(keys(6));
    expect(mostAtOnce(file)).toBe(2);
  });

  it('is one batch when three commands work on it at once', async () => {
    const file = batch(keys(6));
    const runs = [begin(file, 3), begin(file, 3), begin(file, 3)];
    expect(await Promise.all(runs.map(({ done }) => done))).toEqual([0, 0, 0]);
    expect([...keysOf(file)].sort()).toEqual(keys(6));
    expect(mostAtOnce(file)).toBeLessThanOrEqual(3);
  });

  it('waits through a night in which ledger, scheduler and NATS with its disk are lost', async () => {
    const file = batch(keys(5));
    const release = holdCoding();
    const ran = begin(file, 2);
    await submittedBy(file, 2);
    await Promise.all([system.kill('ledger'), system.kill('scheduler'), system.nats.halt('SIGKILL')]);
    system.nats.wipe();
    await expect.poll(() => ran.noted.join('\n'), { timeout: 30_000 }).toContain('Waiting until it is back');
    await system.nats.launch();
    await system.restart('ledger');
    await system.restart('scheduler');
    release();
    expect(await ran.done).toBe(0);
    expect(ran.noted.some((line) => line.includes('Back after'))).toBe(true);
    expect([...keysOf(file)].sort()).toEqual(keys(5));
    expect(mostAtOnce(file)).toBe(2);
  });

  it('sends nothing twice when the power goes between the stream and the scheduler', async () => {
    const file = batch(keys(3));
    await system.kill('scheduler');
    const first = begin(file, 2);
    const ledger = await system.client('ledger');
    await expect
      .poll(async () => (await ledger.jsm.streams.info('INTAKE')).state.messages, { timeout: 20_000 })
      .toBe(1);
    first.stop.abort(new Interrupted());
    await expect(first.done).rejects.toThrow(Interrupted);
    const second = begin(file, 2);
    await system.restart('scheduler');
    expect(await second.done).toBe(0);
    expect([...keysOf(file)].sort()).toEqual(keys(3));
    expect(mostAtOnce(file)).toBeLessThanOrEqual(2);
  });

  it('refuses an entry that was edited, with the difference; takes new ones, and names removed ones', async () => {
    const file = batch(['a', 'b']);
    const name = file.replace('.json', '');
    expect(await begin(file).done).toBe(0);
    const before = submissionsOf(file).length;
    batch([{ key: 'a', issue: { ...exampleIssue, title: 'Something else' } }, 'b', 'c'], { name });
    const error = explain(await begin(file).done.catch((caught: unknown) => caught));
    expect(error.message).toContain('An entry was edited');
    expect(error.detail).toEqual([
      expect.stringMatching(/^a \(t-/) as string,
      '  issue.title was "Totals of an invoice are rounded twice"',
      '  issue.title is  "Something else"',
    ]);
    expect(submissionsOf(file)).toHaveLength(before);
    batch(['b', 'c'], { name });
    const ran = begin(file);
    expect(await ran.done).toBe(0);
    expect(ran.said.join('\n')).toContain(
      'Not in the file any more, but submitted, and counted until they are done: a',
    );
    expect(ran.said.join('\n')).toContain('Not in the file any more, and submitted: a.');
    expect(keysOf(file)).toEqual(['a', 'b', 'c']);
  });

  it('says by its exit code what the worst of it was', async () => {
    const gate = await import('@plumbline/testing');
    const restore = crew.play({ gating: (step) => gate.gateConcluded(step, { tests: 'fail' }) });
    const bad = begin(batch(['bad']));
    expect(await bad.done).toBe(1);
    restore();
    expect(bad.said.join('\n')).toMatch(/plumb rule t-\w{26} --no-go --why …/);
    const blind = crew.play({ gating: () => Promise.reject(new StepFault('CONTEXT_OVERFLOW', 'it did not fit')) });
    expect(await begin(batch(['blind'])).done).toBe(3);
    blind();
  });

  it('tells what the scheduler refuses, and goes on with the others', async () => {
    const repository = join(folder, 'shop');
    mkdirSync(repository);
    execFileSync('git', ['init', '-q', '-b', 'main', repository]);
    const commit = ['-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '-q', '--allow-empty', '-m', 'a'];
    execFileSync('git', ['-C', repository, ...commit]);
    const file = batch([{ key: 'local', issue: exampleIssue, repository: 'shop' }, 'other']);
    const ran = begin(file, 1);
    expect(await ran.done).toBe(1);
    expect(ran.said.find((line) => line.includes('refused'))).toContain('submit refused: repo');
    expect(keysOf(file)).toEqual(['other']);
  });
});

describe('plumb report', () => {
  it('tells of a window, or of a batch by its name, and touches nothing', async () => {
    const file = batch(['a', 'b']);
    expect(await begin(file).done).toBe(0);
    const head = (await system.log.head()).pos;
    const all = sessionOf(true);
    expect(await report(all.session, [], { since: '1h' })).toBe(0);
    expect((all.documents[0] as ReportDocument).tasks.length).toBeGreaterThan(20);
    const one = sessionOf(true);
    await report(one.session, [], { batch: file.replace('.json', '') });
    expect(one.documents[0]).toMatchObject({ batch: { entries: null }, totals: { tasks: 2 } });
    const markdown = sessionOf();
    await report(markdown.session, [], { batch: file, format: 'markdown' });
    expect(markdown.said.join('\n')).toMatch(/^# Batch night-\d+\n/);
    const none = sessionOf();
    await report(none.session, [], { since: '2020-01-01', until: '2020-01-02' });
    expect(none.said.join('\n')).toContain('Nothing ran.');
    await expect(report(sessionOf().session, [], { since: 'now', until: '1h' })).rejects.toThrow(
      'ends before it begins',
    );
    await expect(report(sessionOf().session, [], { batch: 'No such' })).rejects.toThrow('neither a file nor a name');
    expect((await system.log.head()).pos).toBe(head);
  });
});
