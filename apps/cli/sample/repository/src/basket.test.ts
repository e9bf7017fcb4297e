import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addToBasket, emptyBasket, subtotal } from './basket.ts';

test('adds up quantities and prices', () => {
  const basket = addToBasket(addToBasket(emptyBasket, 'Apples', 40, 5), 'Bread', 320);
  assert.equal(subtotal(basket), 520);
});

test('the same product at the same price shares a line', () => {
  const basket = addToBasket(addToBasket(emptyBasket, 'Milk', 119), 'Milk', 119, 2);
  assert.deepEqual(basket.lines, [{ name: 'Milk', quantity: 3, unitPrice: 119 }]);
});

test('the same product at another price gets its own line', () => {
  const basket = addToBasket(addToBasket(emptyBasket, 'Milk', 119), 'Milk', 99);
  assert.equal(basket.lines.length, 2);
});

test('refuses quantities that are none', () => {
  for (const quantity of [0, -1, 1.5])
    assert.throws(() => addToBasket(emptyBasket, 'Milk', 119, quantity), /not a quantity/);
});
