import { resolve } from 'node:path';
import type { CacheTypeName, LaunchOptions, SafetensorsRuntime, SizingDevice } from '@plumbline/domain';
import { exitCodes, throwIfAborted } from '../failure.js';
import type { Session } from '../session.js';
import { sizeThroughChain } from '../size/size-chain.js';
import { isAddress } from '../size/size-request.js';
import { sizeLines } from '../size/size-text.js';

export interface SizeOptions {
  readonly ctx?: number;
  readonly parallel?: number;
  readonly kvUnified?: boolean;
  readonly cacheTypeK?: CacheTypeName;
  readonly cacheTypeV?: CacheTypeName;
  readonly swaFull?: boolean;
  readonly flashAttn?: 'on' | 'off' | 'auto';
  readonly ubatch?: number;
  readonly mmproj?: string;
  readonly draftModel?: string;
  readonly cacheRam?: number;
  readonly ctxCheckpoints?: number;
  readonly device?: keyof typeof devices;
  readonly runtime: SafetensorsRuntime;
  readonly allowHost?: string[];
  readonly oracle?: string;
  readonly declared?: number;
}

/** Devices by the names people use; what counts is whether a card has memory of its own. */
export const devices = {
  cpu: 'cpu',
  unified: 'unified',
  metal: 'unified',
  gpu: 'gpu',
  cuda: 'gpu',
  rocm: 'gpu',
  vulkan: 'gpu',
} as const satisfies Record<string, SizingDevice>;

/** `plumb size`: bytes per component of a model from its header, or why there is no figure; exits 1 then. */
export async function size(session: Session, args: string[], options: SizeOptions): Promise<number> {
  const located = (name: string): string => (isAddress(name) ? name : resolve(session.cwd, name));
  const document = await session.progress.step('Reading the header', () =>
    sizeThroughChain({
      model: located(args[0] ?? ''),
      launch: launchOf(options),
      runtime: options.runtime,
      allowHosts: options.allowHost ?? [],
      signal: session.signal,
      ...(options.mmproj === undefined ? {} : { mmproj: located(options.mmproj) }),
      ...(options.draftModel === undefined ? {} : { draftModel: located(options.draftModel) }),
      ...(options.oracle === undefined ? {} : { oracle: options.oracle }),
      ...(options.declared === undefined ? {} : { declaredBytes: options.declared * 1024 * 1024 }),
    }),
  );
  throwIfAborted(session.signal);
  session.document(document);
  for (const line of sizeLines(document, session.palette)) session.say(line);
  return document.ok ? exitCodes.ok : exitCodes.refused;
}

function launchOf(options: SizeOptions): LaunchOptions {
  const { cacheRam, device } = options;
  const same = [
    'ctx',
    'parallel',
    'kvUnified',
    'cacheTypeK',
    'cacheTypeV',
    'swaFull',
    'flashAttn',
    'ubatch',
    'ctxCheckpoints',
  ] as const;
  const given = Object.fromEntries(
    same.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])),
  );
  return {
    ...given,
    ...(cacheRam === undefined ? {} : { cacheRamMiB: cacheRam }),
    ...(device === undefined ? {} : { device: devices[device] }),
  };
}
