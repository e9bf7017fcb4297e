/** Why a model is not sized. Whoever is refused is told the thing, what was expected and what to do. */
export const sizingRefusalCodes = [
  'unknown-architecture',
  'missing-metadata',
  'bad-metadata',
  'bad-tensors',
  'unsupported-configuration',
  'absurd-size',
  'unreadable-model',
  'missing-shards',
  'unreachable',
  'forbidden-address',
  'hostile-server',
  'no-source',
] as const;
export type SizingRefusalCode = (typeof sizingRefusalCodes)[number];

/** One reason why there is no figure. `message` is a sentence for people. */
export interface SizingRefusal {
  readonly code: SizingRefusalCode;
  readonly message: string;
}

/** Either a figure or the reason why there is none; never a guess. */
export type Sized<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly refusal: SizingRefusal };

/** Carries a refusal out of nested arithmetic to {@link attempt}; it never leaves this folder. */
class Refused extends Error {
  override readonly name = 'Refused';
  readonly refusal: SizingRefusal;

  constructor(refusal: SizingRefusal) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

/** Ends the enclosing {@link attempt} with this refusal. */
export function refuse(code: SizingRefusalCode, message: string): never {
  throw new Refused({ code, message });
}

/** Runs `work`; a refusal in it becomes a value. Other errors are bugs and pass through. */
export function attempt<T>(work: () => T): Sized<T> {
  try {
    return { ok: true, value: work() };
  } catch (error) {
    if (error instanceof Refused) return { ok: false, refusal: error.refusal };
    throw error;
  }
}

/** `value` itself when it is a whole number of bytes, cells or elements that a double holds exactly; refuses what is not. */
export function whole(value: number, what: string): number {
  if (Number.isSafeInteger(value) && value >= 0) return value;
  return refuse('absurd-size', `${what} is ${value}, which is no number of bytes a machine has; check the header.`);
}
