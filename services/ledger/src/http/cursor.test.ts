import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Cursors } from './cursor.js';

const cursors = new Cursors('a key');
const filters = fc.dictionary(fc.constantFrom('state', 'verdict', 'updatedSince'), fc.string(), { maxKeys: 3 });
const positions = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

describe('a cursor', () => {
  it('names its position to whoever has the key, whatever the order of the filters', () => {
    fc.assert(
      fc.property(filters, positions, (given, position) => {
        const cursor = cursors.write('tasks', given, position);
        const turned = Object.fromEntries(Object.entries(given).reverse());
        expect(new Cursors('a key').read('tasks', { ...turned, absent: undefined }, cursor)).toBe(position);
      }),
      { seed: 17 },
    );
  });

  it('is refused when it was altered, or made for another list, other filters or under another key', () => {
    fc.assert(
      fc.property(filters, positions, fc.nat({ max: 26 }), fc.string(), (given, position, at, other) => {
        const cursor = cursors.write('tasks', given, position);
        for (const char of ['A', 'B', '-', '_', '=', ' ', 'é'])
          if (cursor[at] !== char)
            expect(cursors.read('tasks', given, cursor.slice(0, at) + char + cursor.slice(at + 1))).toBeUndefined();
        for (const wrong of ['', cursor.slice(1), `${cursor}A`, `${cursor}=`, other])
          expect(cursors.read('tasks', given, wrong)).toBeUndefined();
        expect(cursors.read('verdicts', given, cursor)).toBeUndefined();
        expect(cursors.read('tasks', { ...given, added: 'x' }, cursor)).toBeUndefined();
        expect(new Cursors('another key').read('tasks', given, cursor)).toBeUndefined();
      }),
      { seed: 17 },
    );
  });
});
