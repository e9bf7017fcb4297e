import type { Scene } from '../nemesis.js';

export const recoveryMs = 60_000;

/** Resolves once something was recorded after `from`, or says that nothing was. */
export const goesOn = async ({ eye }: Scene, from: number): Promise<string> =>
  (await eye.until(() => (eye.count > from ? true : undefined), recoveryMs)) === undefined
    ? 'nothing was recorded afterwards'
    : 'the log went on';
