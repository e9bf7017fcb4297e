import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addToBasket, emptyBasket } from './basket.ts';
import { discountOf, spreadDiscount } from './discount.ts';

test('small baskets get no discount', () => {
  assert.equal(discountOf(addToBasket(emptyBasket, 'Coffee', 4_999)), 0);
});

test('five percent from 50.00 on, ten percent from 100.00 on', () => {
  assert.equal(discountOf(addToBasket(emptyBasket, 'Coffee', 5_000)), 250);
  assert.equal(discountOf(addToBasket(emptyBasket, 'Coffee', 9_999)), 500);
  assert.equal(discountOf(addToBasket(emptyBasket, 'Coffee', 10_000)), 1_000);
});

test('a discount is spread in proportion to the price of the lines', () => {
  const basket = addToBasket(addToBasket(emptyBasket, 'Coffee', 7_500), 'Tea', 2_500);
  assert.deepEqual(spreadDiscount(basket, 1_000), [750, 250]);
});

test('an empty basket has nothing to spread over', () => {
  assert.deepEqual(spreadDiscount(emptyBasket, 100), []);
});
