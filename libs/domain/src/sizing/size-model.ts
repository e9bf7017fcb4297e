import { architectures } from './architecture-table.js';
import type { Architecture } from './architecture.js';
import { kvCacheBytes, recurrentBytes } from './cache.js';
import { computeBound, vocabulary } from './compute-buffer.js';
import { growingHostBytes, overheadBytes } from './host-memory.js';
import { resolveLaunch, type Launch, type LaunchOptions } from './launch.js';
import { planLayers } from './layer-plan.js';
import type { ModelHeader } from './model-header.js';
import { projectorBytes } from './projector.js';
import { attempt, whole, type Sized } from './refusal.js';
import { duplicatedOutputBytes, weightBytes } from './weights.js';

/** Bytes per part, before any margin. */
export interface SizeComponents {
  readonly weights: number;
  readonly kvCache: number;
  readonly recurrentState: number;
  readonly compute: number;
  readonly host: number;
  readonly projector: number;
  readonly draft: number;
  readonly overhead: number;
}

/** A model under one launch. */
export interface ModelSize {
  readonly architecture: string;
  readonly components: SizeComponents;
  readonly launch: Launch;
}

/** Files that are loaded besides the model. */
export interface Companions {
  readonly projector?: ModelHeader;
  readonly draft?: ModelHeader;
}

/** What is known of architectures; an argument, so that it can be seen that every entry is needed. */
type Known = ReadonlyMap<string, Architecture>;

/** Tokens that a draft model proposes at once (common/common.h of llama.cpp v0.5.0). */
export const draftTokensMax = 3;

/**
 * Memory of llama-server with `header` under `options`: weights and caches exactly, the compute buffer as an upper bound. What is not known is
 * refused with its reason, never guessed.
 */
export function sizeModel(
  header: ModelHeader,
  options: LaunchOptions,
  companions: Companions = {},
  known: Known = architectures,
): Sized<ModelSize> {
  return attempt(() => {
    const drafted = companions.draft === undefined ? 0 : draftTokensMax;
    const main = sizeContext(header, options, { drafted, known });
    const draft = companions.draft === undefined ? 0 : draftBytes(companions.draft, main.launch, known);
    const projector = companions.projector === undefined ? 0 : projectorBytes(companions.projector);
    return { ...main, components: { ...main.components, projector, draft } };
  });
}

function sizeContext(
  header: ModelHeader,
  options: LaunchOptions,
  { drafted, known }: { drafted: number; known: Known },
): ModelSize {
  const plan = planLayers(header, known);
  const launch = resolveLaunch(options, {
    contextLength: plan.contextLength,
    noFlashAttention: plan.traits.noFlashAttention === true,
  });
  const outputs = Math.min(launch.parallel * (1 + drafted), launch.batch);
  const words = vocabulary(header);
  const components = {
    weights:
      weightBytes(header, plan, { prediction: false }) + (launch.device === 'gpu' ? duplicatedOutputBytes(header) : 0),
    kvCache: kvCacheBytes(plan, launch),
    recurrentState: recurrentBytes(plan, launch.parallel),
    compute: computeBound(header, plan, launch, outputs),
    host: growingHostBytes(plan, launch),
    projector: 0,
    draft: 0,
    overhead: overheadBytes(launch, { vocabulary: words, embedding: plan.embedding, outputs }),
  };
  return { architecture: plan.architecture, components, launch };
}

/** A draft is a model of its own with a context of the same length and slots; its caches are f16 and it has no host caches of its own. */
function draftBytes(header: ModelHeader, main: Launch, known: Known): number {
  const options: LaunchOptions = {
    ctx: main.ctx,
    parallel: main.parallel,
    kvUnified: main.unified,
    swaFull: main.swaFull,
    flashAttn: main.flashAttn,
    ubatch: main.ubatchFlag,
    cacheRamMiB: 0,
    ctxCheckpoints: main.ctxCheckpoints,
    device: main.device,
  };
  const { components } = sizeContext(header, options, { drafted: 0, known });
  return whole(totalOf(components), 'the draft');
}

/** Sum of all parts. */
export function totalOf(components: SizeComponents): number {
  return whole(
    Object.values(components).reduce((sum: number, bytes: number) => sum + bytes, 0),
    'the total',
  );
}
