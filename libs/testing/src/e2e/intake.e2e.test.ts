import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { connect, headers as natsHeaders, type Msg, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WholeSystem } from './whole-system.js';

let whole: WholeSystem;
/** A client as anybody would write it: the NATS library, an address, a name and a password, and nothing of ours. */
let nc: NatsConnection;
/** What that client was refused by the broker, in its words. */
const violations: string[] = [];
const heard: { subject: string; data: Record<string, unknown> }[] = [];
let wake: () => void = () => undefined;

beforeAll(async () => {
  whole = await WholeSystem.start();
  const { url, passwords } = whole.system.nats;
  nc = await connect({ servers: url, user: 'user', pass: passwords.user });
  void (async () => {
    for await (const status of nc.status()) if (status.type === 'error') violations.push(status.error.message);
  })();
  const hear = (message: Msg): void => {
    heard.push({ subject: message.subject, data: JSON.parse(message.string()) as Record<string, unknown> });
    wake();
  };
  for (const subject of ['log.>', 'plumb.intake.refused'])
    nc.subscribe(subject, { callback: (error, message) => (error === null ? hear(message) : undefined) });
  await nc.flush();
}, 120_000);
afterAll(async () => {
  await nc?.close();
  await whole?.stop();
});

/** The first message heard that fits, now or when it comes. */
async function hears(what: string, fits: (message: (typeof heard)[number]) => boolean, timeoutMs = 60_000) {
  const late = AbortSignal.timeout(timeoutMs);
  for (;;) {
    const found = heard.find(fits);
    if (found !== undefined) return found;
    await new Promise<void>((resolve, reject) => {
      wake = resolve;
      late.onabort = () =>
        reject(
          new Error(
            `${what} was not heard within ${timeoutMs} ms; heard: ${heard.map(({ subject }) => subject).join(' ')}\n` +
              whole.system.child('scheduler').lastWords(),
          ),
        );
    });
  }
}

const type = 'dev.plumbline.task.submit.v1';

function publishStructured(data: unknown, attributes: Record<string, unknown> = {}): string {
  const id = randomUUID();
  const event = { specversion: '1.0', id, source: '/a/script', type, data, ...attributes };
  const headers = natsHeaders();
  headers.set('content-type', 'application/cloudevents+json');
  nc.publish('plumb.intake.task.submit', JSON.stringify(event), { headers });
  return id;
}

function publishBinary(data: unknown): string {
  const id = randomUUID();
  const headers = natsHeaders();
  const attributes = { 'ce-specversion': '1.0', 'ce-id': id, 'ce-source': '/a/script', 'ce-type': type };
  for (const [name, value] of Object.entries({ ...attributes, 'content-type': 'application/json' }))
    headers.set(name, value);
  nc.publish('plumb.intake.task.submit', JSON.stringify(data), { headers });
  return id;
}

/** The id of the task a submission became, as the log's subjects tell it. */
async function taskOf(id: string): Promise<string> {
  const { subject } = await hears(
    `the task of ${id}`,
    (message) => message.subject.startsWith('log.task.submitted.') && message.data['submissionId'] === id,
  );
  return subject.slice('log.task.submitted.'.length);
}

const refusalOf = (id: string) =>
  hears(`the refusal of ${id}`, ({ subject, data }) => {
    return subject === 'plumb.intake.refused' && (data['data'] as { id?: string } | undefined)?.id === id;
  });

async function recordedEvents(): Promise<{ all: number; said: (text: string) => Promise<number> }> {
  const { admin } = whole.system.database;
  const counted = async (where: string, values: string[]): Promise<number> => {
    const { rows } = await admin.query<{ n: string }>(`SELECT count(*) AS n FROM es.event ${where}`, values);
    return Number(rows[0]?.n);
  };
  return { all: await counted('', []), said: (text) => counted('WHERE strpos(data::text, $1) > 0', [text]) };
}

describe('any NATS client', () => {
  it('hands in work, structured and binary, and follows it to the verdict', async () => {
    const [fix, trap] = [publishStructured(whole.submission('fix')), publishBinary(whole.submission('trap'))];
    const verdictOf = async (id: string): Promise<unknown> => {
      const taskId = await taskOf(id);
      const { data } = await hears(
        `the verdict on ${taskId}`,
        ({ subject }) => subject === `log.verdict.reached.${taskId}`,
        100_000,
      );
      return data['judgement'];
    };
    expect(await verdictOf(fix)).toMatchObject({ verdict: 'GO', reasons: [] });
    const refused = (await verdictOf(trap)) as { verdict: string; reasons: { check: string }[] };
    expect(refused.verdict).toBe('NO-GO');
    expect(refused.reasons.map(({ check }) => check)).toEqual(expect.arrayContaining(['scope', 'evidence']));
    const published = await hears('the branch', ({ subject }) => subject.startsWith('log.change.published.'));
    expect((await whole.origin.branches()).get(String(published.data['branch']))).toBe(published.data['head']);
  }, 150_000);

  it('is told what is wrong with what it hands in, and nothing of it is recorded', async () => {
    const marker = `refused-${randomUUID()}`;
    const title = { title: marker, body: '' };
    const cases: [unknown, RegExp][] = [
      [{ ...whole.submission('fix'), issue: title, priority: 'urgent' }, /priority: got "urgent", expected/],
      [{ issue: title }, /repository: .*expected/],
      [{ ...whole.submission('fix'), issue: title, [marker]: 1 }, /expected/],
      [marker, /expected/],
    ];
    for (const [data, message] of cases) {
      const { data: event } = await refusalOf(publishStructured(data));
      expect(event['data']).toMatchObject({ code: 'INVALID', message: expect.stringMatching(message) });
    }
    expect(await (await recordedEvents()).said(marker)).toBe(0);
  });

  it('cannot have anything executed or recorded by the address of a repository', async () => {
    const executed = join(whole.folder, 'executed');
    const addresses = [
      `ext::sh -c touch% ${executed}`,
      `ext::sh -c "touch ${executed}"`,
      `--upload-pack=touch ${executed};`,
      `-oProxyCommand=touch ${executed}`,
      `ssh://-oProxyCommand=touch ${executed}/x`,
      `fd::17/${executed}`,
      `file:///etc/../${executed}`,
      `https://host/$(touch ${executed})/../x`,
    ];
    const bases = [`--upload-pack=touch ${executed}`, `main; touch ${executed}`, `$(touch ${executed})`, '-u'];
    for (const url of addresses) {
      const id = publishStructured({ ...whole.submission('fix'), repository: { url, base: 'main' } });
      expect((await refusalOf(id)).data['data']).toMatchObject({ code: 'INVALID' });
    }
    for (const base of bases) {
      const id = publishBinary({ ...whole.submission('fix'), repository: { url: whole.origin.path, base } });
      expect((await refusalOf(id)).data['data']).toMatchObject({ code: 'INVALID' });
    }
    expect(await (await recordedEvents()).said(executed)).toBe(0);
    expect(existsSync(executed)).toBe(false);
  });

  it('gets nothing out of a file that is no repository', async () => {
    const url = 'file:///etc/passwd';
    const taskId = await taskOf(publishStructured({ ...whole.submission('fix'), repository: { url, base: 'main' } }));
    const failed = await whole.event(taskId, 'snapshot.failed');
    expect(failed.data).toMatchObject({ code: 'REPOSITORY_FORBIDDEN' });
    await whole.event(taskId, 'escalation.opened');
    expect(await (await recordedEvents()).said('root:')).toBe(0);
  });
});

describe('a client without the right to it', () => {
  /** What the broker says to it; a violation arrives before the answer to the flush. */
  async function refusedBy(act: () => void): Promise<string[]> {
    violations.length = 0;
    act();
    await nc.flush();
    await new Promise((done) => setImmediate(done));
    return [...violations];
  }

  it('does not get in without the password, nor as somebody else with its own', async () => {
    const { url, passwords } = whole.system.nats;
    const logins = [
      { user: 'user', pass: 'guess' },
      { user: 'scheduler', pass: passwords.user },
      { user: 'ledger', pass: '' },
      {},
    ];
    for (const login of logins)
      await expect(connect({ servers: url, ...login, reconnect: false })).rejects.toThrow(/authorization violation/i);
  });

  it('can neither append nor publish to the log, nor touch streams, nor speak as a service', async () => {
    const head = (await whole.system.log.head()).pos;
    const before = await recordedEvents();
    const taskId =
      whole.system.watch.events.find(({ type: kind }) => kind === 'task.submitted')?.streamId.slice(5) ?? '';
    const forged = JSON.stringify({
      commandId: randomUUID(),
      streams: [
        { streamId: `task-${taskId}`, events: [{ type: 'task.cancelled', data: { by: 'mallory', why: 'because' } }] },
      ],
    });
    const subjects = [
      ...['append', 'lease', 'read'].flatMap((door) => [`plumb.ledger.${door}.scheduler`, `plumb.ledger.${door}.user`]),
      ...[`log.verdict.reached.${taskId}`, `log.task.coding-requested.${taskId}`, 'log.x'],
      ...[
        'STREAM.DELETE.LOG',
        'STREAM.PURGE.LOG',
        'STREAM.DELETE.INTAKE',
        'STREAM.UPDATE.LOG',
        'STREAM.MSG.DELETE.LOG',
      ].map((api) => `$JS.API.${api}`),
      ...['CONSUMER.DELETE.LOG.coder-steps', 'CONSUMER.MSG.NEXT.LOG.coder-steps'].map((api) => `$JS.API.${api}`),
      ...['plumb.intake.refused', 'plumb.dead.coder', 'plumb.redo.coder.coder-steps', `plumb.live.${taskId}`],
      ...['plumb.request.ledger.dead', '_INBOX_scheduler.x', '_INBOX_ledger.x', '$SYS.REQ.SERVER.PING'],
    ];
    for (const subject of subjects) {
      const said = await refusedBy(() => nc.publish(subject, forged));
      expect([subject, said]).toEqual([subject, [expect.stringMatching(/permissions violation/i)]]);
    }
    for (const subject of ['plumb.ledger.append.*', 'plumb.request.task.>', '_INBOX_ledger.>', '$JS.API.>', '>']) {
      const said = await refusedBy(() => nc.subscribe(subject, { callback: () => undefined }));
      expect([subject, said]).toEqual([subject, [expect.stringMatching(/permissions violation/i)]]);
    }
    expect(await before.said('mallory')).toBe(0);
    expect((await whole.system.log.head()).pos).toBeGreaterThanOrEqual(head);
  });

  it('cannot have the broker’s own answers stored as events', async () => {
    const bus = await whole.system.client('ledger');
    const headers = natsHeaders();
    headers.set('content-type', 'application/cloudevents+json');
    // The confirmation of the intake would go to the reply subject: into LOG, if the broker let it.
    nc.publish('plumb.intake.task.submit', '{}', { headers, reply: 'log.task.closed.forged' });
    await nc.flush();
    const { state } = await bus.jsm.streams.info('LOG', { subjects_filter: 'log.*.*.forged' });
    expect(state.subjects ?? {}).toEqual({});
    expect(whole.logs('ledger').filter(({ msg }) => msg?.startsWith('LOG is being rebuilt'))).toEqual([]);
  });
});
