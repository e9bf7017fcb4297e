import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SseParser, type SseItem } from './sse.js';

const LIMIT = 1_000;

function parse(chunks: readonly Uint8Array[], maxEventChars = LIMIT): { items: SseItem[]; unfinished: boolean } {
  const parser = new SseParser({ maxEventChars });
  const items = chunks.flatMap((chunk) => parser.push(chunk));
  return { items, unfinished: parser.unfinished };
}

function cut(bytes: Uint8Array, at: readonly number[]): Uint8Array[] {
  const places = [...new Set(at.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...places, bytes.length].map((end, index) => bytes.subarray(places[index - 1] ?? 0, end));
}

const text = (value: string): Uint8Array => Buffer.from(value, 'utf8');
const event = (data: string, name = 'message'): SseItem => ({ kind: 'event', event: name, data });

/** Bytes in which line ends, colons, BOMs, truncated and invalid UTF-8 are frequent. */
const messyBytes = fc
  .array(
    fc.oneof(
      fc.constantFrom('\n', '\r', '\r\n', '\n\n', 'data: a', 'data:', ':', 'event: x', 'data:€😀', '\ufeff').map(text),
      fc.uint8Array({ maxLength: 6 }),
      fc.constantFrom([0xf0, 0x9f], [0xe2, 0x82], [0xc0, 0xaf], [0xff]).map((bytes) => Uint8Array.from(bytes)),
    ),
    { maxLength: 60 },
  )
  .map((parts) => Uint8Array.from(Buffer.concat(parts)));
const cuts = fc.array(fc.nat(), { maxLength: 40 });

describe('SseParser', () => {
  it('gives the same items for the same bytes however they are cut', () => {
    fc.assert(
      fc.property(messyBytes, cuts, fc.constantFrom(5, 40, LIMIT), (bytes, at, limit) => {
        expect(parse(cut(bytes, at), limit)).toEqual(parse([bytes], limit));
      }),
      { numRuns: 1_000, seed: 11 },
    );
  });

  it('reads back every event that was written, with any line end and any cut', () => {
    const line = fc.string({ unit: 'grapheme', maxLength: 12 }).map((value) => value.replace(/[\r\n\ufeff]/g, ''));
    const written = fc.array(fc.array(line, { minLength: 1, maxLength: 3 }), { maxLength: 8 });
    fc.assert(
      fc.property(written, fc.constantFrom('\n', '\r\n', '\r'), cuts, (events, end, at) => {
        const wire = events
          .map((lines) => [...lines.map((one) => `data: ${one}`), '', ''].join(end))
          .join(`: note${end}`);
        const { items } = parse(cut(text(wire), at));
        expect(items.filter(({ kind }) => kind === 'event')).toEqual(events.map((lines) => event(lines.join('\n'))));
      }),
      { numRuns: 500, seed: 12 },
    );
  });

  it.each([
    ['one leading space is dropped, no more', 'data:  a\n\n', [event(' a')]],
    ['a field without colon has an empty value', 'data\n\n', [event('')]],
    ['event names apply to one event', 'event: error\ndata: 1\n\ndata: 2\n\n', [event('1', 'error'), event('2')]],
    ['blank lines and unknown fields are nothing', '\n\nid: 3\nretry: 5\nfoo: bar\n\n', []],
    ['comments are told apart', ': ping\n\n', [{ kind: 'comment', text: ' ping' }]],
    ['a BOM is dropped at the start only', '\ufeffdata: a\n\ndata: \ufeffb\n\n', [event('a'), event('\ufeffb')]],
    ['CR CR ends an event', 'data: a\r\r', [event('a')]],
  ])('%s', (_name, wire, items) => {
    expect(parse([text(wire)]).items).toEqual(items);
  });

  it('replaces invalid UTF-8 and goes on', () => {
    const wire = Buffer.concat([text('data: a'), Buffer.from([0xff, 0xe2, 0x82]), text('\n\ndata: b\n\n')]);
    expect(parse([wire]).items).toEqual([event('a\ufffd\ufffd'), event('b')]);
  });

  it('does not count an event without its blank line, and says that one stands open', () => {
    expect(parse([text('data: a\n')])).toEqual({ items: [], unfinished: true });
    expect(parse([text('dat')])).toEqual({ items: [], unfinished: true });
    expect(parse([text('data: a\n\n')]).unfinished).toBe(false);
  });

  it('refuses a line of 10 MB once, without keeping it', () => {
    const parser = new SseParser({ maxEventChars: 1_000_000 });
    const before = process.memoryUsage().heapUsed;
    const items = Array.from({ length: 160 }, () => parser.push(text('x'.repeat(65_536)))).flat();
    expect(items).toEqual([{ kind: 'oversize', limitChars: 1_000_000 }]);
    expect(parser.push(text('\n\ndata: a\n\n'))).toEqual([]);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(64_000_000);
  });

  it('bounds the lines of one event together', () => {
    const { items } = parse([text(`data: ${'x'.repeat(60)}\n`.repeat(20))], LIMIT);
    expect(items).toEqual([{ kind: 'oversize', limitChars: LIMIT }]);
  });
});
