import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { evolveFleet, initialFleet, type PlumblineEvent } from '@plumbline/domain';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually, TestBroker } from '../../../libs/bus/src/nats.fixture.js';
import { ServiceUnderTest } from '../../../libs/host/src/service-under-test.fixture.js';
import { LedgerStandIn } from './ledger-stand-in.fixture.js';

const main = new URL('main.ts', import.meta.url).href;
let broker: TestBroker;
let ledger: LedgerStandIn;
let folder: string;
let modelServer: ModelServer;
const agents: ServiceUnderTest[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'plumb-agent-'));
  broker = await TestBroker.start();
  ledger = await LedgerStandIn.start(broker);
  modelServer = await ModelServer.start();
});
afterEach(async () => {
  await Promise.all(agents.splice(0).map((agent) => agent.kill()));
  await modelServer.stop();
  await broker.close();
  rmSync(folder, { recursive: true });
});

/** A model server whose state a test chooses. */
class ModelServer {
  state: 'up' | 'loading' | 'other' = 'up';
  probes = 0;
  private constructor(
    private readonly server: Server,
    readonly port: number,
  ) {}

  static async start(port = 0): Promise<ModelServer> {
    const server = createServer((request, response) => {
      if (request.url === '/health') {
        self.probes += 1;
        response.writeHead(self.state === 'loading' ? 503 : 200).end();
      } else response.end(JSON.stringify({ data: [{ id: self.state === 'other' ? 'stranger' : 'good' }] }));
    }).listen(port, '127.0.0.1');
    await once(server, 'listening');
    const self = new ModelServer(server, (server.address() as AddressInfo).port);
    return self;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close').catch(() => undefined);
  }

  /** Resolves after two more whole rounds of probes. */
  async rounds(): Promise<void> {
    const before = this.probes;
    await eventually('two more probes', () => this.probes >= before + 2);
  }
}

const offered = (name: string, endpoint: string) => ({
  name,
  family: 'f',
  tier: 1,
  runtime: 'llamacpp',
  endpoint,
  pool: 'host',
  bytes: 1_000,
  slots: 2,
  seats: ['coder'],
});

function start(env: Record<string, string> = {}): ServiceUnderTest {
  const models = [
    offered('good', `http://127.0.0.1:${modelServer.port}/v1`),
    offered('foreign', 'http://192.0.2.1:8080'),
  ];
  const agent = new ServiceUnderTest(main, {
    PLUMB_NATS_URL: `nats://${broker.url}`,
    PLUMB_NATS_PASSWORD: broker.passwords['node-agent'],
    PLUMB_NODE_ID: 'n1',
    PLUMB_NODE_MEMORY_BYTES: '96000000000',
    PLUMB_MODELS: JSON.stringify(models),
    PLUMB_STATE_DIR: join(folder, 'state'),
    PLUMB_NODE_PROBE_INTERVAL_MS: '100',
    ...env,
  });
  agents.push(agent);
  return agent;
}

const metricsOf = async (agent: ServiceUnderTest): Promise<string> =>
  (await fetch(`${await agent.ready()}/metrics`)).text();
const spoolPath = (): string => join(folder, 'state', 'facts.jsonl');

describe('the node-agent', () => {
  it('registers in one command with what its models answer, so that the scheduler never sees a dead model as alive', async () => {
    const agent = start();
    await agent.ready();
    await eventually('registered', () => ledger.commands.size > 0);
    expect(ledger.commands.size).toBe(1);
    expect(ledger.facts.map(({ type, data }) => [type, data['model'] ?? data['node']])).toEqual([
      ['node.registered', 'n1'],
      ['model.ready', 'good'],
      ['model.unreachable', 'foreign'],
    ]);
    expect(ledger.facts[2]?.data['why']).toMatch(/192\.0\.2\.1.*allow the host by name/);
    expect(ledger.facts[0]?.data['pools']).toEqual([{ id: 'host', kind: 'host', budgetBytes: 96_000_000_000 }]);
    expect(ledger.facts.every(({ occurredAt }) => occurredAt !== undefined)).toBe(true);
    const fleet = ledger.facts.reduce(
      (state, fact) => evolveFleet(state, fact as unknown as PlumblineEvent),
      initialFleet,
    );
    expect(Object.keys(fleet.nodes['n1']?.unreachable ?? {})).toEqual(['foreign']);
    await eventually('empty spool', () => statSync(spoolPath()).size === 0);
    const page = await metricsOf(agent);
    expect(page).toContain('plumb_node_memory_budget_bytes 96000000000');
    expect(page).toContain('plumb_node_models{state="ready"} 1');
    expect(page).toContain('plumb_node_models{state="refused"} 1');
    expect(page).toContain('plumb_node_spooled_facts 0');
    expect(page).toMatch(/plumb_node_probes_total\{outcome="serves"\} [1-9]/);
    expect(page).toMatch(/plumb_node_probes_total\{outcome="refused"\} [1-9]/);
  });

  it('records a change of a model once, and its return', async () => {
    const agent = start();
    await agent.ready();
    await eventually('registered', () => ledger.commands.size === 1);
    await modelServer.rounds();
    expect(ledger.commands.size).toBe(1);
    modelServer.state = 'other';
    await eventually('unreachable', () => ledger.commands.size === 2);
    expect(ledger.facts.at(-1)).toMatchObject({ type: 'model.unreachable', data: { model: 'good' } });
    expect(ledger.facts.at(-1)?.data['why']).toMatch(/serves "stranger", not good/);
    await modelServer.rounds();
    expect(ledger.commands.size).toBe(2);
    modelServer.state = 'up';
    await eventually('ready', () => ledger.commands.size === 3);
    expect(ledger.facts.at(-1)).toMatchObject({ type: 'model.ready', data: { model: 'good' } });
  });

  it('keeps facts while the ledger is away, and sends them in order when it is back', async () => {
    await ledger.shut();
    const agent = start();
    const url = await agent.ready();
    for (const state of ['loading', 'up'] as const) {
      await modelServer.rounds();
      modelServer.state = state;
      await modelServer.rounds();
    }
    await modelServer.rounds();
    expect(await metricsOf(agent)).toContain('plumb_node_spooled_facts 3');
    const ready = (await (await fetch(`${url}/ready`)).json()) as { ready: boolean; checks: Record<string, unknown> };
    expect(ready).toMatchObject({
      ready: true,
      checks: { spool: { ok: true, detail: '3 facts wait for the ledger' } },
    });
    expect(ledger.commands.size).toBe(0);
    await ledger.open();
    await eventually('all facts', () => ledger.commands.size === 3);
    expect(ledger.types).toEqual([
      'node.registered',
      'model.ready',
      'model.unreachable',
      'model.unreachable',
      'model.ready',
    ]);
    await eventually('empty spool', () => statSync(spoolPath()).size === 0);
  });

  it('loses nothing when it is killed with facts in the spool: the next start sends the same commands first', async () => {
    await ledger.shut();
    const first = start();
    await first.ready();
    await modelServer.rounds();
    modelServer.state = 'loading';
    await eventually('two facts on disk', () => readFileSync(spoolPath(), 'utf8').split('\n').length === 3);
    const onDisk = readFileSync(spoolPath(), 'utf8')
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { fact: { commandId: string } }).fact.commandId);
    await first.kill();
    await ledger.open();
    const second = start();
    await second.ready();
    await eventually('three commands', () => ledger.commands.size === 3);
    expect([...ledger.commands.keys()].slice(0, 2)).toEqual(onDisk);
    expect(ledger.types.filter((type) => type === 'node.registered')).toHaveLength(2);
    expect(ledger.types[0]).toBe('node.registered');
    await eventually('empty spool', () => statSync(spoolPath()).size === 0);
  });

  it('sends a fact again when the answer got lost with the agent, and the ledger has it once', async () => {
    ledger.before = () => 'take-silently';
    const first = start();
    await first.ready();
    await eventually('taken', () => ledger.commands.size === 1);
    await first.kill();
    // The door that was left hanging is replaced.
    await ledger.shut();
    ledger.before = () => 'take';
    await ledger.open();
    await start().ready();
    await eventually('both starts', () => ledger.commands.size === 2);
    const [once_] = ledger.commands.keys();
    expect(ledger.seen.filter((id) => id === once_).length).toBeGreaterThanOrEqual(2);
    expect(ledger.types.filter((type) => type === 'node.registered')).toHaveLength(2);
  });

  it('lets go of what the ledger will never take, keeps it aside, and goes on', async () => {
    ledger.before = (request) => (request.streams[0]?.events[0]?.type === 'node.registered' ? 'refuse' : 'take');
    const agent = start();
    await agent.ready();
    await agent.line('the ledger will never take this fact; it was set aside');
    modelServer.state = 'loading';
    await eventually('the next fact', () => ledger.types.includes('model.unreachable'));
    expect(readFileSync(join(folder, 'state', 'facts-set-aside.jsonl'), 'utf8')).toContain('node.registered');
  });

  it('goes on over a restart of the broker', async () => {
    const agent = start();
    await agent.ready();
    await eventually('registered', () => ledger.commands.size === 1);
    await broker.halt('SIGKILL');
    modelServer.state = 'loading';
    await eventually('on disk', () => statSync(spoolPath()).size > 0);
    await broker.launch();
    await eventually('recorded', () => ledger.commands.size === 2);
    expect(ledger.facts.at(-1)).toMatchObject({
      type: 'model.unreachable',
      data: { why: expect.stringContaining('loading') as string },
    });
  });

  it('leaves with 0 while the ledger is away, with its facts on disk', async () => {
    await ledger.shut();
    const agent = start();
    await agent.ready();
    agent.signal('SIGTERM');
    expect(await agent.exit).toBe(0);
    expect(await agent.line('facts wait on disk for the next start')).toMatchObject({ facts: 1 });
    expect(readFileSync(spoolPath(), 'utf8')).toContain('node.registered');
  });

  it('leaves with 0 within a few seconds when the ledger takes requests and never answers', async () => {
    ledger.before = () => 'take-silently';
    const agent = start();
    await agent.ready();
    const askedAt = performance.now();
    agent.signal('SIGTERM');
    expect(await agent.exit).toBe(0);
    expect(performance.now() - askedAt).toBeLessThan(6_000);
    expect(readFileSync(spoolPath(), 'utf8')).toContain('node.registered');
  });

  it('sends what waits before it leaves, when the ledger is there', async () => {
    ledger.delayMs = 500;
    const agent = start({ PLUMB_NODE_PROBE_INTERVAL_MS: '600000' });
    await agent.ready();
    agent.signal('SIGTERM');
    expect(await agent.exit).toBe(0);
    expect(ledger.commands.size).toBe(1);
    expect(statSync(spoolPath()).size).toBe(0);
    expect(agent.lines.some(({ msg }) => msg.startsWith('facts wait'))).toBe(false);
  });
});

describe('a configuration that is not usable', () => {
  it('is told in sentences', async () => {
    const bad = [offered('a', 'http://127.0.0.1:1'), { ...offered('a', 'http://127.0.0.1:1'), pool: 'gpu0' }];
    const agent = start({ PLUMB_NODE_ID: 'N 1', PLUMB_MODELS: JSON.stringify(bad), PLUMB_NODE_MEMORY_BYTES: '96GB' });
    expect(await agent.exit).toBe(2);
    expect(agent.stderr.trim().split('\n')).toEqual([
      'node-agent: PLUMB_NODE_ID is not usable: a node id is 1-63 of a-z 0-9 -.',
      `node-agent: PLUMB_NODE_MEMORY_BYTES is not usable: expected a whole number from 1 to ${Number.MAX_SAFE_INTEGER}.`,
      'node-agent: PLUMB_MODELS (at 1.name) is not usable: a is offered twice.',
      'node-agent: PLUMB_MODELS (at 1.pool) is not usable: expected the pool "host", the only one this agent measures.',
    ]);
  });

  it('takes the models from a file', async () => {
    const path = join(folder, 'models.json');
    writeFileSync(path, JSON.stringify([offered('good', `http://127.0.0.1:${modelServer.port}`)]));
    chmodSync(path, 0o600);
    await start({ PLUMB_MODELS: '', PLUMB_MODELS_FILE: path }).ready();
    await eventually('registered', () => ledger.commands.size === 1);
    expect(ledger.types).toEqual(['node.registered', 'model.ready']);
  });

  it('says which folder cannot keep facts', async () => {
    const path = join(folder, 'a-file');
    writeFileSync(path, '');
    const agent = start({ PLUMB_STATE_DIR: path });
    expect(await agent.exit).toBe(1);
    expect(agent.stderr.trim()).toBe(
      `node-agent: facts cannot be kept in ${path} (EEXIST); set PLUMB_STATE_DIR to a folder of its own that can be written`,
    );
    expect(existsSync(join(path, 'facts.jsonl'))).toBe(false);
  });
});
