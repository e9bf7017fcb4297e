import { randomBytes, randomUUID } from 'node:crypto';
import { request, type Bus, type IdentityName } from '@plumbline/bus';
import { shippedPolicies, type ServiceName } from '@plumbline/domain';

/** Makes up what a system's log holds, through the doors that the services use. */
export class History {
  constructor(private readonly system: { client(identity: IdentityName): Promise<Bus> }) {}

  async append(service: Exclude<ServiceName, 'ledger'>, streamId: string, type: string, data: unknown): Promise<void> {
    const batch = { commandId: randomUUID(), streams: [{ streamId, events: [{ type, data }] }] };
    const bus = await this.system.client(service);
    const reply = await request(bus, `plumb.ledger.append.${service}`, batch, { timeoutMs: 10_000 });
    if (!reply.ok) throw new Error(`${type}: ${JSON.stringify(reply.error)}`);
  }

  /** A fact of the scheduler about a task. */
  task(taskId: string, type: string, data: unknown): Promise<void> {
    return this.append('scheduler', `task-${taskId}`, type, data);
  }

  async submitted(more: Record<string, unknown> = {}): Promise<string> {
    const taskId = newTaskId();
    await this.task(taskId, 'task.submitted', {
      taskId,
      source: 'test/history',
      submissionId: taskId,
      contentDigest: 'ab'.repeat(32),
      repository: { url: 'https://example.com/shop.git', base: 'main' },
      issue: { title: 'A lost cent', body: 'Prices are rounded twice.' },
      policy: shippedPolicies.standard,
      priority: 'normal',
      publish: 'none',
      ...more,
    });
    return taskId;
  }

  closed(taskId: string, outcome: 'go' | 'no-go' | 'cancelled', verdict: string | null = null): Promise<void> {
    return this.task(taskId, 'task.closed', { outcome, verdict });
  }

  /** A node with a model that one task uses, and a task whose first attempt was judged NO-GO and went to a human. */
  async judged(): Promise<{ taskId: string; escalation: string }> {
    const pool = { id: 'unified', kind: 'unified', budgetBytes: 1_000_000 };
    const { node: _node, ...model } = seated;
    const models = [{ ...model, runtime: 'llama-server', pool: 'unified', bytes: 1_000, slots: 2, seats: ['coder'] }];
    const startedAt = '2026-11-20T09:30:00.000Z';
    await this.append('node-agent', 'node-studio', 'node.registered', {
      node: 'studio',
      startedAt,
      pools: [pool],
      models,
    });
    const taskId = await this.submitted();
    const step = 'coding.1.1';
    const grantId = `${taskId}.${step}`;
    const grant = {
      grantId,
      taskId,
      step,
      seat: 'coder',
      node: 'studio',
      pool: 'unified',
      model: 'coder-30b',
      bytes: 1_000,
    };
    await this.append('scheduler', 'fleet', 'grant.reserved', grant);
    await this.task(taskId, 'task.snapshot-requested', { step: 'snapshot.0.1', dispatch: 1 });
    await this.task(taskId, 'task.capacity-awaited', { step, attempt: 1, seat: 'coder', tier: 1 });
    const requested = { step, attempt: 1, dispatch: 1, model: { ...seated, grantId }, feedback: [] };
    await this.task(taskId, 'task.coding-requested', requested);
    const reasons = [{ check: 'tests', effect: 'block', summary: 'tests fail', evidence: [] }];
    const judgement = { verdict: 'NO-GO', reasons, advice: [] };
    await this.task(taskId, 'verdict.reached', { attempt: 1, judgement, policy: 'standard', subject: change });
    const escalation = `${taskId}.1`;
    const opened = { escalationId: escalation, to: 'human', attempt: 1, reasons: ['tests fail'], tried: [] };
    await this.task(taskId, 'escalation.opened', opened);
    return { taskId, escalation };
  }

  /** A task that waits for a model. */
  async queued(): Promise<string> {
    const taskId = await this.submitted({ priority: 'high' });
    await this.task(taskId, 'task.capacity-awaited', { step: 'coding.1.1', attempt: 1, seat: 'coder', tier: 1 });
    return taskId;
  }
}

const oid = (digit: string): string => digit.repeat(40);
const change = { base: oid('a'), head: oid('e'), tree: oid('1') };
const seated = { name: 'coder-30b', family: 'qwen', tier: 1, node: 'studio', endpoint: 'http://127.0.0.1:9/v1' };

export const newTaskId = (): string => `t-${randomBytes(13).toString('hex')}`;
