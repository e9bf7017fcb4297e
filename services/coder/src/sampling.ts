import { createHash } from 'node:crypto';
import type { Sampling } from '@plumbline/model';

/** Temperature and top-p that the makers of a family publish for coding; matched by the beginning of the family's name. */
const families: readonly (readonly [string, number, number])[] = [
  ['qwen', 0.6, 0.95],
  ['glm', 0.7, 1],
  ['gpt-oss', 1, 1],
  ['gemma', 1, 0.95],
  ['devstral', 0.2, 1],
];
const otherwise = [0.3, 0.95] as const;
const maxTokens = 8_192;

/**
 * How a model is to sample in one turn. The seed follows from task, attempt and turn, so that another attempt is another throw of the dice
 * and the same turn is the same throw; servers do not promise that equal seeds give equal answers.
 */
export function samplingFor(
  family: string,
  turn: { readonly taskId: string; readonly attempt: number; readonly turn: number },
): Sampling {
  const [temperature, topP] =
    (families.find(([name]) => family.toLowerCase().startsWith(name))?.slice(1) as [number, number] | undefined) ??
    otherwise;
  const seed =
    createHash('sha256').update(`${turn.taskId}/${turn.attempt}/${turn.turn}`).digest().readUInt32BE(0) >>> 1;
  return { temperature, topP, seed, maxTokens };
}
