import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { deadLetter, originalBody, parseDeadLetter, type DeadLetter } from './dead-letter.js';
import { headersFromJson, headersToJson, headerValues } from './headers.js';

const letter = (bytes: Uint8Array): DeadLetter =>
  deadLetter(
    {
      service: 'coder',
      durable: 'coder-steps',
      subject: 'log.task.coding-requested.t1',
      stream: 'LOG',
      seq: 1,
      reason: 'poison',
      deliveries: 1,
      headers: {},
      at: '2026-11-20T12:00:00.000Z',
    },
    bytes,
  );

describe('a dead letter', () => {
  it('gives back the body byte for byte, whatever it was', () => {
    const bodies = fc.oneof(
      fc.uint8Array({ maxLength: 500 }),
      fc.string({ unit: 'binary' }).map((text) => new TextEncoder().encode(text)),
      fc.constant(Uint8Array.of(0xef, 0xbb, 0xbf, 0x7b, 0x7d)),
    );
    fc.assert(
      fc.property(bodies, (bytes) => {
        const stored = parseDeadLetter(new TextEncoder().encode(JSON.stringify(letter(bytes))));
        expect(stored && [...originalBody(stored)]).toEqual([...bytes]);
      }),
      { seed: 7, numRuns: 500 },
    );
  });

  it('is readable text where the original was', () => {
    expect(letter(new TextEncoder().encode('{"a":"ä"}'))).toMatchObject({ encoding: 'text', data: '{"a":"ä"}' });
    expect(letter(new Uint8Array(100))).toMatchObject({ encoding: 'base64' });
  });

  it('is not anything else that was published there', () => {
    const good = JSON.parse(JSON.stringify(letter(Uint8Array.of(65)))) as Record<string, unknown>;
    const read = (value: unknown): unknown => parseDeadLetter(new TextEncoder().encode(JSON.stringify(value)));
    expect(read(good)).toEqual(good);
    for (const field of Object.keys(good)) expect(read({ ...good, [field]: null })).toBeUndefined();
    expect(read({ ...good, headers: { a: 'b' } })).toBeUndefined();
    expect(read({ ...good, seq: 1.5 })).toBeUndefined();
    expect(read([])).toBeUndefined();
    expect(parseDeadLetter(Uint8Array.of(255))).toBeUndefined();
  });
});

describe('headers that are copied', () => {
  it('do not steer the broker and cannot smuggle lines', () => {
    const headers = headersFromJson({
      'Nats-Msg-Id': ['1'],
      'nats-expected-last-sequence': ['0'],
      'ce-id': ['a', 'b'],
      'x\r\ny': ['1'],
      'a:b': ['1'],
      note: ['one\r\nEvil: 1', 'fine'],
    });
    expect(headersToJson(headers)).toEqual({ 'ce-id': ['a', 'b'], note: ['fine'] });
    expect(headerValues(headers, 'CE-ID')).toEqual(['a', 'b']);
    expect(headerValues(undefined, 'x')).toEqual([]);
  });
});
