import fc from 'fast-check';
import type { Parameter, ParameterSchema } from './contract.fixture.js';

/** Values that a parameter's schema allows, as raw text of a URL. */
export function goodValues({ name, schema }: Parameter): fc.Arbitrary<string> {
  const { type, enum: values, format, minimum = 0, maximum = 1e9 } = schema;
  if (values !== undefined) return fc.constantFrom(...values);
  // Long enough polls are tried elsewhere; here they would only take time.
  const most = name === 'waitMs' ? 20 : maximum;
  if (type === 'integer')
    return fc.oneof(fc.constant(minimum), fc.constant(most), fc.integer({ min: minimum, max: most })).map(String);
  if (format === 'date-time')
    return fc
      .date({ min: new Date('0001-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true })
      .map((date) => date.toISOString());
  return fc
    .string({ unit: 'grapheme', minLength: schema.minLength ?? 1, maxLength: Math.min(schema.maxLength ?? 40, 40) })
    .filter((text) => !text.includes('\0') && text.isWellFormed())
    .map(encodeURIComponent);
}

/** Values that a parameter's schema does not allow, as raw text of a URL: each kind of wrong, and luck. */
export function badValues({ schema }: Pick<Parameter, 'schema'>): fc.Arbitrary<string> {
  const fixed = ['%00', '%', '%zz', '%ff', '%E0%A4%A', 'a%00b', 'A'.repeat(5_000), '%ED%A0%80', ''];
  const random = fc
    .string({ unit: 'binary', maxLength: 60 })
    .filter((text) => text.isWellFormed())
    .map(encodeURIComponent);
  return fc.oneof(
    fc.constantFrom(...[...fixed, ...badOf(schema)].filter((raw) => !allows(schema, raw))),
    random.filter((raw) => !allows(schema, raw)),
  );
}

function badOf({ type, enum: values, minimum, maximum, format }: ParameterSchema): string[] {
  if (values !== undefined)
    return [`${values[0]}x`, String(values[0]).toUpperCase(), '__proto__', 'constructor', '%27%20OR%201=1'];
  if (type === 'integer') {
    const over = [
      ...(minimum === undefined ? [] : [String(minimum - 1)]),
      ...(maximum === undefined ? [] : [String(BigInt(maximum) + 1n)]),
    ];
    return [
      ...over,
      '-1',
      '1e3',
      '0x10',
      '1.5',
      '%201',
      '+1',
      'NaN',
      'Infinity',
      '9'.repeat(400),
      '%EF%BC%91',
      'null',
      '00',
    ];
  }
  if (format === 'date-time')
    return [
      'yesterday',
      '2026-11-20',
      '2026-13-45T00:00:00Z',
      '2026-11-20T25:00:00Z',
      '2026-11-20T10:00:00%2B01:00',
      '9'.repeat(30),
      '1732060800',
    ];
  return [
    '..%2f..%2fetc%2fpasswd',
    '%2e%2e',
    '<script>',
    '%F0%9F%92%A5',
    't-%00',
    'x'.repeat(300),
    '%2f',
    "';--",
    'T-AAAA',
    '%C2%A0',
  ];
}

/** Whether a schema allows the value that raw text stands for. */
export function allows(schema: ParameterSchema, raw: string): boolean {
  let text: string;
  try {
    text = decodeURIComponent(raw.replaceAll('+', ' '));
  } catch {
    return false;
  }
  const { type, enum: values, pattern, format, minimum = -Infinity, maximum = Infinity } = schema;
  if (values !== undefined) return values.includes(text);
  if (type === 'integer') return /^(0|[1-9]\d*)$/.test(text) && Number(text) >= minimum && Number(text) <= maximum;
  if (format === 'date-time') return new RegExp(pattern ?? '').test(text) && !Number.isNaN(Date.parse(text));
  if (text.includes('\0') || !text.isWellFormed()) return false;
  if (pattern !== undefined && !new RegExp(pattern, 'u').test(text)) return false;
  return text.length >= (schema.minLength ?? 0) && text.length <= (schema.maxLength ?? Infinity);
}
