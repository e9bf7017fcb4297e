import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addToBasket, emptyBasket } from './basket.ts';
import { printReceipt } from './receipt.ts';

test('prints names to the left and amounts to the right', () => {
  const basket = addToBasket(addToBasket(emptyBasket, 'Bread', 320), 'Apples', 40, 5);
  assert.equal(
    printReceipt(basket, 24),
    [
      'Bread               3.20',
      '5 x Apples          2.00',
      '------------------------',
      'Total               5.20',
      'of which tax        0.87',
    ].join('\n'),
  );
});

test('shows the discount of each line and takes it off the total', () => {
  const receipt = printReceipt(addToBasket(emptyBasket, 'Coffee', 10_000), 24);
  assert.match(receipt, /^ {2}discount +-10\.00$/m);
  assert.match(receipt, /^Total +90\.00$/m);
});
