import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { StepStopped } from '@plumbline/bus';
import type { EventData, PlumblineEvent, Policy } from '@plumbline/domain';
import { shippedPolicies } from '@plumbline/domain';
import { Metrics } from '@plumbline/host';
import { listTree, openChange, readBlob } from '@plumbline/repo';
import { nodeToolchain, openSandbox, type Sandbox } from '@plumbline/sandbox';
import { startScriptedModel, type ScenarioInput, type ScriptedModel } from '@plumbline/testing';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { attemptEnded, codingHandler, type CoderMeans } from './coding-step.js';
import { coderMetrics } from './metrics.js';
import { loadPrompts } from './prompts.js';
import { faultOf, StepStage } from './step.fixture.js';
import { turnRecordSchema } from './turn-record.js';

const issue = {
  title: 'sum loses its last number',
  body: '`sum` in `sum.mjs` must add up all numbers, also the last one.',
};
const files = {
  'sum.mjs':
    'export function sum(numbers) {\n  let all = 0;\n  for (let i = 0; i < numbers.length - 1; i++) all += numbers[i];\n  return all;\n}\n',
  'README.md': 'Sums.\n',
};
const bug = 'i < numbers.length - 1;';
const mend = 'i < numbers.length;';
const test =
  "import { test } from 'node:test';\nimport assert from 'node:assert';\nimport { sum } from './sum.mjs';\ntest('adds all', () => assert.equal(sum([1, 2, 3]), 6));\n";

type Call = { name: string; arguments: Record<string, unknown> };
type Turn = ScenarioInput['turns'][number];
const call = (name: string, args: Record<string, unknown> = {}): Call => ({ name, arguments: args });
const turn = (...toolCalls: Call[]): Turn => ({ reply: { toolCalls: toolCalls as never } });
const submit = call('submit', { summary: 'Add the last number too' });
const fix: Turn[] = [
  turn(call('search', { pattern: 'numbers', path: '.' }), call('list_dir')),
  turn(call('read_file', { path: 'sum.mjs' })),
  turn(call('str_replace', { path: 'sum.mjs', old: bug, new: mend })),
  turn(call('write_file', { path: 'sum.test.mjs', content: test })),
  turn(call('run', { command: 'node --test' })),
  turn(submit),
];

let sandbox: Sandbox;
let stage: StepStage;
let model: ScriptedModel;
let metrics: Metrics;

beforeAll(async () => {
  sandbox = await openSandbox();
});
beforeEach(async () => {
  stage = await StepStage.open(files, issue);
  metrics = new Metrics({ processDefaults: false });
});
afterEach(async () => {
  await model.stop();
  await stage.close();
});

async function play(turns: Turn[], id = 'coding.1.1'): Promise<void> {
  model = await startScriptedModel({ scenarios: [{ name: 'coder', describes: 'a coder', turns }] });
  stage.requestCoding(model.url, 'scripted/coder', id);
}

function means(more: Partial<CoderMeans> = {}): CoderMeans {
  return {
    ...{ artifacts: stage.artifacts, sandbox, toolchain: nodeToolchain(process.execPath), prompts: loadPrompts() },
    metrics: metrics.register(coderMetrics),
    workDir: stage.workDir,
    secrets: ['hunter2-hunter2'],
    access: {
      allowHosts: [],
      timers: () => ({ connectMs: 2_000, firstTokenMs: 2_000, stallMs: 500, turnMs: 20_000 }),
      retryPolicy: { maxRetries: 2, baseMs: 1, capMs: 2, maxRetryAfterMs: 10, loadingMs: 10 },
    },
    ...more,
  };
}

const code = (id = 'coding.1.1', epoch = 1, more: Partial<CoderMeans> = {}): Promise<PlumblineEvent[]> => {
  metrics = new Metrics({ processDefaults: false });
  return codingHandler(means(more))(stage.held(id, epoch));
};
const proposed = (events: PlumblineEvent[]): EventData<'change.proposed'> => {
  const [event] = events;
  if (event?.type !== 'change.proposed') throw new Error(`got ${event?.type}`);
  stage.push(event);
  return event.data;
};
/** What the model was shown last, tool result by tool result. */
const shownTo = (): string[] => {
  const messages = model.requests.at(-1)?.body.messages ?? [];
  return messages.filter(({ role }) => role === 'tool').map(({ content }) => String(content));
};
const records = () => stage.of('turn.recorded').map(({ data }) => turnRecordSchema.parse(stage.json(data.transcript)));
const noTrace = (): boolean => !existsSync(stage.workDir) || readdirSync(stage.workDir).length === 0;

describe('a coding step', () => {
  it('mends a bug from issue to bundle, and records every turn', async () => {
    await play(fix);
    const change = proposed(await code());
    expect(change).toMatchObject({
      files: ['sum.mjs', 'sum.test.mjs'],
      summary: 'Add the last number too',
      base: stage.snapshot.base,
    });
    expect(shownTo()[0]).toContain('sum.mjs:1:export function sum(numbers) {');
    expect(shownTo().at(-1)).toMatch(/^exit code 0\n[\s\S]*pass 1$/m);

    const dir = join(stage.root, 'check');
    mkdirSync(dir);
    const [pack, bundle] = [join(dir, 'base.pack'), join(dir, 'change.pack')];
    writeFileSync(pack, stage.stored.get(stage.snapshot.pack.digest) ?? '');
    writeFileSync(bundle, stage.stored.get(change.bundle.digest) ?? '');
    const opened = await openChange({ ...change, snapshotPack: pack, bundle, dir: join(dir, 'git') });
    expect(opened.commits).toEqual([change.head]);
    const entries = await listTree({ gitDir: opened.gitDir, tree: change.tree });
    const mended = entries.find(({ path }) => path === 'sum.mjs')?.id ?? '';
    expect((await readBlob({ gitDir: opened.gitDir, blob: mended })).toString()).toBe(
      files['sum.mjs'].replace(bug, mend),
    );

    const turns = stage.of('turn.recorded').map(({ data }) => data);
    expect(turns.map(({ tools }) => tools)).toEqual([
      ['search', 'list_dir'],
      ['read_file'],
      ['str_replace'],
      ['write_file'],
      ['run'],
      ['submit'],
    ]);
    expect(turns.map(({ workspace }) => workspace !== undefined)).toEqual([false, false, true, true, false, false]);
    expect(turns.at(-1)?.treeAfter).toBe(change.tree);
    expect(records()[0]?.request.opening?.[1]?.content).toContain(issue.body);
    expect(records()[4]).toMatchObject({
      format: 'plumbline.turn/1',
      prompts: loadPrompts().digests,
      isolation: sandbox.isolation,
    });
    expect(noTrace()).toBe(true);
  });

  it('gives the same commit for the same work, and counts what it did', async () => {
    await play(fix);
    const first = proposed(await code());
    stage.history.splice(stage.history.findIndex(({ type }) => type === 'turn.recorded'));
    const again = proposed(await code('coding.1.1', 2));
    expect(again.head).toBe(first.head);
    const { text } = await metrics.page();
    const host = new URL(model.url).host;
    for (const line of [
      /^plumb_coder_turns_total\{model="scripted\/coder"\} 6$/m,
      /^plumb_coder_tool_calls_total\{tool="submit",outcome="accepted"\} 1$/m,
      /^plumb_model_calls_total\{outcome="complete"\} 6$/m,
      /^plumb_model_tokens_total\{kind="completion"\} [1-9]/m,
      /^plumb_model_first_token_seconds_count 6$/m,
      new RegExp(`^plumb_model_bytes_total\\{endpoint="${host}",direction="sent"\\} [1-9]`, 'm'),
      new RegExp(`^plumb_model_bytes_total\\{endpoint="${host}",direction="received"\\} [1-9]`, 'm'),
    ])
      expect(text).toMatch(line);
  });
});

describe('resuming', () => {
  for (const after of [1, 3, 5]) {
    it(`goes on after ${after} recorded turns and repeats none`, async () => {
      await play(fix);
      const whole = proposed(await code());
      const turnsBefore = model.requests.length;
      const cut = stage.history.findIndex((event) => event.type === 'turn.recorded' && event.data.turn === after);
      stage.history.splice(cut + 1);
      stage.requestCoding(model.url, 'scripted/coder', 'coding.1.2');
      const resumed = proposed(await code('coding.1.2', 1));
      expect([resumed.tree, resumed.head]).toEqual([whole.tree, whole.head]);
      expect(model.requests.slice(turnsBefore).map((request) => request.turn)).toEqual([0, 1, 2, 3, 4, 5].slice(after));
      expect(stage.of('turn.recorded').map(({ data }) => data.turn)).toEqual([1, 2, 3, 4, 5, 6]);
      // Byte for byte the conversation that the first run sent (up to the test run, whose output holds times).
      const [first, second] = model.requests.filter((request) => request.turn === Math.max(4, after));
      expect(second?.conversation).toBe(first?.conversation);
    });
  }

  it('goes on after a turn that edited and handed in at once, to a red gate', async () => {
    const twice = [turn(call('str_replace', { path: 'sum.mjs', old: bug, new: mend }), submit), turn(submit)];
    await play(twice);
    let asked = 0;
    const fastGate: CoderMeans['fastGate'] = () =>
      Promise.resolve(asked++ === 0 ? { outcome: 'red', findings: ['no test'] } : { outcome: 'green' });
    const whole = proposed(await code('coding.1.1', 1, { fastGate }));
    stage.history.splice(stage.history.findIndex(({ type }) => type === 'turn.recorded') + 1);
    expect(proposed(await code('coding.1.1', 2)).head).toBe(whole.head);
  });

  it('asks nothing more when the last recorded turn was accepted', async () => {
    await play(fix);
    const whole = proposed(await code());
    const asked = model.requests.length;
    stage.history.pop();
    expect(proposed(await code('coding.1.1', 2)).head).toBe(whole.head);
    expect(model.requests.length).toBe(asked);
  });

  it('goes on after a worker was stopped between two turns, on an empty machine', async () => {
    await play(fix);
    const controller = new AbortController();
    const held = stage.held('coding.1.1', 1, controller);
    const record = held.record;
    held.record = async (key, events) => {
      await record(key, events);
      if (key === 'turn-4') controller.abort(new StepStopped('lost'));
    };
    await expect(codingHandler(means())(held)).rejects.toThrow('lost');
    expect(noTrace()).toBe(true);
    expect(proposed(await code('coding.1.1', 2)).files).toEqual(['sum.mjs', 'sum.test.mjs']);
    expect(model.requests.length).toBe(6);
  });

  it('starts anew with another model, and a later holder resumes only that', async () => {
    await play(fix.slice(0, 2));
    await faultOf(code());
    await model.stop();
    model = await startScriptedModel({ scenarios: [{ name: 'other', describes: 'another coder', turns: fix }] });
    stage.requestCoding(model.url, 'scripted/other', 'coding.1.2');
    const whole = proposed(await code('coding.1.2'));
    expect(stage.of('turn.recorded').map(({ data }) => data.turn)).toEqual([1, 2, 1, 2, 3, 4, 5, 6]);
    stage.history.splice(-2);
    expect(proposed(await code('coding.1.2', 2)).head).toBe(whole.head);
  });

  it('refuses to go on from a record that was tampered with', async () => {
    await play(fix);
    await code();
    const cut = stage.history.findIndex((event) => event.type === 'turn.recorded' && event.data.turn === 3);
    stage.history.splice(cut + 1);
    const second = stage.of('turn.recorded')[1];
    if (second === undefined) throw new Error('no second turn');
    const forged = JSON.stringify(stage.json(second.data.transcript)).replace('numbers', 'integers');
    second.data.transcript = await stage.put(Buffer.from(forged));
    expect((await faultOf(code('coding.1.1', 2))).code).toBe('HARNESS_BUG');
  });
});

describe('a model that lies', () => {
  const refusals = async (...calls: Call[]): Promise<string[]> => {
    await play([turn(...calls), turn(call('decline', { reason: 'enough seen' }))]);
    expect((await faultOf(code())).code).toBe('MODEL_DECLINED');
    return shownTo();
  };

  it('claims success without a change: refused once, then ended', async () => {
    await play([turn(submit), turn(submit)]);
    expect((await faultOf(code())).code).toBe('EMPTY_DIFF');
    expect(shownTo()[0]).toContain('nothing changed');
  });

  it('cannot leave the tree by path', async () => {
    const paths = [
      '../../etc/passwd',
      '/etc/passwd',
      'a/../../x',
      '.git/config',
      'sub/.GIT/hooks/x',
      '/work/../etc/passwd',
    ];
    const shown = await refusals(
      ...paths.map((path) => call('write_file', { path, content: 'mine' })),
      ...paths.map((path) => call('read_file', { path })),
    );
    expect(shown).toHaveLength(paths.length * 2);
    for (const text of shown) expect(text).toMatch(/outside|segment|spelling of \.git/);
    expect(readFileSync('/etc/passwd', 'utf8')).not.toContain('mine');
  });

  it('cannot leave the tree by a link it made, and such a link is not recorded', async () => {
    const secret = join(stage.root, 'secret.txt');
    writeFileSync(secret, 'the secret of the house');
    const shown = await refusals(
      call('run', { command: `ln -s ${secret} leak; ln -s ${stage.root} out; ln -s gone dangling` }),
      call('read_file', { path: 'leak' }),
    );
    expect(shown[0]).toContain('undone');
    expect(shown[1]).toContain('does not exist');
    expect(records()[0]?.facts.treeAfter).toBe(stage.snapshot.tree);
    expect(JSON.stringify(records())).not.toContain('the secret of the house');
  });

  it('cannot leave the tree by a link that base holds', async () => {
    await stage.close();
    stage = await StepStage.open({ ...files, 'house.link': '/etc', 'file.link': '/etc/hostname' }, issue);
    const shown = await refusals(
      call('write_file', { path: 'house.link/plumbline-was-here', content: 'mine' }),
      call('read_file', { path: 'house.link/hostname' }),
      call('str_replace', { path: 'file.link', old: 'a', new: 'b' }),
      call('list_dir', { path: 'house.link' }),
      call('search', { pattern: '.', path: 'house.link' }),
    );
    for (const text of shown) expect(text).toContain('leads out of the repository');
    expect(existsSync('/etc/plumbline-was-here')).toBe(false);
  });

  it('has no network and sees nothing of this machine', async () => {
    const { host } = new URL((await play([turn(submit)]), model.url));
    await model.stop();
    const [net, env] = await refusals(
      call('run', {
        command: `node -e "fetch('http://${host}').then(() => console.log('out'), (e) => console.log('no', e.cause.code))"`,
      }),
      call('run', { command: `ls ${stage.root}; env; cat /etc/shadow; ls /root /work` }),
    );
    expect(net).toMatch(/no (ECONNREFUSED|ENETUNREACH)/);
    expect(env).not.toMatch(/PLUMB|hunter2|origin|root:\$/);
    expect(env).toContain('sum.mjs');
  });

  it('cannot leave a process behind, nor outlast its time', async () => {
    const started = performance.now();
    const shown = await refusals(
      call('run', { command: '(sleep 300 & echo $! ; setsid sleep 301 &) ; echo done' }),
      call('run', { command: 'for i in 1 2 3 4 5 6 7 8 9; do sh -c "sleep 99 & sleep 99" & done; wait', timeoutS: 1 }),
    );
    expect(shown[0]).toContain('done');
    expect(shown[1]).toContain('killed after 1 seconds');
    expect(performance.now() - started).toBeLessThan(15_000);
  });

  it('cannot smuggle in a nested repository, a pipe, or files nobody may read', async () => {
    const shown = await refusals(
      call('run', {
        command:
          'mkdir -p sub && cd sub && mkdir .git && mkdir -p .git/objects .git/refs && echo "ref: refs/heads/x" > .git/HEAD && echo x > f',
      }),
      call('run', { command: 'rm README.md && mkfifo README.md' }),
      call('run', { command: 'mkfifo pipe' }),
      call('read_file', { path: 'pipe' }),
      call('write_file', { path: 'pipe', content: 'x' }),
      call('read_file', { path: 'README.md' }),
      call('search', { pattern: 'Sums' }),
    );
    expect(shown[0]).toContain('undone');
    expect(shown[1]).toContain('undone');
    // Not part of any tree; opened, it would wait for ever.
    expect(shown.slice(3, 5)).toEqual(['pipe is not a regular file', 'pipe is not a regular file']);
    expect(shown.slice(5)).toEqual(['1\tSums.', 'README.md:1:Sums.']);
  });
});

describe('an attempt that gets nowhere ends with its code', () => {
  const repeat = (n: number, one: Turn): Turn[] => Array.from({ length: n }, () => one);
  const cases: [string, Turn[], Partial<Policy['coder']>?][] = [
    ['NO_TOOL_CALL', repeat(4, { reply: { content: 'I would change sum.mjs.' } })],
    ['REASONING_ONLY', repeat(6, { reply: { reasoning: 'Hm.', content: '' } })],
    ['OUTPUT_TRUNCATED', repeat(5, { reply: { content: 'Let me', finish: 'length' } })],
    ['TOOL_UNKNOWN', repeat(4, turn(call('edit_file', { path: 'sum.mjs' })))],
    ['TOOL_ARGS_INVALID', repeat(4, turn(call('read_file', { file: 'sum.mjs' })))],
    ['STUCK_REPEAT', repeat(6, turn(call('read_file', { path: 'sum.mjs' })))],
    [
      'STUCK_NO_EDIT',
      Array.from({ length: 16 }, (_, i) => turn(call('read_file', { path: 'sum.mjs', start: 1, limit: i + 1 }))),
    ],
    [
      'TURN_BUDGET',
      Array.from({ length: 9 }, (_, i) => turn(call('write_file', { path: 'x.txt', content: `${i}` }))),
      { turnsMax: 8 },
    ],
  ];
  for (const [expected, turns, coder] of cases) {
    it(expected, async () => {
      if (coder !== undefined) {
        await stage.close();
        stage = await StepStage.open(files, issue, { coder: { ...shippedPolicies.strict.coder, ...coder } });
      }
      await play(turns);
      const { code: got, detail } = await faultOf(code());
      expect(got).toBe(expected);
      const ended = attemptEnded(stage.held('coding.1.1'), 'STUCK_REPEAT', detail);
      expect(() => stage.push(ended)).not.toThrow();
      expect(noTrace()).toBe(true);
    });
  }

  it('CHANGE_INVALID after three calls that leave no usable tree', async () => {
    await play(repeat(4, turn(call('run', { command: 'ln -s /etc/passwd p' }))));
    expect((await faultOf(code())).code).toBe('CHANGE_INVALID');
  });

  it('broken arguments are never executed and never poison the conversation', async () => {
    const cut: Turn = {
      ...turn(call('write_file', { path: 'sum.mjs', content: 'x'.repeat(80) })),
      fault: { kind: 'truncated-arguments', keepChars: 40 },
    };
    await play([cut, ...fix.slice(2)]);
    const change = proposed(await code());
    expect(change.files).toEqual(['sum.mjs', 'sum.test.mjs']);
    expect(shownTo()[0]).toContain('not a JSON object');
  });
});

describe('the model server', () => {
  it('breaks a stream in the middle: the turn is asked again', async () => {
    const [first, ...rest] = fix;
    await play([{ ...first, fault: { kind: 'rst', times: 2, afterChunks: 2 } } as Turn, ...rest]);
    proposed(await code());
    expect(records()[0]?.answer.tries.map(({ outcome }) => outcome)).toEqual([
      'STREAM_BROKEN',
      'STREAM_BROKEN',
      'complete',
    ]);
    expect(stage.of('turn.recorded')).toHaveLength(6);
  });

  it('keeps breaking it: STREAM_BROKEN, and the next try goes on from there', async () => {
    const broken = fix.map((one, at) => (at === 3 ? ({ ...one, fault: { kind: 'eof', times: 3 } } as Turn) : one));
    await play(broken);
    expect((await faultOf(code())).code).toBe('STREAM_BROKEN');
    expect(stage.of('turn.recorded')).toHaveLength(3);
    stage.requestCoding(model.url, 'scripted/coder', 'coding.1.2');
    proposed(await code('coding.1.2'));
    expect(stage.of('turn.recorded').map(({ data }) => data.turn)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('is outside the house: refused before a word is sent', async () => {
    await play(fix);
    stage.requestCoding('http://203.0.113.7:8080', 'scripted/coder');
    // Even the snapshot is not asked for: the store would answer with an error.
    stage.storeDown = 403;
    expect(await faultOf(code())).toMatchObject({ code: 'CONFIG_INVALID', detail: expect.stringContaining('outside') });
    expect(model.requests).toHaveLength(0);
  });

  it('is left alone at once when the step is stopped', async () => {
    await play([{ ...(fix[0] as object), delayMs: 20_000 } as Turn]);
    const controller = new AbortController();
    const work = codingHandler(
      means({
        access: { allowHosts: [], timers: () => ({ connectMs: 9e4, firstTokenMs: 9e4, stallMs: 9e4, turnMs: 9e4 }) },
      }),
    )(stage.held('coding.1.1', 1, controller));
    const stopped = expect(work).rejects.toBeInstanceOf(StepStopped);
    while (model.requests.length === 0) await new Promise(setImmediate);
    const at = performance.now();
    controller.abort(new StepStopped('cancelled'));
    await stopped;
    expect(performance.now() - at).toBeLessThan(2_000);
    expect(noTrace()).toBe(true);
  });
});

describe('the fast gate', () => {
  const red = { outcome: 'red' as const, findings: ['sum.test.mjs:1 is not formatted'] };

  it('sends a red submission back, and accepts a green one', async () => {
    await play([
      ...fix.slice(2, 5),
      turn(submit),
      turn(call('write_file', { path: 'sum.test.mjs', content: `${test}\n` })),
      turn(submit),
    ]);
    const seen: string[] = [];
    const fastGate: CoderMeans['fastGate'] = ({ tree }) =>
      Promise.resolve(seen.push(tree) === 1 ? red : { outcome: 'green' });
    const change = proposed(await code('coding.1.1', 1, { fastGate }));
    expect(seen[1]).toBe(change.tree);
    expect(shownTo()).toContainEqual(expect.stringContaining('is not formatted'));
  });

  it('ends in GATE_FAILED after its rounds, and a gate that cannot run never counts as red', async () => {
    await stage.close();
    stage = await StepStage.open(files, issue, { coder: { turnsMax: 60, gateRoundsMax: 1 } });
    await play([fix[2] as Turn, turn(submit), turn(submit), turn(submit)]);
    const failed = await faultOf(code('coding.1.1', 1, { fastGate: () => Promise.resolve(red) }));
    expect(failed.code).toBe('GATE_FAILED');
    expect(model.requests).toHaveLength(3);
    stage.requestCoding(model.url, 'scripted/coder', 'coding.2.1');
    const broken = await faultOf(
      code('coding.2.1', 1, { fastGate: () => Promise.resolve({ outcome: 'error', why: 'no compiler' }) }),
    );
    expect(broken.code).toBe('GATE_ERROR');
  });
});

describe('evidence', () => {
  it('holds no secrets, and a run resumes from masked records', async () => {
    const key = `ghp_${'a'.repeat(36)}`;
    const leak = turn(call('run', { command: `echo hunter2-hunter2 ${key}` }));
    await play([leak, ...fix.slice(2)]);
    const whole = proposed(await code());
    expect(JSON.stringify(records())).toContain('[redacted]');
    expect(JSON.stringify(records())).not.toMatch(/hunter2|ghp_aaa/);
    const cut = stage.history.findIndex((event) => event.type === 'turn.recorded' && event.data.turn === 2);
    stage.history.splice(cut + 1);
    expect(proposed(await code('coding.1.1', 2)).tree).toBe(whole.tree);
  });

  it('that cannot be stored ends the step as ARTIFACT_UNAVAILABLE', async () => {
    await play(fix);
    stage.storeDown = 403;
    expect((await faultOf(code())).code).toBe('ARTIFACT_UNAVAILABLE');
  });

  it('survives what no event could hold: control characters and endless names', async () => {
    await play([
      turn(call('x'.repeat(500))),
      fix[2] as Turn,
      turn(call('submit', { summary: 'a\u0000b\ud800' + 'c'.repeat(3_000) })),
    ]);
    const change = proposed(await code());
    expect(change.summary).toMatch(/^a b\ufffdc+$/);
    expect(stage.of('turn.recorded')[0]?.data.tools).toEqual(['unknown']);
  });
});
