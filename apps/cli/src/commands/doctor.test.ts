import { describe, expect, it } from 'vitest';
import type { Finding } from '../doctor/finding.js';
import { createPalette } from '../terminal/palette.js';
import { conclusion } from './doctor.js';

const finding = (state: Finding['state']): Finding => ({ what: 'a thing', state });

describe('what plumb doctor concludes', () => {
  it.each([
    [['ok', 'ok'], 'All is well.'],
    [['ok', 'warning'], 'Nothing is broken; 1 of 2 findings should be looked at.'],
    [['broken', 'warning', 'ok'], '1 of 3 findings must be mended.'],
  ] as const)('%j: %s', (states, line) => expect(conclusion(states.map(finding), createPalette(false))).toBe(line));
});
