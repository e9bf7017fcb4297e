import { describe, expect, it } from 'vitest';
import { atLeast, capabilities } from './capabilities.js';

describe('server versions', () => {
  it.each([
    ['2.9.10', '2.9.10', true],
    ['2.9.9', '2.9.10', false],
    ['2.10.0', '2.9.10', true],
    ['v2.10.27', '2.10.27', true],
    ['2.11.0-preview.2', '2.11.0', true],
    ['3.0.0', '2.9.10', true],
    ['1.99.99', '2.0.0', false],
    ['2.9', '2.9.10', false],
    ['', '2.9.10', false],
    ['latest', '2.9.10', false],
  ])('%s is at least %s: %s', (version, minimum, expected) => {
    expect(atLeast(version, minimum)).toBe(expected);
  });

  it('old servers do less', () => {
    const able = (version: string): string[] =>
      Object.entries(capabilities({ version }))
        .filter(([, value]) => value === true)
        .map(([name]) => name);
    expect(able('2.9.10')).toEqual([]);
    expect(able('2.10.27')).toEqual(['firstSeq', 'filterSubjects', 'metadata', 'syncInterval', 'ackTermReason']);
    expect(able('2.14.0')).not.toContain('ackSubjectV2');
    expect(able('2.15.1')).toHaveLength(9);
    expect(able('nonsense')).toEqual([]);
  });
});
