import assert from 'node:assert/strict';
import { test } from 'node:test';
import { taxIn } from './tax.ts';

test('takes the tax out of a gross amount', () => {
  assert.equal(taxIn(12_000), 2_000);
  assert.equal(taxIn(107, 7), 7);
});

test('no tax at a rate of nothing', () => {
  assert.equal(taxIn(5_000, 0), 0);
});

test('refuses a negative rate', () => {
  assert.throws(() => taxIn(100, -1), /not a tax rate/);
});
