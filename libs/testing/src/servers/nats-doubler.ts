/**
 * Doubles JetStream deliveries in the bytes a NATS server sends to one client: every message whose reply subject is an acknowledgement
 * (`$JS.ACK.…`) comes twice in a row, as after a lost acknowledgement. After the NATS client protocol: `MSG subject sid [reply] bytes` and
 * `HMSG subject sid [reply] headerBytes bytes`, each followed by that many bytes and CR LF; every other line stands alone.
 */
export class NatsDoubler {
  /** How many deliveries were doubled. */
  doubled = 0;
  private rest: Buffer = Buffer.alloc(0);

  /** What to hand on for this chunk; what is incomplete waits for the next one. */
  push(chunk: Buffer): Buffer {
    this.rest = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    const out: Buffer[] = [];
    for (;;) {
      const lineEnd = this.rest.indexOf('\r\n');
      if (lineEnd < 0) return Buffer.concat(out);
      const [verb = '', ...words] = this.rest.toString('latin1', 0, lineEnd).split(/\s+/);
      const isMessage = /^H?MSG$/i.test(verb);
      const end = lineEnd + 2 + (isMessage ? Number(words.at(-1)) + 2 : 0);
      if (this.rest.length < end) return Buffer.concat(out);
      const frame = this.rest.subarray(0, end);
      this.rest = this.rest.subarray(end);
      out.push(frame);
      if (!isMessage || !words.slice(2).some((word) => word.startsWith('$JS.ACK.'))) continue;
      out.push(frame);
      this.doubled += 1;
    }
  }
}
