import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatCents, parseCents } from './money.ts';

test('prints two digits after the point', () => {
  assert.equal(formatCents(1234), '12.34');
  assert.equal(formatCents(5), '0.05');
  assert.equal(formatCents(-250), '-2.50');
});

test('reads what it prints', () => {
  for (const amount of [0, 5, 99, 100, 123456, -7]) assert.equal(parseCents(formatCents(amount)), amount);
});

test('refuses what is no amount', () => {
  for (const text of ['', '1.5', '1,50', 'ten', '1.005']) assert.throws(() => parseCents(text), /not an amount/);
});
