import { homedir } from 'node:os';
import { join } from 'node:path';
import { nodeIdSchema, offeredModelSchema, type OfferedModel } from '@plumbline/domain';
import { envInteger, envJson } from '@plumbline/host';
import { z } from 'zod';
import { hostPoolId } from './machine.js';

/** What a node-agent is told besides what every service is told. */
export interface NodeAgentConfig {
  readonly nodeId: string;
  /** The operator's budget; absent: measured. */
  readonly memoryBytes?: number;
  readonly models: readonly OfferedModel[];
  /** Hosts outside the house that may serve models, by name. */
  readonly allowHosts: readonly string[];
  /** Where facts wait on disk for the ledger; must outlive the process, and belongs to one agent. */
  readonly stateFolder: string;
  readonly probeIntervalMs: number;
}

const models = z
  .array(offeredModelSchema)
  .max(200)
  .superRefine((offered, context) => {
    const seen = new Set<string>();
    for (const [at, { name, pool }] of offered.entries()) {
      if (seen.has(name)) context.addIssue({ code: 'custom', path: [at, 'name'], message: `${name} is offered twice` });
      seen.add(name);
      if (pool !== hostPoolId) {
        const message = `expected the pool ${JSON.stringify(hostPoolId)}, the only one this agent measures`;
        context.addIssue({ code: 'custom', path: [at, 'pool'], message });
      }
    }
  });

export const nodeAgentConfig: z.ZodType<NodeAgentConfig> = z
  .object({
    PLUMB_NODE_ID: nodeIdSchema,
    PLUMB_NODE_MEMORY_BYTES: envInteger({ min: 1, max: Number.MAX_SAFE_INTEGER }).optional(),
    PLUMB_MODELS: envJson(models, 'an array of offered models').default([]),
    PLUMB_MODEL_ALLOW_HOSTS: z.string().default(''),
    PLUMB_STATE_DIR: z.string().optional(),
    PLUMB_NODE_PROBE_INTERVAL_MS: envInteger({ min: 100, max: 600_000 }).default(5_000),
    XDG_STATE_HOME: z.string().optional(),
  })
  .transform((env) => ({
    nodeId: env.PLUMB_NODE_ID,
    ...(env.PLUMB_NODE_MEMORY_BYTES === undefined ? {} : { memoryBytes: env.PLUMB_NODE_MEMORY_BYTES }),
    models: env.PLUMB_MODELS,
    allowHosts: env.PLUMB_MODEL_ALLOW_HOSTS.split(',')
      .map((host) => host.trim())
      .filter((host) => host !== ''),
    stateFolder: env.PLUMB_STATE_DIR ?? join(stateHome(env.XDG_STATE_HOME), 'plumbline', env.PLUMB_NODE_ID),
    probeIntervalMs: env.PLUMB_NODE_PROBE_INTERVAL_MS,
  }));

/** Where programs keep what must survive a restart (XDG Base Directory Specification). */
const stateHome = (given: string | undefined): string => given ?? join(homedir(), '.local', 'state');
