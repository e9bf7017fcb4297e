import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  auditDocumentSchema,
  checkDocumentSchema,
  deadDocumentSchema,
  doctorDocumentSchema,
  errorDocumentSchema,
  escalationsDocumentSchema,
  eventDocumentSchema,
  taskDocumentSchema,
  tasksDocumentSchema,
  whyDocumentSchema,
} from '@plumbline/domain';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { scriptedModels, type DemoModels } from './demo/models.js';
import { makeOrigin } from './demo/sample-repository.js';
import { checkout } from './system/checkout.js';

const TIMEOUT_MS = 180_000;
const sample = join(checkout, 'apps', 'cli', 'sample');

interface Ran {
  code: number | string | null;
  out: string;
  err: string;
}

let scratch: string;
let models: DemoModels;
let origin: string;

function run(file: string, args: string[]): Promise<Ran> {
  const env = {
    PATH: process.env['PATH'],
    HOME: join(scratch, 'person'),
    TMPDIR: join(scratch, 'tmp'),
    PLUMB_HOME: join(scratch, 'home'),
  };
  return new Promise((resolve) => {
    execFile(process.execPath, [file, ...args], { env, timeout: TIMEOUT_MS }, (error, out, err) =>
      resolve({ code: error === null ? 0 : (error.code ?? null), out, err }),
    );
  });
}

const plumb = (...args: string[]): Promise<Ran> => run(join(checkout, 'apps', 'cli', 'dist', 'main.js'), args);

/** Runs a command with --json and holds its one document to the contract; returns the document. */
async function document<S extends z.ZodType>(schema: S, args: string[], code = 0): Promise<z.infer<S>> {
  const ran = await plumb(...args, '--json');
  expect({ args, code: ran.code, err: ran.code === code ? '' : ran.err }).toEqual({ args, code, err: '' });
  return schema.parse(JSON.parse(ran.out));
}

const named = (name: string) => z.looseObject({ schema: z.literal(`plumbline.${name}/1`) });
const lines = (out: string): unknown[] =>
  out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);

beforeAll(async () => {
  if (!existsSync(join(checkout, 'services', 'ledger', 'dist', 'main.js')))
    throw new Error('run `npm run build` first');
  scratch = mkdtempSync(join(tmpdir(), 'plumb documents-'));
  for (const name of ['person', 'tmp']) mkdirSync(join(scratch, name));
  origin = await makeOrigin(join(sample, 'repository'), join(scratch, 'my repositories'));
  const scenarios = join(sample, 'scenarios');
  models = await scriptedModels({ root: checkout, scenarios, logs: scratch }, new AbortController().signal);
  const asked = ['--model-name', 'scripted/coder', '--reviewer-name', 'scripted/reviewer'];
  await document(named('up'), ['up', '--model-url', models.url, ...asked]);
}, TIMEOUT_MS);

afterAll(async () => {
  await plumb('down', '--purge');
  await models.stop();
  rmSync(scratch, { recursive: true, force: true });
}, TIMEOUT_MS);

describe('the documents of a running system', () => {
  let task: string;

  it(
    'a submission from a directory with spaces is followed to GO, each line an event of the contract',
    async () => {
      const issue = ['--issue', join(sample, 'issues', 'lost-cent.md')];
      const submitted = await plumb('submit', '--repo', origin, '--base', 'main', ...issue, '--wait', '--json');
      expect(submitted).toMatchObject({ code: 0 });
      const events = lines(submitted.out).map((line) => eventDocumentSchema.parse(line));
      expect(events.at(-1)).toMatchObject({ type: 'task.closed', data: { outcome: 'go' } });
      task = events[0]?.task ?? '';
      const watched = await plumb('watch', task.slice(0, 9), '--json');
      expect(lines(watched.out).map((line) => eventDocumentSchema.parse(line).task)).toEqual(events.map(() => task));
    },
    TIMEOUT_MS,
  );

  it(
    'a plain NATS client hands over the other issue, and hears of the NO-GO and the escalation',
    async () => {
      const [title, ...rest] = readFileSync(join(sample, 'issues', 'long-names.md'), 'utf8').split('\n');
      const args = [origin, 'main', title?.replace(/^# /, '') ?? '', rest.join('\n').trim()];
      const ran = await run(join(checkout, 'docs', 'submit.mjs'), args);
      expect(ran).toMatchObject({ code: 0, err: '' });
      expect(ran.out).toMatch(/^stored as message \d+ of \w+\ntask\.submitted\n/);
      expect(ran.out).toMatch(/^verdict\.reached NO-GO$/m);
      expect(ran.out).toMatch(/escalation\.opened\n$/);
      const refused = await run(join(checkout, 'docs', 'submit.mjs'), ['ext::id', 'main', 'It is broken']);
      expect(refused).toMatchObject({ code: 2, err: expect.stringMatching(/^refused: .*repository\.url/) as string });
    },
    TIMEOUT_MS,
  );

  it(
    'every reading command prints one document of the contract',
    async () => {
      const { tasks } = await document(tasksDocumentSchema, ['list']);
      expect(tasks.map(({ verdict }) => verdict).sort()).toEqual(['GO', 'NO-GO']);
      const trap = tasks.find(({ verdict }) => verdict === 'NO-GO')?.id ?? '';
      expect(await document(taskDocumentSchema, ['show', task])).toMatchObject({ verdict: { verdict: 'GO' } });
      expect((await document(taskDocumentSchema, ['show', trap])).attempts).toHaveLength(2);
      await document(whyDocumentSchema, ['why', task]);
      await document(whyDocumentSchema, ['why', trap]);
      expect((await document(escalationsDocumentSchema, ['escalations'])).escalations).toMatchObject([{ task: trap }]);
      expect(await document(auditDocumentSchema, ['audit'])).toMatchObject({ ok: true });
      expect(await document(deadDocumentSchema, ['dead', 'list'])).toMatchObject({ dead: [] });
      expect(await document(doctorDocumentSchema, ['doctor'])).toMatchObject({ ok: true });
      const log = await plumb('log', '--json');
      expect(lines(log.out).map((line) => eventDocumentSchema.parse(line).position)).toEqual(
        lines(log.out).map((_, at) => at + 1),
      );
      const change = ['check', '--repo', origin, '--base', 'main~1', '--head', 'main'];
      checkDocumentSchema.parse(JSON.parse((await plumb(...change, '--json')).out));
    },
    TIMEOUT_MS,
  );

  it(
    'a ruling waives the NO-GO and publishes; what comes after it is refused with the document for errors',
    async () => {
      const trap = (await document(escalationsDocumentSchema, ['escalations'])).escalations[0]?.task ?? '';
      await document(named('intervention'), ['rule', trap, '--go', '--why', 'we can live with it']);
      expect((await plumb('watch', trap)).code).toBe(0);
      const { task: closed, verdict } = await document(taskDocumentSchema, ['show', trap]);
      expect(closed).toMatchObject({ state: 'closed', published: { branch: `plumbline/${trap}` } });
      expect(verdict?.verdict).toBe('GO-WAIVED');
      for (const args of [
        ['rule', trap, '--no-go', '--why', 'x'],
        ['cancel', trap, '--why', 'x'],
        ['retry', trap, '--why', 'x'],
        ['show', 't-00000000000000000000000000'],
        ['dead', 'drop', '7'],
      ]) {
        expect(await document(errorDocumentSchema, args, 1)).toMatchObject({ code: 'refused', exitCode: 1 });
      }
      expect(await document(errorDocumentSchema, ['list', '--state', 'x'], 2)).toMatchObject({ code: 'bad-input' });
      expect(await document(errorDocumentSchema, ['up', '--model-name', 'other'], 1)).toMatchObject({
        message: 'Plumbline is up already, with another --model-name than this.',
      });
    },
    TIMEOUT_MS,
  );

  it(
    'purged, it leaves nothing anywhere',
    async () => {
      await document(named('down'), ['down', '--purge']);
      expect(readdirSync(scratch).sort()).toEqual(['my repositories', 'person', 'scripted-model.log', 'tmp']);
      expect([...readdirSync(join(scratch, 'person')), ...readdirSync(join(scratch, 'tmp'))]).toEqual([]);
    },
    TIMEOUT_MS,
  );
});
