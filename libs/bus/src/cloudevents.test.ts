import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCloudEvent, type CloudEvent, type CloudEventResult } from './cloudevents.js';
import { toBinaryHeaders, toStructured } from './cloudevents-write.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const headers = (record: Record<string, string | string[]>): [string, string[]][] =>
  Object.entries(record).map(([name, value]) => [name, typeof value === 'string' ? [value] : value]);
const structured = (body: unknown): CloudEventResult => parseCloudEvent(undefined, bytes(JSON.stringify(body)));
const fields = (result: CloudEventResult): string[] => (result.ok ? [] : result.problems.map(({ field }) => field));

const MINIMAL = { specversion: '1.0', id: 'e1', source: '/home/lab', type: 'dev.plumbline.task.submit.v1' };
const CE = {
  'ce-specversion': '1.0',
  'ce-id': 'e1',
  'ce-source': '/home/lab',
  'ce-type': 'dev.plumbline.task.submit.v1',
};

describe('structured mode', () => {
  it('reads every attribute, extensions and data', () => {
    const event = {
      ...MINIMAL,
      time: '2026-11-20T12:00:00.5+01:00',
      subject: 't1',
      traceparent: '00-x',
      retries: 3,
      data: { a: [1] },
    };
    expect(
      parseCloudEvent(
        headers({ 'Content-Type': 'application/cloudevents+json; charset=UTF-8' }),
        bytes(JSON.stringify(event)),
      ),
    ).toEqual({
      ok: true,
      event: {
        id: 'e1',
        source: '/home/lab',
        type: 'dev.plumbline.task.submit.v1',
        time: '2026-11-20T12:00:00.5+01:00',
        subject: 't1',
        data: { a: [1] },
        extensions: { traceparent: '00-x', retries: 3 },
      },
    });
    // Without any header, as `nats pub` sends it; null counts as absent.
    expect(structured({ ...MINIMAL, subject: null, comexampleother: null })).toMatchObject({
      ok: true,
      event: { extensions: {} },
    });
    expect(structured({ ...MINIMAL, data_base64: 'AAEC' })).toMatchObject({
      ok: true,
      event: { data: Buffer.from([0, 1, 2]) },
    });
    expect(structured({ ...MINIMAL, datacontenttype: 'application/json', data_base64: 'eyJhIjoxfQ==' })).toMatchObject({
      event: { data: { a: 1 } },
    });
  });

  it('names every attribute that is wrong, all at once, with what was expected', () => {
    const result = structured({
      specversion: '0.3',
      id: '',
      source: 'a b',
      time: 'yesterday',
      Bad: 1,
      ok: 1.5,
      subject: 'a\u0000',
    });
    expect(result).toMatchObject({ ok: false });
    expect(fields(result).sort()).toEqual(['Bad', 'id', 'ok', 'source', 'specversion', 'subject', 'time', 'type']);
    const problems = result.ok ? [] : result.problems;
    expect(problems.find(({ field }) => field === 'specversion')).toEqual({
      field: 'specversion',
      value: '0.3',
      expected: '"1.0"',
    });
    expect(problems.find(({ field }) => field === 'type')).toMatchObject({ value: 'nothing' });
  });

  it.each([
    ['not JSON', '{', 'data'],
    ['an array', '[]', 'data'],
    ['nothing', '', 'data'],
    [
      'a prototype key at the top',
      `{"specversion":"1.0","id":"a","source":"/","type":"t","__proto__":{"x":1}}`,
      'data',
    ],
    ['a prototype key deep in the data', JSON.stringify({ ...MINIMAL, data: { a: [{ constructor: 1 }] } }), 'data'],
    ['too deep', JSON.stringify({ ...MINIMAL, data: JSON.parse('['.repeat(32) + ']'.repeat(32)) as unknown }), 'data'],
    ['too large', JSON.stringify({ ...MINIMAL, data: 'x'.repeat(1024 * 1024) }), 'data'],
    ['both kinds of data', JSON.stringify({ ...MINIMAL, data: 1, data_base64: 'AA==' }), 'data_base64'],
    ['bad base64', JSON.stringify({ ...MINIMAL, data_base64: '???' }), 'data_base64'],
    ['an instant that does not exist', JSON.stringify({ ...MINIMAL, time: '2026-13-40T99:99:99Z' }), 'time'],
    ['a lone surrogate', `{"specversion":"1.0","id":"\\ud800","source":"/","type":"t"}`, 'id'],
  ])('refuses %s', (_name, body, field) => {
    const result = parseCloudEvent(headers({ 'content-type': 'application/cloudevents+json' }), bytes(body));
    expect(fields(result)).toContain(field);
  });

  it('reads nesting up to 32 and refuses a batch', () => {
    const deep = JSON.parse('['.repeat(31) + ']'.repeat(31)) as unknown;
    expect(structured({ ...MINIMAL, data: deep })).toMatchObject({ ok: true });
    expect(
      fields(parseCloudEvent(headers({ 'content-type': 'application/cloudevents-batch+json' }), bytes('[]'))),
    ).toEqual(['content-type']);
  });
});

describe('binary mode', () => {
  it('reads headers whatever their case, percent-decoded, and data by content type', () => {
    const shouting = headers({
      'CE-SpecVersion': '1.0',
      'Ce-Id': 'e%201%E2%82%AC',
      'ce-source': '/a',
      'ce-type': 't',
      'ce-traceparent': '00-x',
    });
    expect(parseCloudEvent(shouting, bytes('{"a":1}'))).toEqual({
      ok: true,
      event: { id: 'e 1€', source: '/a', type: 't', data: { a: 1 }, extensions: { traceparent: '00-x' } },
    });
    expect(parseCloudEvent(headers({ ...CE, 'content-type': 'text/plain' }), bytes('hi'))).toMatchObject({
      event: { data: 'hi' },
    });
    expect(parseCloudEvent(headers({ ...CE, 'content-type': 'image/png' }), Uint8Array.of(255))).toMatchObject({
      event: { data: Uint8Array.of(255) },
    });
    const empty = parseCloudEvent(headers(CE), new Uint8Array());
    expect(empty.ok && 'data' in empty.event).toBe(false);
  });

  it.each([
    ['broken percent-encoding', { ...CE, 'ce-id': '%zz' }, '1', 'id'],
    ['percent-encoded bytes that are no UTF-8', { ...CE, 'ce-id': '%ff' }, '1', 'id'],
    ['two values', { ...CE, 'ce-id': ['a', 'b'] }, '1', 'id'],
    ['the same header in two cases', { ...CE, 'CE-ID': 'b' }, '1', 'id'],
    ['a smuggled control character', { ...CE, 'ce-subject': 'a%0d%0ab' }, '1', 'subject'],
    ['a prototype as extension', { ...CE, 'ce-constructor': 'x' }, '1', 'constructor'],
    ['no id', { ...CE, 'ce-id': '' }, '1', 'id'],
    ['data that is not what the content type says', CE, '{', 'data'],
    ['datacontenttype as an attribute', { ...CE, 'ce-datacontenttype': 'text/plain' }, '1', 'datacontenttype'],
    [
      'a hundred attributes',
      { ...CE, ...Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`ce-x${i}`, '1'])) },
      '1',
      'attributes',
    ],
  ])('refuses %s', (_name, given, body, field) => {
    expect(fields(parseCloudEvent(headers(given as Record<string, string | string[]>), bytes(body)))).toContain(field);
  });
});

describe('hostile input', () => {
  const NAMES = [
    'content-type',
    'Content-Type',
    'ce-id',
    'CE-ID',
    'ce-source',
    'ce-type',
    'ce-specversion',
    'ce-time',
    'ce-__proto__',
    'ce-',
    'ce-é',
  ];
  const anyHeaders = fc.array(
    fc.tuple(
      fc.oneof(fc.constantFrom(...NAMES), fc.string()),
      fc.array(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.constantFrom('1.0', '%', '%C3%28', 'application/cloudevents+json', 'text/json'),
        ),
        { maxLength: 3 },
      ),
    ),
    { maxLength: 12 },
  );
  const anyBody = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.json({ maxDepth: 5 }).map(bytes),
    fc
      .record(
        {
          specversion: fc.constant('1.0'),
          id: fc.string(),
          source: fc.anything(),
          type: fc.string(),
          data: fc.anything(),
          data_base64: fc.anything(),
        },
        { requiredKeys: [] },
      )
      .map((it) => {
        try {
          return bytes(JSON.stringify(it) ?? '');
        } catch {
          return bytes('{}');
        }
      }),
  );

  it('never throws, never pollutes, and every refusal says what was expected', () => {
    fc.assert(
      fc.property(fc.option(anyHeaders, { nil: undefined }), anyBody, (given, body) => {
        const result = parseCloudEvent(given, body);
        if (result.ok) {
          expect(result.event.id).not.toBe('');
          expect(Object.keys(result.event.extensions).every((name) => /^[a-z0-9]+$/.test(name))).toBe(true);
        } else {
          expect(result.problems.length).toBeGreaterThan(0);
          for (const { field, value, expected } of result.problems) {
            expect(typeof field === 'string' && value.length <= 120 && expected !== '').toBe(true);
          }
        }
        expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
      }),
      { numRuns: 3_000, seed: 7 },
    );
  });
});

describe('writing', () => {
  const text = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 30 })
    .filter((it) => !/[\u0000-\u001f\u007f-\u009f\ufdd0-\ufdef\ufffe\uffff]|\p{Surrogate}/u.test(it));
  const event: fc.Arbitrary<CloudEvent> = fc.record(
    {
      id: text,
      source: fc.constantFrom('/lab', 'https://example.org/a?b=c', 'urn:x:1'),
      type: text,
      subject: text,
      time: fc.constant('2026-11-20T12:00:00Z'),
      data: fc.jsonValue({ maxDepth: 3 }).filter((it) => !JSON.stringify(it).match(/__proto__|constructor|prototype/)),
      extensions: fc.dictionary(fc.stringMatching(/^x[a-z0-9]{1,8}$/), text, { maxKeys: 4 }).map((it) => ({ ...it })),
    },
    { requiredKeys: ['id', 'source', 'type', 'extensions'] },
  );
  const plain = (it: CloudEvent): unknown => JSON.parse(JSON.stringify(it));

  it('structured events read back as they were', () => {
    fc.assert(
      fc.property(event, (given) => {
        const { headers: head, body } = toStructured(given);
        const result = parseCloudEvent(headers(head), body);
        expect(result.ok && plain(result.event)).toEqual(plain(given));
      }),
      { seed: 7 },
    );
  });

  it('binary events read back as they were, over headers of printable ASCII', () => {
    fc.assert(
      fc.property(event, (given) => {
        const head = toBinaryHeaders(given);
        for (const [name, value] of Object.entries(head)) expect(`${name}:${value}`).toMatch(/^[\x21-\x7e]+$/);
        const body = given.data === undefined ? new Uint8Array() : bytes(JSON.stringify(given.data));
        const result = parseCloudEvent(headers(head), body);
        const { datacontenttype: _type, ...read } = result.ok ? result.event : ({} as CloudEvent);
        expect(plain(read as CloudEvent)).toEqual(plain(given));
      }),
      { seed: 7 },
    );
  });

  it('bytes travel in both modes', () => {
    const given: CloudEvent = { id: 'a', source: '/', type: 't', data: Uint8Array.of(0, 255), extensions: {} };
    const { headers: head, body } = toStructured(given);
    expect(parseCloudEvent(headers(head), body)).toMatchObject({ event: { data: Buffer.from([0, 255]) } });
    expect(parseCloudEvent(headers(toBinaryHeaders(given)), Uint8Array.of(0, 255))).toMatchObject({
      event: { data: Uint8Array.of(0, 255) },
    });
  });
});
