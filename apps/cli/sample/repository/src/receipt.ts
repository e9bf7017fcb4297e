import { lineTotal, subtotal, type Basket } from './basket.ts';
import { discountOf, spreadDiscount } from './discount.ts';
import { formatCents, type Cents } from './money.ts';
import { taxIn } from './tax.ts';

/** The receipt of a basket, `width` characters wide: text to the left, amounts to the right. */
export function printReceipt(basket: Basket, width = 32): string {
  const discount = discountOf(basket);
  const shares = spreadDiscount(basket, discount);
  const rows = basket.lines.flatMap((line, at) => {
    const share = shares[at] ?? 0;
    const name = line.quantity === 1 ? line.name : `${line.quantity} x ${line.name}`;
    return share === 0
      ? [row(name, lineTotal(line), width)]
      : [row(name, lineTotal(line), width), row('  discount', -share, width)];
  });
  const total = subtotal(basket) - shares.reduce((sum, share) => sum + share, 0);
  return [...rows, '-'.repeat(width), row('Total', total, width), row('of which tax', taxIn(total), width)].join('\n');
}

function row(text: string, amount: Cents, width: number): string {
  const figure = formatCents(amount);
  return text.padEnd(width - figure.length) + figure;
}
