import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { redactor } from './redact.js';

const redact = redactor(['s3cret-token', 'short']);

describe('redaction', () => {
  it.each([
    's3cret-token',
    `ghp_${'Ab1'.repeat(12)}`,
    `github_pat_${'a1'.repeat(30)}`,
    `AKIA${'A1'.repeat(8)}`,
    `sk-${'a'.repeat(30)}`,
    `xoxb-${'1'.repeat(12)}`,
    `eyJ${'a'.repeat(12)}.eyJ${'b'.repeat(12)}.${'c'.repeat(12)}`,
    `-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----`,
    `-----BEGIN PRIVATE KEY-----\ncut off`,
  ])('masks %s wherever it stands', (secret) => {
    const masked = JSON.stringify(redact({ deep: [`before ${secret} after`] }));
    expect(masked).toContain('[redacted]');
    expect(masked).not.toContain(secret.split('\n').at(-1));
  });

  it('leaves everything else alone, and short values too', () => {
    const value = { text: 'a short text, ghp_ and sk-learn', n: 1, list: [null, true] };
    expect(redact(value)).toEqual(value);
  });

  it('changes nothing more the second time', () => {
    const piece = fc.constantFrom(
      's3cret-token',
      `sk-${'a'.repeat(20)}`,
      '[redacted]',
      ' ',
      'x',
      '-----BEGIN PRIVATE KEY-----',
      's3cret',
      '-token',
    );
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        const once = redact(pieces.join(''));
        expect(redact(once)).toBe(once);
      }),
      { seed: 3 },
    );
  });
});
