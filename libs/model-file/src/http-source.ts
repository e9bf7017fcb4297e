import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import { ForeignAddressError, guardedLookup, isLocalAddress } from '@plumbline/model';
import type { ByteSource } from './byte-source.js';
import { ModelFileError, type ModelFileFault } from './failure.js';

/** What a server may cost and whom it may send us to. */
export interface HttpLimits {
  /** Hosts outside the machine's own networks that may be asked, and to which a redirect may lead; whole names. */
  readonly allowHosts?: readonly string[];
  /** Without a byte for this long, the server is given up. */
  readonly idleMs?: number;
  /** For one range, from the request to its last byte. */
  readonly rangeMs?: number;
  /** For all of one file. */
  readonly totalMs?: number;
  readonly redirectsMax?: number;
  readonly signal?: AbortSignal;
}

const defaults = { idleMs: 10_000, rangeMs: 20_000, totalMs: 120_000, redirectsMax: 5 } as const;
/** The first request: enough to see what the file is, and how large. */
const probeBytes = 64 * 1024;

/**
 * A file on a server, read by ranges. Nothing a server says is believed twice: each answer must be 206 with exactly the range that was asked
 * for, the same total and the same entity tag as the first; a body is dropped as soon as it is longer than that. Only addresses of the house are
 * asked unless `allowHosts` names the host, redirects included. Throws {@link ModelFileError}.
 */
export async function openHttpFile(address: string, limits: HttpLimits = {}): Promise<ByteSource> {
  const file = new HttpFile(parseAddress(address), limits);
  await file.probe();
  return file;
}

interface Answer {
  readonly bytes: Uint8Array;
  readonly totalBytes: number;
  readonly tag: string | undefined;
}

class HttpFile implements ByteSource {
  readonly label: string;
  private url: URL;
  private readonly origin: URL;
  private readonly limits: HttpLimits;
  private readonly deadline: AbortSignal;
  private first: Answer | undefined;

  constructor(url: URL, limits: HttpLimits) {
    this.url = url;
    this.origin = url;
    this.limits = limits;
    this.label = `${url.origin}${url.pathname}`;
    const total = AbortSignal.timeout(limits.totalMs ?? defaults.totalMs);
    this.deadline = limits.signal === undefined ? total : AbortSignal.any([total, limits.signal]);
  }

  get sizeBytes(): number {
    return this.first?.totalBytes ?? 0;
  }

  async probe(): Promise<void> {
    this.first = await this.range(0, probeBytes);
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const head = this.first;
    if (head !== undefined && offset + length <= head.bytes.length) return head.bytes.slice(offset, offset + length);
    if (length === 0) return new Uint8Array(0);
    const answer = await this.range(offset, length);
    if (answer.bytes.length !== length)
      throw this.fault('wrong-range', `sent ${answer.bytes.length} of ${length} bytes`);
    return answer.bytes;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  private async range(offset: number, length: number): Promise<Answer> {
    const redirectsMax = this.limits.redirectsMax ?? defaults.redirectsMax;
    for (let hop = 0; hop <= redirectsMax; hop += 1) {
      const result = await this.request(offset, length);
      if (!(result instanceof URL)) return this.agreed(result);
      this.url = result;
    }
    throw this.fault('redirect', `redirected more than ${redirectsMax} times`);
  }

  private agreed(answer: Answer): Answer {
    const { first } = this;
    if (first !== undefined && first.totalBytes !== answer.totalBytes)
      throw this.fault('changed', `said the file has ${first.totalBytes} bytes, then ${answer.totalBytes}`, 'later');
    if (first !== undefined && first.tag !== answer.tag)
      throw this.fault('changed', 'has another version of the file now (its ETag changed between two ranges)', 'later');
    return answer;
  }

  private request(offset: number, length: number): Promise<Answer | URL> {
    const { url, limits } = this;
    const allowed = isAllowed(url, limits);
    refuseForeign(url, allowed);
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const signal = AbortSignal.any([this.deadline, AbortSignal.timeout(limits.rangeMs ?? defaults.rangeMs)]);
    const options: RequestOptions = {
      method: 'GET',
      agent: false,
      lookup: guardedLookup(allowed),
      signal,
      timeout: limits.idleMs ?? defaults.idleMs,
      headers: { range: `bytes=${offset}-${offset + length - 1}`, 'accept-encoding': 'identity', connection: 'close' },
      maxHeaderSize: 32 * 1024,
    };
    return new Promise((resolve, reject) => {
      const fail = (error: unknown): void => {
        outgoing.destroy();
        reject(this.asFault(error, signal));
      };
      const outgoing = send(url, options, (response) => {
        response.on('error', fail);
        try {
          const next = this.redirectOf(response);
          if (next !== undefined) {
            outgoing.destroy();
            resolve(next);
            return;
          }
          this.collect(response, this.checkHead(response, offset, length), resolve, fail);
        } catch (error) {
          fail(error);
        }
      });
      outgoing.on('timeout', () => fail(this.fault('timeout', 'sent nothing for too long', 'later')));
      outgoing.on('error', fail);
      outgoing.end();
    });
  }

  private redirectOf(response: IncomingMessage): URL | undefined {
    const status = response.statusCode ?? 0;
    if (status < 300 || status >= 400 || status === 304) return undefined;
    const target = URL.parse(response.headers.location ?? '', this.url.href);
    if (target === null || (target.protocol !== 'http:' && target.protocol !== 'https:'))
      throw this.fault('redirect', `answered ${status} without an address to go to`);
    const elsewhere =
      target.host !== this.origin.host || (this.url.protocol === 'https:' && target.protocol === 'http:');
    if (elsewhere && !isAllowed(target, this.limits))
      throw new ModelFileError(
        'redirect',
        `${this.label} sends us on to another host, ${target.host}, which was not named.`,
        `If that is where the file is kept, allow it: --allow-host ${target.hostname}`,
      );
    return target;
  }

  /** Returns how many bytes the body must have. */
  private checkHead(
    response: IncomingMessage,
    offset: number,
    length: number,
  ): { expected: number } & Omit<Answer, 'bytes'> {
    this.checkStatus(response.statusCode ?? 0);
    const { headers } = response;
    const encoding = headers['content-encoding'];
    if (encoding !== undefined && encoding !== 'identity')
      throw this.fault('encoded', `sent the range as ${encoding.slice(0, 20)} although it was asked for it as it is`);
    const range = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/.exec(headers['content-range'] ?? '');
    if (range === null) throw this.fault('wrong-range', 'answered 206 without saying which range it sent');
    const [from, to, total] = [Number(range[1]), Number(range[2]), Number(range[3])];
    if (!Number.isSafeInteger(total) || total === 0)
      throw this.fault('unknown-length', 'does not say how long the file is');
    const last = Math.min(offset + length, total) - 1;
    if (from !== offset || to !== last)
      throw this.fault('wrong-range', `sent bytes ${from} to ${to} of ${total}, asked for were ${offset} to ${last}`);
    const said = headers['content-length'];
    if (said !== undefined && Number(said) !== to - from + 1)
      throw this.fault('wrong-length', `announces ${said.slice(0, 20)} bytes for a range of ${to - from + 1}`);
    return { expected: to - from + 1, totalBytes: total, tag: headers.etag ?? headers['last-modified'] };
  }

  private checkStatus(status: number): void {
    if (status === 206) return;
    if (status === 200)
      throw this.fault('ignored-range', 'ignores Range and would send the whole file; it was not downloaded');
    if (status === 401 || status === 403)
      throw this.fault('unauthorized', `answered ${status}: the model is private or gated`);
    if (status === 404 || status === 410) throw this.fault('not-found', `answered ${status}: there is no such file`);
    if (status === 416) throw this.fault('wrong-range', 'answered 416: the file is empty or shorter than it said');
    throw this.fault('status', `answered ${status}`, status === 429 || status >= 500 ? 'later' : 'never');
  }

  private collect(
    response: IncomingMessage,
    head: { expected: number } & Omit<Answer, 'bytes'>,
    resolve: (answer: Answer) => void,
    fail: (error: unknown) => void,
  ): void {
    const bytes = new Uint8Array(head.expected);
    let filled = 0;
    response.on('data', (chunk: Buffer) => {
      if (filled + chunk.length > head.expected) {
        fail(this.fault('wrong-length', `sent more than the ${head.expected} bytes it announced`));
        return;
      }
      bytes.set(chunk, filled);
      filled += chunk.length;
    });
    response.on('end', () => {
      if (filled === head.expected) resolve({ bytes, totalBytes: head.totalBytes, tag: head.tag });
      else fail(this.fault('wrong-length', `sent ${filled} bytes where it announced ${head.expected}`, 'later'));
    });
    response.on('aborted', () =>
      fail(this.fault('wrong-length', `broke off after ${filled} of ${head.expected} bytes`, 'later')),
    );
  }

  private asFault(error: unknown, signal: AbortSignal): ModelFileError {
    if (error instanceof ModelFileError) return error;
    if (this.limits.signal?.aborted === true) return this.fault('interrupted', 'was left alone: interrupted', 'later');
    if (signal.aborted) return this.fault('timeout', 'took too long', 'later');
    if (error instanceof ForeignAddressError) return foreign(this.url);
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
      return new ModelFileError('unresolved', `${this.url.hostname} has no address.`, 'Check the name.', {
        retry: 'later',
        cause: error,
      });
    return new ModelFileError('unreachable', `${this.url.host} cannot be reached (${code}).`, 'Check that it is up.', {
      retry: 'later',
      cause: error,
    });
  }

  private fault(fault: ModelFileFault, what: string, retry: 'later' | 'never' = 'never'): ModelFileError {
    return new ModelFileError(fault, `The server of ${this.label} ${what}.`, mends[fault] ?? tryAnother, { retry });
  }
}

const tryAnother = 'Download the file and size it from disk, or declare its memory with --declared.';
const mends: Partial<Record<ModelFileFault, string>> = {
  'not-found': 'Check the address; every shard has to be there.',
  unauthorized: 'Download the file with your account and size it from disk.',
  timeout: 'Try again later, or download the file and size it from disk.',
  changed: 'Try again when the upload is over.',
};

function parseAddress(address: string): URL {
  const url = URL.parse(address);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw new ModelFileError(
      'bad-url',
      'That is no http or https address.',
      'Give a file, a folder or an http address.',
    );
  if (url.username !== '' || url.password !== '')
    throw new ModelFileError('bad-url', `The address on ${url.host} carries a login.`, 'Leave the login out of it.');
  return url;
}

function bareHost(url: URL): string {
  return url.hostname
    .toLowerCase()
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '');
}

function isAllowed(url: URL, limits: HttpLimits): boolean {
  return (limits.allowHosts ?? []).some((host) => host.toLowerCase() === bareHost(url));
}

function refuseForeign(url: URL, allowed: boolean): void {
  const host = bareHost(url);
  if (!allowed && isIP(host) !== 0 && !isLocalAddress(host)) throw foreign(url);
}

function foreign(url: URL): ModelFileError {
  return new ModelFileError(
    'forbidden-address',
    `${url.host} is outside this machine's own networks, and nothing leaves the house unasked.`,
    `Allow it by name: --allow-host ${url.hostname}`,
  );
}
