import { stat } from 'node:fs/promises';
import {
  launchFlags,
  marginBytes,
  sizeModel,
  sizeSafetensors,
  totalOf,
  type ChainStep,
  type Confidence,
  type ModelSize,
  type SizeComponents,
  type SizeDocument,
  type SizeSource,
  type SizingRefusal,
} from '@plumbline/domain';
import {
  ModelFileError,
  openHttpFile,
  openLocalFile,
  readGgufModel,
  readSafetensorsModel,
  runFitParams,
  type Opener,
} from '@plumbline/model-file';
import { isAddress, type SizeRequest } from './size-request.js';

/** A figure, and how it came about. */
interface Figure {
  readonly components: SizeComponents;
  readonly flags: readonly string[];
  readonly confidence: Confidence;
  readonly reason: string;
  readonly format: 'gguf' | 'safetensors' | null;
  readonly architecture: string | null;
  /** What the oracle needs to be asked about the same launch. */
  readonly size?: ModelSize;
}

type Attempt = { readonly ok: true; readonly figure: Figure } | { readonly ok: false; readonly refusal: SizingRefusal };

/** Goes down the chain of sources and stops at the first that yields a figure; every step is recorded with its reason. */
export async function sizeThroughChain(request: SizeRequest): Promise<SizeDocument> {
  const header: SizeSource = isAddress(request.model) ? 'remote-header' : 'local-header';
  const fromHeader = await attemptHeader(request);
  const fromOracle = await attemptOracle(request, fromHeader);
  const chain: ChainStep[] = [
    {
      source: 'measured',
      outcome: 'skipped',
      reason: 'No measured peak is on record here for this file, build and flags.',
    },
    fromOracle.step,
  ];
  const used = fromOracle.figure ?? (fromHeader.ok ? fromHeader.figure : undefined);
  for (const source of ['local-header', 'remote-header'] as const) {
    if (source !== header) chain.push({ source, outcome: 'skipped', reason: otherPlace(source) });
    else if (!fromHeader.ok) chain.push({ source, outcome: 'failed', reason: fromHeader.refusal.message });
    else if (fromOracle.figure !== undefined)
      chain.push({ source, outcome: 'skipped', reason: 'llama.cpp itself gave weights, cache and compute buffer.' });
    else chain.push({ source, outcome: 'used', reason: fromHeader.figure.reason });
  }
  chain.push({ source: 'content-length', outcome: 'skipped', reason: lengthsTellWeightsOnly });
  const declared = declaredStep(request, used !== undefined);
  chain.push(declared.step);
  const figure = used ?? declared.figure;
  return figure === undefined || (!fromHeader.ok && declared.figure === undefined)
    ? refused(request, chain, fromHeader.ok ? nothing : fromHeader.refusal)
    : sized(request, chain, figure);
}

const lengthsTellWeightsOnly = 'Lengths of files tell the weights alone; without the cache they admit nothing.';
const nothing: SizingRefusal = { code: 'no-source', message: 'No source gave a figure.' };

function otherPlace(source: 'local-header' | 'remote-header'): string {
  return source === 'local-header' ? 'The model is named by an address.' : 'The model is on this machine.';
}

async function attemptHeader(request: SizeRequest): Promise<Attempt> {
  try {
    return await (isSafetensors(request.model) || (await isFolder(request.model))
      ? fromSafetensors(request)
      : fromGguf(request));
  } catch (error) {
    if (!(error instanceof ModelFileError)) throw error;
    request.signal.throwIfAborted();
    return { ok: false, refusal: { code: codeOf(error), message: `${error.message} ${error.mend}` } };
  }
}

async function fromGguf(request: SizeRequest): Promise<Attempt> {
  const open = openerFor(request);
  const header = await readGgufModel(request.model, open);
  const projector = request.mmproj === undefined ? undefined : await readGgufModel(request.mmproj, open);
  const draft = request.draftModel === undefined ? undefined : await readGgufModel(request.draftModel, open);
  const sized = sizeModel(header, request.launch, {
    ...(projector === undefined ? {} : { projector }),
    ...(draft === undefined ? {} : { draft }),
  });
  if (!sized.ok) return sized;
  const { architecture, components, launch } = sized.value;
  const checked = launch.device === 'cpu' && projector === undefined && draft === undefined;
  return {
    ok: true,
    figure: {
      components,
      architecture,
      format: 'gguf',
      confidence: checked ? 'exact' : 'bounded',
      flags: launchFlags(launch, {
        ...(request.mmproj === undefined ? {} : { mmproj: request.mmproj }),
        ...(request.draftModel === undefined ? {} : { draft: request.draftModel }),
      }),
      reason: `${architecture}, ${header.tensors.length} tensors: weights and cache by llama.cpp's own arithmetic, compute buffer as an upper bound.`,
      size: sized.value,
    },
  };
}

async function fromSafetensors(request: SizeRequest): Promise<Attempt> {
  const folder = request.model.replace(/\/(model\.safetensors(\.index\.json)?|config\.json)?$/, '');
  const model = await readSafetensorsModel(folder, openerFor(request));
  const { ctx, parallel } = request.launch;
  const sized = sizeSafetensors(model, {
    runtime: request.runtime,
    ...(ctx === undefined ? {} : { ctx }),
    ...(parallel === undefined ? {} : { parallel }),
  });
  if (!sized.ok) return sized;
  const { modelType, components, flags } = sized.value;
  return {
    ok: true,
    figure: {
      components,
      flags,
      architecture: modelType,
      format: 'safetensors',
      confidence: 'bounded',
      reason: `${modelType} in ${request.runtime}: weights as stored, every layer's cache in full; the runtime's own needs are an allowance.`,
    },
  };
}

async function attemptOracle(request: SizeRequest, header: Attempt): Promise<{ step: ChainStep; figure?: Figure }> {
  const step = (outcome: ChainStep['outcome'], reason: string): { step: ChainStep } => ({
    step: { source: 'oracle', outcome, reason },
  });
  if (request.oracle === undefined) return step('skipped', 'Not asked for; --oracle FILE runs llama-fit-params.');
  if (isAddress(request.model)) return step('skipped', 'It sizes files on this machine only.');
  if (!header.ok || header.figure.size === undefined)
    return step('skipped', 'The header was not understood, so what llama.cpp leaves out could not be added.');
  try {
    const { size } = header.figure;
    const figures = await runFitParams(request.oracle, request.model, size.launch, request.signal);
    const recurrentState = size.components.recurrentState;
    const components = {
      ...size.components,
      weights: figures.model,
      kvCache: Math.max(0, figures.context - recurrentState),
      compute: figures.compute,
    };
    const reason = 'llama-fit-params gave weights, context and compute buffer.';
    return { ...step('used', reason), figure: { ...header.figure, components, reason } };
  } catch (error) {
    if (!(error instanceof ModelFileError)) throw error;
    request.signal.throwIfAborted();
    return step('failed', `${error.message} ${error.mend}`);
  }
}

function declaredStep(request: SizeRequest, known: boolean): { step: ChainStep; figure?: Figure } {
  const { declaredBytes } = request;
  const step = (outcome: ChainStep['outcome'], reason: string): { step: ChainStep } => ({
    step: { source: 'declared', outcome, reason },
  });
  if (declaredBytes === undefined) return step('skipped', 'Nothing was declared (--declared MiB).');
  if (known) return step('skipped', 'A source of higher trust gave a figure.');
  const components = { ...none, weights: declaredBytes };
  return {
    ...step('used', `The operator declares ${declaredBytes} bytes in all; nothing checks that.`),
    figure: { components, flags: [], confidence: 'declared', reason: '', format: null, architecture: null },
  };
}

const none: SizeComponents = {
  weights: 0,
  kvCache: 0,
  recurrentState: 0,
  compute: 0,
  host: 0,
  projector: 0,
  draft: 0,
  overhead: 0,
};

function sized(request: SizeRequest, chain: readonly ChainStep[], figure: Figure): SizeDocument {
  const source = chain.find((step) => step.outcome === 'used')?.source ?? 'declared';
  const bytes = totalOf(figure.components);
  const margin = marginBytes(source, bytes);
  return {
    schema: 'plumbline.size/1',
    ok: true,
    model: { source: request.model, format: figure.format, architecture: figure.architecture },
    source,
    confidence: figure.confidence,
    total: bytes + margin,
    components: figure.components,
    margin,
    flags: [...figure.flags],
    chain: [...chain],
  };
}

function refused(request: SizeRequest, chain: readonly ChainStep[], refusal: SizingRefusal): SizeDocument {
  return {
    schema: 'plumbline.size/1',
    ok: false,
    model: { source: request.model, format: null, architecture: null },
    source: null,
    confidence: null,
    total: null,
    components: null,
    margin: null,
    flags: [],
    chain: [...chain],
    refusal,
  };
}

function openerFor(request: SizeRequest): Opener {
  return (address) =>
    isAddress(address)
      ? openHttpFile(address, { allowHosts: request.allowHosts, signal: request.signal })
      : openLocalFile(address);
}

function isSafetensors(model: string): boolean {
  return /\/(model\.safetensors(\.index\.json)?|config\.json)$/.test(
    isAddress(model) ? (model.split('?')[0] ?? '') : model,
  );
}

async function isFolder(model: string): Promise<boolean> {
  if (isAddress(model)) return false;
  return stat(model).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

function codeOf(error: ModelFileError): SizingRefusal['code'] {
  switch (error.fault) {
    case 'missing-shards':
    case 'inconsistent-shards':
      return 'missing-shards';
    case 'forbidden-address':
    case 'redirect':
      return 'forbidden-address';
    case 'ignored-range':
    case 'wrong-range':
    case 'wrong-length':
    case 'unknown-length':
    case 'encoded':
    case 'changed':
      return 'hostile-server';
    case 'unresolved':
    case 'unreachable':
    case 'timeout':
    case 'status':
    case 'unauthorized':
      return 'unreachable';
    default:
      return 'unreadable-model';
  }
}
