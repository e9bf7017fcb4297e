import { refuse, whole } from './refusal.js';
import { cacheTypeNames, isQuantized, type CacheTypeName } from './tensor-types.js';

/** `cpu` and `unified` share one memory with the host; `gpu` is a card with memory of its own that takes all layers. */
export type SizingDevice = 'cpu' | 'unified' | 'gpu';

/** How a llama-server would be started, by its own option names. What is left out is its default. */
export interface LaunchOptions {
  /** Tokens; 0 or absent: the model's own context length. */
  readonly ctx?: number;
  /** Slots; absent: 4 slots that share one cache. */
  readonly parallel?: number;
  readonly kvUnified?: boolean;
  readonly cacheTypeK?: CacheTypeName;
  readonly cacheTypeV?: CacheTypeName;
  readonly swaFull?: boolean;
  readonly flashAttn?: 'on' | 'off' | 'auto';
  readonly ubatch?: number;
  /** Limit of the prompt cache in MiB; it fills up as the server is used. */
  readonly cacheRamMiB?: number;
  /** Checkpoints per slot, for models that cannot go back in their cache. */
  readonly ctxCheckpoints?: number;
  readonly device?: SizingDevice;
}

/** The same, resolved for one model. */
export interface Launch {
  /** As asked for; what llama.cpp makes of it is in `cells` and `streams`. */
  readonly ctx: number;
  readonly parallel: number;
  readonly unified: boolean;
  /** Cells of one stream of a full cache. */
  readonly cells: number;
  readonly streams: number;
  readonly keyType: CacheTypeName;
  readonly valueType: CacheTypeName;
  readonly swaFull: boolean;
  readonly flashAttention: boolean;
  readonly flashAttn: 'on' | 'off' | 'auto';
  readonly batch: number;
  /** As asked for. */
  readonly ubatchFlag: number;
  /** Tokens in one pass: never more than the batch or the context. */
  readonly ubatch: number;
  readonly cacheRamMiB: number;
  readonly ctxCheckpoints: number;
  readonly device: SizingDevice;
}

/** Defaults of llama-server v0.5.0 (common/common.h, tools/server/server.cpp). */
export const serverDefaults = { parallel: 4, batch: 2048, ubatch: 512, cacheRamMiB: 8192, ctxCheckpoints: 32 } as const;
const slotsMax = 256;
const contextMax = 0xffff_ff00;

/** Rounds cells up as llama.cpp does. */
export function padCells(cells: number): number {
  return Math.ceil(cells / 256) * 256;
}

/** Resolves `options` for a model of `contextLength` tokens as llama_context's constructor does (src/llama-context.cpp). */
export function resolveLaunch(
  options: LaunchOptions,
  model: { contextLength: number; noFlashAttention: boolean },
): Launch {
  const asked = bounded(options.ctx ?? 0, '--ctx', contextMax);
  const ctx = asked === 0 ? model.contextLength : asked;
  if (ctx < 1 || ctx > contextMax)
    refuse('bad-metadata', `The context is ${ctx} tokens, expected 1 to ${contextMax}; give --ctx.`);
  const parallel = bounded(options.parallel ?? serverDefaults.parallel, '--parallel', slotsMax);
  if (parallel < 1) refuse('unsupported-configuration', '--parallel is 0, expected 1 to 256 slots.');
  const unified = options.kvUnified ?? options.parallel === undefined;
  const ubatchFlag = bounded(options.ubatch ?? serverDefaults.ubatch, '--ubatch', 1 << 20);
  if (ubatchFlag < 1) refuse('unsupported-configuration', '--ubatch is 0, expected 1 or more tokens.');
  const batch = Math.max(serverDefaults.batch, ubatchFlag);
  const padded = padCells(ctx);
  const keyType = cacheTypeOf(options.cacheTypeK, '--cache-type-k');
  const valueType = cacheTypeOf(options.cacheTypeV, '--cache-type-v');
  const flashAttn = options.flashAttn ?? 'auto';
  const flashAttention = flashAttn !== 'off' && !model.noFlashAttention;
  if (!flashAttention && isQuantized(valueType))
    refuse(
      'unsupported-configuration',
      `A V cache of type ${valueType} needs flash attention; use f16, or --flash-attn on.`,
    );
  return {
    ctx,
    parallel,
    unified,
    cells: unified ? padded : padCells(Math.floor(padded / parallel)),
    streams: unified ? 1 : parallel,
    keyType,
    valueType,
    swaFull: options.swaFull ?? false,
    flashAttention,
    flashAttn,
    batch,
    ubatchFlag,
    ubatch: Math.min(ctx, batch, ubatchFlag),
    cacheRamMiB: bounded(options.cacheRamMiB ?? serverDefaults.cacheRamMiB, '--cache-ram', 1 << 30),
    ctxCheckpoints: bounded(options.ctxCheckpoints ?? serverDefaults.ctxCheckpoints, '--ctx-checkpoints', 1 << 20),
    device: options.device ?? 'cpu',
  };
}

function bounded(value: number, option: string, max: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= max) return whole(value, option);
  return refuse('unsupported-configuration', `${option} is ${value}, expected a whole number from 0 to ${max}.`);
}

function cacheTypeOf(name: CacheTypeName | undefined, option: string): CacheTypeName {
  if (name === undefined) return 'f16';
  if (cacheTypeNames.includes(name)) return name;
  return refuse(
    'unsupported-configuration',
    `${option} is no cache type; expected one of ${cacheTypeNames.join(', ')}.`,
  );
}

/**
 * The flags of llama-server under which the figures hold. Nothing is left to a default: `--fit on`, the default, would quietly take a smaller
 * context or other devices than what was sized.
 */
export function launchFlags(launch: Launch, extra: { mmproj?: string; draft?: string } = {}): readonly string[] {
  return [
    ...['--fit', 'off', '-c', String(launch.ctx), '-np', String(launch.parallel)],
    launch.unified ? '--kv-unified' : '--no-kv-unified',
    ...['-b', String(launch.batch), '-ub', String(launch.ubatchFlag)],
    ...['-ctk', launch.keyType, '-ctv', launch.valueType, '-fa', launch.flashAttn],
    ...(launch.swaFull ? ['--swa-full'] : []),
    ...['--cache-ram', String(launch.cacheRamMiB), '--ctx-checkpoints', String(launch.ctxCheckpoints)],
    ...['-ngl', launch.device === 'cpu' ? '0' : '999'],
    '--no-repack',
    ...(extra.mmproj === undefined ? ['--no-mmproj'] : ['--mmproj', extra.mmproj]),
    ...(extra.draft === undefined ? [] : ['-md', extra.draft]),
  ];
}
