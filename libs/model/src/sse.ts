/** One thing read from a server-sent event stream. */
export type SseItem =
  | { readonly kind: 'event'; readonly event: string; readonly data: string }
  | { readonly kind: 'comment'; readonly text: string }
  | { readonly kind: 'oversize'; readonly limitChars: number };

const LF = 0x0a;
const CR = 0x0d;

/**
 * Incremental parser for `text/event-stream`, after the WHATWG algorithm (HTML standard, "Server-sent events"):
 * UTF-8 with a leading BOM dropped and invalid bytes replaced by U+FFFD; lines end in LF, CRLF or CR; an event
 * counts only once its blank line has arrived. `id` and `retry` are ignored, since nothing here reconnects.
 *
 * The same bytes give the same items however they are cut into chunks. Memory is bounded: once a line, or the data of
 * one event, is longer than `maxEventChars` (UTF-16 units) it reports one `oversize` item and reads nothing more.
 */
export class SseParser {
  readonly #decoder = new TextDecoder('utf-8');
  readonly #maxEventChars: number;
  #lineParts: string[] = [];
  #lineChars = 0;
  #dataParts: string[] = [];
  #dataChars = 0;
  #event = '';
  #skipLf = false;
  #stopped = false;

  constructor(options: { readonly maxEventChars: number }) {
    this.#maxEventChars = options.maxEventChars;
  }

  /** Reads the next bytes; returns the items they completed, in order, or an empty list. */
  push(bytes: Uint8Array): SseItem[] {
    const items: SseItem[] = [];
    const text = this.#decoder.decode(bytes, { stream: true });
    let start = 0;
    if (this.#skipLf && text.length > 0) {
      this.#skipLf = false;
      if (text.charCodeAt(0) === LF) start = 1;
    }
    for (let at = start; at < text.length && !this.#stopped; at += 1) {
      const unit = text.charCodeAt(at);
      if (unit !== LF && unit !== CR) continue;
      this.#keep(text.slice(start, at), items);
      this.#line(items);
      if (unit === CR) {
        if (at + 1 === text.length) this.#skipLf = true;
        else if (text.charCodeAt(at + 1) === LF) at += 1;
      }
      start = at + 1;
    }
    this.#keep(text.slice(start), items);
    return items;
  }

  /** Whether anything stands unfinished after the last complete event: at the end of a stream, that it was cut off. */
  get unfinished(): boolean {
    return this.#lineChars > 0 || this.#dataParts.length > 0;
  }

  #keep(text: string, items: SseItem[]): void {
    if (this.#stopped || text.length === 0) return;
    this.#lineParts.push(text);
    this.#lineChars += text.length;
    if (this.#lineChars + this.#dataChars <= this.#maxEventChars) return;
    this.#stopped = true;
    this.#lineParts = [];
    this.#dataParts = [];
    items.push({ kind: 'oversize', limitChars: this.#maxEventChars });
  }

  #line(items: SseItem[]): void {
    if (this.#stopped) return;
    const line = this.#lineParts.join('');
    this.#lineParts = [];
    this.#lineChars = 0;
    if (line === '') return this.#dispatch(items);
    const colon = line.indexOf(':');
    if (colon === 0) {
      items.push({ kind: 'comment', text: line.slice(1) });
      return;
    }
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line.charCodeAt(colon + 1) === 0x20 ? colon + 2 : colon + 1);
    if (field === 'data') {
      this.#dataParts.push(value);
      this.#dataChars += value.length + 1;
    } else if (field === 'event') {
      this.#event = value;
    }
  }

  #dispatch(items: SseItem[]): void {
    if (this.#dataParts.length > 0) {
      items.push({ kind: 'event', event: this.#event || 'message', data: this.#dataParts.join('\n') });
    }
    this.#dataParts = [];
    this.#dataChars = 0;
    this.#event = '';
  }
}
