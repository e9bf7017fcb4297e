import type { CloudEvent } from './cloudevents.js';

/** An event as the `ce-*` headers of binary mode (lower-case names, percent-encoded values); its data is the message body. */
export function toBinaryHeaders(event: CloudEvent): Record<string, string> {
  const { data: _data, extensions, datacontenttype, ...attributes } = event;
  const headers: Record<string, string> = { 'ce-specversion': '1.0' };
  for (const [name, value] of Object.entries({ ...attributes, ...extensions })) {
    if (value !== undefined) headers[`ce-${name}`] = percentEncode(String(value));
  }
  const type = datacontenttype ?? (event.data === undefined ? undefined : defaultType(event.data));
  if (type !== undefined) headers['content-type'] = type;
  return headers;
}

/** An event as one JSON document, with the content type of structured mode. */
export function toStructured(event: CloudEvent): { headers: Record<string, string>; body: Uint8Array } {
  const { data, extensions, ...attributes } = event;
  const payload =
    data === undefined
      ? {}
      : data instanceof Uint8Array
        ? { data_base64: Buffer.from(data).toString('base64') }
        : { data };
  const document = { specversion: '1.0', ...attributes, ...extensions, ...payload };
  return {
    headers: { 'content-type': 'application/cloudevents+json' },
    body: new TextEncoder().encode(JSON.stringify(document)),
  };
}

function defaultType(data: unknown): string {
  return data instanceof Uint8Array ? 'application/octet-stream' : 'application/json';
}

/**
 * Encodes space, double quote, percent and everything outside printable ASCII, as the HTTP binding does
 * (github.com/cloudevents/spec, `bindings/http-protocol-binding.md`, section 3.1.3.2).
 */
function percentEncode(text: string): string {
  return text.replace(/[^\x21\x23\x24\x26-\x7e]+/gu, (run) => encodeURIComponent(run));
}
