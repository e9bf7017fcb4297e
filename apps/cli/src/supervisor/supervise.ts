import { explain, Interrupted } from '../failure.js';
import { homeAt } from '../system/home.js';
import type { SupervisorInput, SupervisorMessage } from './protocol.js';
import { System, type SystemPlan } from './system.js';

/** A plan from what `plumb up` said and what the environment names: NATS_URL, PLUMB_DATABASE_URL, PLUMB_DATABASE_ADMIN_URL. */
export function planOf(input: SupervisorInput, env: NodeJS.ProcessEnv): SystemPlan {
  const natsUrl = env['NATS_URL'] ?? '';
  const url = env['PLUMB_DATABASE_URL'] ?? '';
  const adminUrl = env['PLUMB_DATABASE_ADMIN_URL'] ?? '';
  return {
    root: input.root,
    home: homeAt(input.home),
    env,
    models: input.models,
    ...(input.webhooks === undefined ? {} : { webhooks: input.webhooks }),
    ephemeral: false,
    ...(natsUrl === '' ? {} : { natsUrl }),
    ...(url === '' ? {} : { database: { url, ...(adminUrl === '' ? {} : { adminUrl }) } }),
  };
}

/**
 * Starts a system, keeps it up until `stop` is aborted, and stops it. Resolves when everything is gone; true when it was up in between. A
 * failed start is told, not thrown. Aborting `kill` ends the patience with everything that stops slowly.
 */
export async function supervise(
  plan: SystemPlan,
  tell: (message: SupervisorMessage) => void,
  signals: { stop: AbortSignal; kill: AbortSignal },
): Promise<boolean> {
  let system: System;
  try {
    system = await System.start(plan, tell, signals.stop);
  } catch (error) {
    const { message, mend, detail } = explain(error);
    const interrupted = error instanceof Interrupted;
    tell({ type: 'failed', message, detail: [...detail], interrupted, ...(mend === undefined ? {} : { mend }) });
    return false;
  }
  tell({ type: 'up' });
  if (!signals.stop.aborted) {
    await new Promise((resolve) => signals.stop.addEventListener('abort', resolve, { once: true }));
  }
  signals.kill.addEventListener('abort', () => void system.kill(), { once: true });
  await system.stop();
  return true;
}
