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
}

export const newTaskId = (): string => `t-${randomBytes(13).toString('hex')}`;
