import { createHash } from 'node:crypto';
import { createReadStream, openAsBlob } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { ArtifactRef } from '@plumbline/domain';
import { failpoint, isArmed } from '@plumbline/failpoint';
import { backoffMs } from './backoff.js';
import { retryOf } from './errors.js';

/** Where an upload says what its bytes are. */
export const mediaTypeHeader = 'x-plumbline-media-type';

/** Evidence could not be stored or read. */
export class ArtifactError extends Error {
  override readonly name = 'ArtifactError';
  constructor(
    message: string,
    readonly retry: 'later' | 'never',
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The ledger's store of large things, over HTTP. Content-addressed: storing the same bytes twice is storing them once. */
export class ArtifactClient {
  constructor(
    private readonly ledgerUrl: string,
    private readonly token: string,
  ) {}

  /** Stores bytes held in memory. */
  async put(bytes: Uint8Array, mediaType: string, signal?: AbortSignal): Promise<ArtifactRef> {
    const digest = createHash('sha256').update(bytes).digest('hex');
    return this.upload(digest, bytes as Uint8Array<ArrayBuffer>, bytes.length, mediaType, signal);
  }

  /** Stores a file without holding it in memory. */
  async putFile(path: string, mediaType: string, signal?: AbortSignal): Promise<ArtifactRef> {
    const hash = createHash('sha256');
    await pipeline(createReadStream(path), hash);
    // A blob on a file is read as it is sent, and says beforehand how large it is.
    const blob = await openAsBlob(path);
    return this.upload(hash.digest('hex'), blob, blob.size, mediaType, signal);
  }

  /** The bytes of an artifact, verified against its digest. Meant for small ones: refuses beyond `maxBytes`. */
  async get(ref: Pick<ArtifactRef, 'digest'>, maxBytes: number, signal?: AbortSignal): Promise<Buffer> {
    return patiently(signal, async () => {
      const chunks: Buffer[] = [];
      let size = 0;
      for await (const chunk of await this.open(ref, signal)) {
        size += chunk.length;
        if (size > maxBytes)
          throw new ArtifactError(`artifact ${ref.digest} is larger than ${maxBytes} bytes`, 'never');
        chunks.push(chunk);
      }
      const bytes = Buffer.concat(chunks);
      verify(ref.digest, createHash('sha256').update(bytes).digest('hex'));
      return bytes;
    });
  }

  /** Writes an artifact to a new file and verifies it. A download that fails leaves no file. Throws where the file exists already. */
  async getFile(ref: Pick<ArtifactRef, 'digest'>, path: string, signal?: AbortSignal): Promise<void> {
    await patiently(signal, async () => {
      const hash = createHash('sha256');
      const body = await this.open(ref, signal);
      const file = await open(path, 'wx');
      try {
        await pipeline(
          body,
          async function* (source: AsyncIterable<Buffer>) {
            for await (const chunk of source) {
              hash.update(chunk);
              yield chunk;
            }
          },
          file.createWriteStream(),
        );
        verify(ref.digest, hash.digest('hex'));
      } catch (error) {
        await rm(path, { force: true });
        throw error;
      }
    });
  }

  private async upload(
    digest: string,
    body: Uint8Array<ArrayBuffer> | Blob,
    sizeBytes: number,
    mediaType: string,
    signal?: AbortSignal,
  ): Promise<ArtifactRef> {
    // The type travels apart, so that no parser on the way takes the body for something to read.
    const headers = {
      authorization: `Bearer ${this.token}`,
      'content-type': 'application/octet-stream',
      [mediaTypeHeader]: mediaType,
    };
    await patiently(signal, async () => {
      const sent = isArmed('artifact.part-sent') ? { body: inTwoParts(body), duplex: 'half' as const } : { body };
      const response = await this.call(`/v1/artifacts/${digest}`, { method: 'PUT', ...sent, headers }, signal);
      await response.body?.cancel();
    });
    return { digest, sizeBytes, mediaType };
  }

  private async open(ref: Pick<ArtifactRef, 'digest'>, signal?: AbortSignal): Promise<AsyncIterable<Buffer>> {
    const response = await this.call(
      `/v1/artifacts/${ref.digest}`,
      { headers: { authorization: `Bearer ${this.token}` } },
      signal,
    );
    if (response.body === null) throw new ArtifactError(`artifact ${ref.digest} came without a body`, 'later');
    return Readable.fromWeb(response.body as import('node:stream/web').ReadableStream) as AsyncIterable<Buffer>;
  }

  private async call(path: string, init: RequestInit, signal?: AbortSignal): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(this.ledgerUrl + path, {
        ...init,
        redirect: 'error',
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw new ArtifactError(`the ledger's artifact store does not answer at ${this.ledgerUrl}`, 'later', {
        cause: error,
      });
    }
    if (response.ok) return response;
    const text = (await response.text()).slice(0, 300);
    const retry = response.status >= 500 || response.status === 408 || response.status === 429 ? 'later' : 'never';
    throw new ArtifactError(
      `the ledger answered ${response.status} to ${init.method ?? 'GET'} ${path}: ${text}`,
      retry,
    );
  }
}

/** A body whose second part is asked for when the first one was written to the connection. */
function inTwoParts(body: Uint8Array<ArrayBuffer> | Blob): ReadableStream {
  const blob = body instanceof Blob ? body : new Blob([body]);
  const middle = Math.ceil(blob.size / 2);
  return ReadableStream.from(
    (async function* parts() {
      yield new Uint8Array(await blob.slice(0, middle).arrayBuffer());
      failpoint('artifact.part-sent');
      yield new Uint8Array(await blob.slice(middle).arrayBuffer());
    })(),
  );
}

function verify(expected: string, found: string): void {
  if (expected !== found) throw new ArtifactError(`artifact ${expected} arrived as ${found}`, 'later');
}

const triesMax = 8;

/**
 * Repeats what may succeed later: the same bytes under the same name, as often as one likes. Bridges a restart of the ledger and then
 * throws; connections that break in the middle of a body count as passing too.
 */
async function patiently<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      signal?.throwIfAborted();
      const code = (error as { code?: unknown }).code;
      const broken = error instanceof TypeError || (typeof code === 'string' && /^(UND_ERR|ECONN|EPIPE)/.test(code));
      if (!broken && retryOf(error) !== 'later') throw error;
      if (tries >= triesMax) {
        if (error instanceof ArtifactError) throw error;
        throw new ArtifactError('the transfer of an artifact broke off again and again', 'later', { cause: error });
      }
      await delay(backoffMs(tries, { baseMs: 100, capMs: 5_000 }, Math.random), undefined, {
        ...(signal === undefined ? {} : { signal }),
      }).catch(() => undefined);
    }
  }
}
