import { lineTotal, subtotal, type Basket } from './basket.ts';
import type { Cents } from './money.ts';

/** From this subtotal on, so many percent off. The highest step that is reached counts. */
const steps = [
  { from: 10_000, percent: 10 },
  { from: 5_000, percent: 5 },
] as const;

/** The discount on a basket, in cents; half a cent is rounded in the customer's favour. */
export function discountOf(basket: Basket): Cents {
  const amount = subtotal(basket);
  const step = steps.find(({ from }) => amount >= from);
  return step === undefined ? 0 : Math.round((amount * step.percent) / 100);
}

/** Spreads a discount over the lines of a basket, in proportion to what they cost. One share per line, in the order of the lines. */
export function spreadDiscount(basket: Basket, discount: Cents): Cents[] {
  const whole = subtotal(basket);
  if (whole === 0) return basket.lines.map(() => 0);
  return basket.lines.map((line) => Math.round((discount * lineTotal(line)) / whole));
}
