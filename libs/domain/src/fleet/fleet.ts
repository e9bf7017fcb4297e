import type { EventData, OfferedModel, PlumblineEvent, Pool, SeatedModel } from '../events/catalogue.js';

/** The fleet as folded from the nodes' histories and the one history of grants. */
export interface FleetState {
  /** Events of the `fleet` stream folded so far: the version an admission expects. */
  version: number;
  nodes: Record<string, { pools: Pool[]; models: OfferedModel[]; unreachable: Record<string, string> }>;
  grants: Record<string, EventData<'grant.reserved'>>;
}

export const initialFleet: FleetState = { version: 0, nodes: {}, grants: {} };

export function evolveFleet(state: FleetState, event: PlumblineEvent): FleetState {
  switch (event.type) {
    case 'node.registered': {
      const { node, pools, models } = event.data;
      return { ...state, nodes: { ...state.nodes, [node]: { pools, models, unreachable: {} } } };
    }
    case 'model.ready': {
      const { node, model, endpoint } = event.data;
      return patchNode(state, node, ({ pools, models, unreachable: { [model]: _was, ...unreachable } }) => ({
        pools,
        // Where it answers now is where it is to be asked; a server that was started anew may listen elsewhere.
        models: models.map((offered) => (offered.name === model ? { ...offered, endpoint } : offered)),
        unreachable,
      }));
    }
    case 'model.unreachable': {
      const { node, model, why } = event.data;
      return patchNode(state, node, (known) => ({ ...known, unreachable: { ...known.unreachable, [model]: why } }));
    }
    case 'grant.reserved':
      return { ...state, version: state.version + 1, grants: { ...state.grants, [event.data.grantId]: event.data } };
    case 'grant.released': {
      const { [event.data.grantId]: _gone, ...grants } = state.grants;
      return { ...state, version: state.version + 1, grants };
    }
    default:
      return state;
  }
}

type FleetNode = FleetState['nodes'][string];

function patchNode(state: FleetState, node: string, patch: (known: FleetNode) => FleetNode): FleetState {
  const known = lookup(state.nodes, node);
  return known === undefined ? state : { ...state, nodes: { ...state.nodes, [node]: patch(known) } };
}

/** Own entries only: `constructor` is a legal name for a node and for a model. */
const lookup = <T>(record: Readonly<Record<string, T>>, key: string): T | undefined =>
  Object.hasOwn(record, key) ? record[key] : undefined;

export interface SeatNeed {
  taskId: string;
  step: string;
  seat: string;
  tier: number;
}

/** One reason why a model could not be admitted, with the numbers behind it. */
export interface WaitReason {
  code: 'NO_MODEL' | 'MODEL_UNREACHABLE' | 'NO_FREE_SLOT' | 'MEMORY_BUDGET' | 'POOL_UNKNOWN';
  message: string;
  numbers: Record<string, number>;
}

export type Admission =
  | { outcome: 'granted'; model: SeatedModel; grant: EventData<'grant.reserved'> }
  | { outcome: 'waits'; reasons: WaitReason[] };

/**
 * Admits a model for a step, or says why not. Cumulative and fail-closed: the models in use on a pool, with this one, never exceed its
 * budget; a model with no known pool does not start. A model is charged once, however many of its slots are in use. The tier is the
 * coder's: a review is taken by any tier, the task's own first, so that going up a tier never leaves a panel without reviewers. Models are
 * tried in the order of their names, those already in use first, so that the same fleet always answers the same.
 */
export function admit(fleet: FleetState, need: SeatNeed): Admission {
  const candidates = Object.entries(fleet.nodes)
    .flatMap(([node, entry]) =>
      entry.models.map((model) => ({ node, model, used: slotsUsed(fleet, node, model.name) })),
    )
    .filter(({ model }) => model.seats.includes(need.seat) && (need.seat !== 'coder' || model.tier === need.tier))
    .sort(
      (a, b) =>
        Number(b.model.tier === need.tier) - Number(a.model.tier === need.tier) ||
        Number(b.used > 0) - Number(a.used > 0) ||
        (a.model.name < b.model.name ? -1 : a.model.name > b.model.name ? 1 : a.node < b.node ? -1 : 1),
    );
  if (candidates.length === 0) {
    return {
      outcome: 'waits',
      reasons: [
        {
          code: 'NO_MODEL',
          message: `no node offers a model for the seat ${need.seat} in tier ${need.tier}`,
          numbers: { tier: need.tier },
        },
      ],
    };
  }
  const reasons: WaitReason[] = [];
  for (const { node, model, used } of candidates) {
    const reason = obstacle(fleet, node, model, used);
    if (reason !== undefined) {
      reasons.push(reason);
      continue;
    }
    const grantId = `${need.taskId}.${need.step}`;
    const grant = {
      grantId,
      taskId: need.taskId,
      step: need.step,
      seat: need.seat,
      node,
      pool: model.pool,
      model: model.name,
      bytes: model.bytes,
    };
    return {
      outcome: 'granted',
      grant,
      model: { name: model.name, family: model.family, tier: model.tier, node, endpoint: model.endpoint, grantId },
    };
  }
  return { outcome: 'waits', reasons };
}

function obstacle(fleet: FleetState, node: string, model: OfferedModel, used: number): WaitReason | undefined {
  const entry = lookup(fleet.nodes, node);
  const why = entry === undefined ? undefined : lookup(entry.unreachable, model.name);
  if (why !== undefined)
    return { code: 'MODEL_UNREACHABLE', message: `${model.name} on ${node} does not answer: ${why}`, numbers: {} };
  if (used >= model.slots)
    return {
      code: 'NO_FREE_SLOT',
      message: `all ${model.slots} slots of ${model.name} on ${node} are in use`,
      numbers: { slots: model.slots, used },
    };
  const pool = entry?.pools.find((candidate) => candidate.id === model.pool);
  if (pool === undefined)
    return { code: 'POOL_UNKNOWN', message: `${node} names no pool ${model.pool} for ${model.name}`, numbers: {} };
  const granted = grantedBytes(fleet, node, pool.id);
  const after = bytesOf([...grantsOn(fleet, node), { model: model.name, pool: pool.id, bytes: model.bytes }], pool.id);
  if (after > pool.budgetBytes) {
    const message = `${model.name} needs ${model.bytes} bytes of ${node}/${pool.id}; ${granted} of ${pool.budgetBytes} are granted`;
    return {
      code: 'MEMORY_BUDGET',
      message,
      numbers: { needBytes: model.bytes, grantedBytes: granted, budgetBytes: pool.budgetBytes },
    };
  }
  return undefined;
}

const grantsOn = (fleet: FleetState, node: string): EventData<'grant.reserved'>[] =>
  Object.values(fleet.grants).filter((grant) => grant.node === node);
const slotsUsed = (fleet: FleetState, node: string, model: string): number =>
  grantsOn(fleet, node).filter((grant) => grant.model === model).length;

/** Bytes of a pool that are granted: each model in use counts once, at the most it was ever granted. */
export function grantedBytes(fleet: FleetState, node: string, pool: string): number {
  return bytesOf(grantsOn(fleet, node), pool);
}

function bytesOf(grants: readonly { model: string; pool: string; bytes: number }[], pool: string): number {
  const byModel = new Map<string, number>();
  for (const grant of grants) {
    if (grant.pool === pool) byModel.set(grant.model, Math.max(byModel.get(grant.model) ?? 0, grant.bytes));
  }
  return [...byModel.values()].reduce((sum, bytes) => sum + bytes, 0);
}
