import { parseJson, PROTOTYPE_KEYS } from './bounded-json.js';
import { headerValue, headerValues, type HeaderSource } from './headers.js';

/** A CloudEvent 1.0. `data` is parsed JSON, text, or bytes, as its content type says; undefined if there is none. */
export interface CloudEvent {
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly time?: string;
  readonly subject?: string;
  readonly datacontenttype?: string;
  readonly dataschema?: string;
  readonly data?: unknown;
  /** All other attributes, `traceparent` among them. */
  readonly extensions: Readonly<Record<string, string | number | boolean>>;
}

/** One thing wrong with an event: the attribute (or `data`, `content-type`), what stood there, what should. */
export interface CloudEventProblem {
  readonly field: string;
  readonly value: string;
  readonly expected: string;
}

export type CloudEventResult =
  | { readonly ok: true; readonly event: CloudEvent }
  | { readonly ok: false; readonly problems: readonly CloudEventProblem[] };

const LIMITS = { maxBytes: 1024 * 1024, maxDepth: 32, forbiddenKeys: PROTOTYPE_KEYS };
const MAX_ATTRIBUTES = 64;
const MAX_ATTRIBUTE_LENGTH = 2_048;

/**
 * Reads a CloudEvent 1.0 from a NATS message, structured (JSON) or binary (`ce-` headers), after the specification and its NATS
 * binding: github.com/cloudevents/spec, `cloudevents/spec.md`, `formats/json-format.md`,
 * `bindings/nats-protocol-binding.md`. Never throws, whatever it is given; all problems found are reported together.
 */
export function parseCloudEvent(headers: HeaderSource, bytes: Uint8Array): CloudEventResult {
  if (bytes.length > LIMITS.maxBytes) {
    return fail(problem('data', `${bytes.length} bytes`, `at most ${LIMITS.maxBytes} bytes`));
  }
  const contentType = mediaType(headerValue(headers, 'content-type') ?? '');
  if (contentType === 'application/cloudevents+json') return parseStructured(bytes);
  if (contentType.startsWith('application/cloudevents')) {
    return fail(problem('content-type', contentType, 'application/cloudevents+json: one event, in JSON'));
  }
  if ([...(headers ?? [])].some(([name]) => /^ce-/i.test(name))) return parseBinary(headers, bytes);
  return parseStructured(bytes);
}

function parseStructured(bytes: Uint8Array): CloudEventResult {
  const parsed = parseJson(bytes, LIMITS);
  if (!parsed.ok) return fail(problem('data', parsed.problem, 'a CloudEvent in JSON, or ce-* headers'));
  if (parsed.value === null || typeof parsed.value !== 'object' || Array.isArray(parsed.value)) {
    return fail(problem('data', parsed.value, 'one CloudEvent as a JSON object'));
  }
  const { data, data_base64: base64, ...attributes } = parsed.value as Record<string, unknown>;
  const problems: CloudEventProblem[] = [];
  // An attribute that is null counts as absent (JSON format, section 2.3).
  const present = Object.entries(attributes).filter(([, value]) => value !== null);
  const event = eventOf(present, problems);
  if (base64 === undefined || base64 === null) return finish(event, data, problems);
  if (data !== undefined) problems.push(problem('data_base64', 'both data and data_base64', 'one of them'));
  if (typeof base64 !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(base64) || base64.length % 4 !== 0) {
    problems.push(problem('data_base64', base64, 'base64 text'));
    return fail(...problems);
  }
  return finish(event, decodeData(Buffer.from(base64, 'base64'), event['datacontenttype'], false, problems), problems);
}

function parseBinary(headers: HeaderSource, bytes: Uint8Array): CloudEventResult {
  const problems: CloudEventProblem[] = [];
  const attributes = new Map<string, string>();
  for (const [name, values] of headers ?? []) {
    if (!/^ce-/i.test(name)) continue;
    const attribute = name.slice(3).toLowerCase();
    if (attributes.has(attribute) || values.length !== 1) {
      problems.push(problem(attribute, 'several values', 'one value'));
      continue;
    }
    const decoded = percentDecode(values[0] ?? '');
    if (decoded === undefined) problems.push(problem(attribute, values[0], 'UTF-8, percent-encoded'));
    else attributes.set(attribute, decoded);
  }
  if (attributes.has('datacontenttype')) {
    problems.push(problem('datacontenttype', attributes.get('datacontenttype'), 'the header content-type instead'));
  }
  const contentTypes = headerValues(headers, 'content-type');
  const contentType = contentTypes[0];
  if (contentType !== undefined) attributes.set('datacontenttype', contentType);
  const event = eventOf([...attributes], problems);
  return finish(event, decodeData(bytes, contentType, true, problems), problems);
}

type Attributes = Record<string, unknown> & { extensions: Record<string, string | number | boolean> };

const REQUIRED = ['specversion', 'id', 'source', 'type'] as const;
const KNOWN = new Set<string>([...REQUIRED, 'time', 'subject', 'datacontenttype', 'dataschema']);
const URI_REFERENCE = /^[A-Za-z0-9._~:/?#[\]@!$&'()*+,;=%-]+$/;
const RFC_3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$/;
/** Not allowed in strings: control characters, noncharacters, lone surrogates (specification, "Type System"). */
const FORBIDDEN_TEXT = /[\u0000-\u001f\u007f-\u009f\ufdd0-\ufdef\ufffe\uffff]|\p{Surrogate}/u;

const FORMS: Readonly<Record<string, readonly [(text: string) => boolean, string]>> = {
  specversion: [(text) => text === '1.0', '"1.0"'],
  source: [(text) => URI_REFERENCE.test(text), 'a URI reference'],
  dataschema: [(text) => /^[A-Za-z][A-Za-z0-9+.-]*:/.test(text) && URI_REFERENCE.test(text), 'an absolute URI'],
  time: [
    (text) => RFC_3339.test(text) && !Number.isNaN(Date.parse(text)),
    'an RFC 3339 instant, as 2026-11-20T12:00:00Z',
  ],
  datacontenttype: [
    (text) => /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+\s*(;.*)?$/.test(text),
    'a media type, as application/json',
  ],
};

function eventOf(attributes: readonly (readonly [string, unknown])[], problems: CloudEventProblem[]): Attributes {
  const event: Attributes = { extensions: {} };
  if (attributes.length > MAX_ATTRIBUTES) {
    problems.push(problem('attributes', attributes.length, `at most ${MAX_ATTRIBUTES}`));
    return event;
  }
  const seen = new Map(attributes);
  for (const name of REQUIRED) {
    if (!seen.has(name)) problems.push(problem(name, undefined, FORMS[name]?.[1] ?? 'a non-empty string'));
  }
  for (const [name, value] of seen) {
    const expected = KNOWN.has(name) ? checkKnown(name, value) : checkExtension(name, value);
    if (expected !== undefined) problems.push(problem(name, value, expected));
    else if (KNOWN.has(name)) event[name] = value;
    else event.extensions[name] = value as string | number | boolean;
  }
  return event;
}

/** What was expected instead, or undefined if the value will do. */
function checkKnown(name: string, value: unknown): string | undefined {
  const [fits, form] = FORMS[name] ?? [() => true, 'a non-empty string'];
  if (typeof value !== 'string' || value === '') return form;
  return checkText(value) ?? (fits(value) ? undefined : form);
}

function checkExtension(name: string, value: unknown): string | undefined {
  if (!/^[a-z0-9]{1,20}$/.test(name)) return 'an attribute name of 1 to 20 lower-case letters and digits';
  if ((PROTOTYPE_KEYS as readonly string[]).includes(name)) return 'another attribute name';
  if (typeof value === 'string') return checkText(value);
  if (typeof value === 'boolean') return undefined;
  const integer = typeof value === 'number' && Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 31;
  return integer ? undefined : 'a string, a boolean or a 32-bit integer';
}

function checkText(text: string): string | undefined {
  if (text.length > MAX_ATTRIBUTE_LENGTH) return `at most ${MAX_ATTRIBUTE_LENGTH} characters`;
  return FORBIDDEN_TEXT.test(text) ? 'text without control characters' : undefined;
}

/**
 * The data behind a content type. `bare` bytes (binary mode) without a content type are read as JSON too, which is what people
 * send with `nats pub`.
 */
function decodeData(bytes: Uint8Array, contentType: unknown, bare: boolean, problems: CloudEventProblem[]): unknown {
  if (bytes.length === 0) return undefined;
  const type = typeof contentType === 'string' ? mediaType(contentType) : bare ? 'application/json' : '';
  if (type === 'application/json' || type === 'text/json' || type.endsWith('+json')) {
    const parsed = parseJson(bytes, LIMITS);
    if (parsed.ok) return parsed.value;
    problems.push(problem('data', parsed.problem, `${type} as the content type says`));
    return undefined;
  }
  if (!type.startsWith('text/')) return bytes;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    problems.push(problem('data', 'not UTF-8', `${type} in UTF-8`));
    return undefined;
  }
}

function finish(event: Attributes, data: unknown, problems: readonly CloudEventProblem[]): CloudEventResult {
  if (problems.length > 0) return fail(...problems);
  const { specversion: _version, ...rest } = event;
  return { ok: true, event: { ...(rest as unknown as CloudEvent), ...(data === undefined ? {} : { data }) } };
}

/** Undoes the percent-encoding of header values; undefined if it is broken. */
function percentDecode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

function mediaType(contentType: string): string {
  return (contentType.split(';', 1)[0] ?? '').trim().toLowerCase();
}

function problem(field: string, value: unknown, expected: string): CloudEventProblem {
  const shown = value === undefined ? 'nothing' : typeof value === 'string' ? value : JSON.stringify(value);
  return { field: field.slice(0, 64), value: shown.slice(0, 120), expected };
}

function fail(...problems: CloudEventProblem[]): CloudEventResult {
  return { ok: false, problems };
}
