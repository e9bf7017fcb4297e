import type { Cents } from './money.ts';

export interface Line {
  readonly name: string;
  readonly quantity: number;
  readonly unitPrice: Cents;
}

export interface Basket {
  readonly lines: readonly Line[];
}

export const emptyBasket: Basket = { lines: [] };

/** The basket with `quantity` more of a product. The same product at the same price shares a line. */
export function addToBasket(basket: Basket, name: string, unitPrice: Cents, quantity = 1): Basket {
  if (!Number.isInteger(quantity) || quantity < 1) throw new Error(`not a quantity: ${quantity}`);
  const at = basket.lines.findIndex((line) => line.name === name && line.unitPrice === unitPrice);
  if (at < 0) return { lines: [...basket.lines, { name, quantity, unitPrice }] };
  return {
    lines: basket.lines.map((line, index) => (index === at ? { ...line, quantity: line.quantity + quantity } : line)),
  };
}

export function lineTotal(line: Line): Cents {
  return line.quantity * line.unitPrice;
}

export function subtotal(basket: Basket): Cents {
  return basket.lines.reduce((sum, line) => sum + lineTotal(line), 0);
}
