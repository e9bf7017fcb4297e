import type { Cents } from './money.ts';

export const standardRatePercent = 20;

/** The tax that is contained in a gross amount, rounded to the cent. */
export function taxIn(gross: Cents, ratePercent: number = standardRatePercent): Cents {
  if (ratePercent < 0) throw new Error(`not a tax rate: ${ratePercent}`);
  return Math.round((gross * ratePercent) / (100 + ratePercent));
}
