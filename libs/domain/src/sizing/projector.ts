import { alignBytes } from './cache.js';
import type { ModelHeader } from './model-header.js';
import { refuse, whole } from './refusal.js';
import { tensorStorage } from './weights.js';

/** Encoders work on the pieces of one input at a time; audio is cut into windows of so many frames. */
const audioFrames = 3_000;

/**
 * Bytes of a multimodal projector (mmproj): its weights and a bound on what encoding one input takes. The bound has not been measured against a
 * server; it counts the attention scores of all heads as if flash attention were off.
 */
export function projectorBytes(header: ModelHeader): number {
  if (header.metadata.get('general.architecture') !== 'clip')
    refuse(
      'unsupported-configuration',
      'The file given as --mmproj is no projector: its general.architecture is not clip.',
    );
  const weights = header.tensors.reduce(
    (sum, tensor) => sum + alignBytes(Math.max(tensor.bytes, tensorStorage(tensor) ?? 0)),
    0,
  );
  const encoders = ['vision', 'audio'].filter((kind) => header.metadata.get(`clip.has_${kind}_encoder`) === true);
  if (encoders.length === 0)
    refuse('missing-metadata', 'The projector names neither clip.has_vision_encoder nor clip.has_audio_encoder.');
  const compute = Math.max(...encoders.map((kind) => encoderBytes(header, kind)));
  return whole(weights + compute, 'the projector');
}

function encoderBytes(header: ModelHeader, kind: string): number {
  const number = (key: string): number => {
    const value = header.metadata.get(`clip.${kind}.${key}`);
    if (typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= 1 << 20) return value;
    return refuse('missing-metadata', `The projector needs clip.${kind}.${key}, a whole number above 0.`);
  };
  const pieces = kind === 'audio' ? audioFrames : Math.ceil(number('image_size') / number('patch_size')) ** 2 + 1;
  const row = 8 * number('embedding_length') + 3 * number('feed_forward_length');
  const scores = number('attention.head_count') * pieces * pieces;
  const image = kind === 'vision' ? 3 * number('image_size') ** 2 : 0;
  return Math.ceil(4 * (pieces * row + scores + image));
}
