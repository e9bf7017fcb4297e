import { createHash, randomUUID } from 'node:crypto';
import { pipeline, Readable, Transform } from 'node:stream';
import { createGunzip, createGzip, createZstdCompress, createZstdDecompress } from 'node:zlib';
import { failpoint } from '@plumbline/failpoint';
import type { Pool } from 'pg';
import { OperationalError, toOperationalError } from './errors.js';
import { checkedInteger, checkedName } from './json-text.js';
import { openSession, type Session } from './session.js';

const chunkBytes = 1024 * 1024;
/** Chunks kept in memory before a transaction is opened, so that small or slow uploads hold no snapshot open. */
const bufferedChunks = 8;
const digestPattern = /^[0-9a-f]{64}$/;

export interface PutArtifactOptions {
  /** SHA-256 (hex) that the content must have; without it the content decides. */
  digest?: string;
  mediaType: string;
  /** Most bytes accepted, before compression. */
  maxBytes: number;
}

/** `duplicate`: the content was stored already. Every outcome but `stored` has stored nothing. */
export type PutArtifactResult =
  | { outcome: 'stored'; digest: string; sizeBytes: number; duplicate: boolean }
  | { outcome: 'too-large'; maxBytes: number }
  | { outcome: 'digest-mismatch'; expected: string; actual: string };

export interface ArtifactStat {
  digest: string;
  mediaType: string;
  sizeBytes: number;
  /** Bytes in the database, after compression; 0 once pruned. */
  storedBytes: number;
  createdAt: string;
  prunedAt: string | null;
}

export type GetArtifactResult =
  | { outcome: 'found'; mediaType: string; sizeBytes: number; stream: Readable }
  | { outcome: 'pruned'; mediaType: string; sizeBytes: number; prunedAt: string }
  | { outcome: 'unknown' };

class TooLarge extends Error {}

/** Content-addressed blobs in Postgres, compressed, in rows of at most 1 MiB. */
export class Artifacts {
  constructor(private readonly pool: Pool) {}

  /**
   * Reads `stream` to its end and stores it in one transaction: a cut-off upload leaves nothing. Equal content is stored once.
   * Throws OperationalError `retry: 'later'` when the stream breaks or the database fails. The stream is destroyed in every case
   * but success.
   */
  async put(stream: Readable, options: PutArtifactOptions): Promise<PutArtifactResult> {
    checkedName(options.mediaType, 'mediaType');
    checkedInteger(options.maxBytes, 'maxBytes', 0, Number.MAX_SAFE_INTEGER);
    if (options.digest !== undefined) checkDigest(options.digest);
    const upload = new Upload(this.pool);
    const meter = new Meter(options.maxBytes);
    const compress = createZstdCompress === undefined ? createGzip() : createZstdCompress();
    const encoding = createZstdCompress === undefined ? 'gzip' : 'zstd';
    try {
      const compressed = pipeline(stream, meter, compress, () => {
        // The error reaches the loop below through the last stream of the pipeline.
      });
      for await (const bytes of compressed) await upload.write(bytes as Buffer);
      const digest = meter.digest();
      if (options.digest !== undefined && options.digest !== digest) {
        await upload.rollback();
        return { outcome: 'digest-mismatch', expected: options.digest, actual: digest };
      }
      const stored = await upload.finish(digest, options.mediaType, meter.sizeBytes, encoding);
      return { outcome: 'stored', digest, sizeBytes: meter.sizeBytes, duplicate: !stored };
    } catch (error) {
      stream.destroy();
      await upload.rollback();
      if (error instanceof TooLarge) return { outcome: 'too-large', maxBytes: options.maxBytes };
      if (upload.failure !== undefined) throw toOperationalError(upload.failure, 'storing an artifact');
      throw new OperationalError(`the upload broke off after ${meter.sizeBytes} bytes: send it again`, {
        retry: 'later',
        cause: error,
      });
    }
  }

  /**
   * The content of an artifact. The stream is checked while it flows: it fails with an OperationalError before its end when size or
   * digest are wrong, so a consumer must not act on the content before the stream has ended well.
   */
  async get(digest: string): Promise<GetArtifactResult> {
    const row = await this.row(digest);
    if (row === undefined) return { outcome: 'unknown' };
    const { media_type: mediaType } = row;
    const sizeBytes = Number(row.size_bytes);
    if (row.pruned_at !== null) return { outcome: 'pruned', mediaType, sizeBytes, prunedAt: row.pruned_at };
    const decompress = row.encoding === 'zstd' ? createZstdDecompress() : createGunzip();
    const stream = pipeline(
      Readable.from(this.chunks(digest, row.content_id, row.chunks), { objectMode: false }),
      decompress,
      new Verifier(digest, sizeBytes),
      () => {
        // The error reaches the reader through the stream itself.
      },
    );
    return { outcome: 'found', mediaType, sizeBytes, stream };
  }

  /** What is known of an artifact, or undefined. Pruned artifacts stay known. */
  async stat(digest: string): Promise<ArtifactStat | undefined> {
    const row = await this.row(digest);
    if (row === undefined) return undefined;
    return {
      digest,
      mediaType: row.media_type,
      sizeBytes: Number(row.size_bytes),
      storedBytes: row.pruned_at === null ? Number(row.stored_bytes) : 0,
      createdAt: row.created_at,
      prunedAt: row.pruned_at,
    };
  }

  /** Deletes the content of the named artifacts and marks them pruned. Unknown and already pruned ones are passed over. */
  async prune(options: { digests: string[] }): Promise<{ pruned: string[]; freedBytes: number }> {
    options.digests.forEach(checkDigest);
    try {
      const result = await this.pool.query<{ digest: string; stored_bytes: string }>(
        'SELECT digest, stored_bytes FROM es.prune_artifacts($1)',
        [options.digests],
      );
      const freedBytes = result.rows.reduce((sum, row) => sum + Number(row.stored_bytes), 0);
      return { pruned: result.rows.map((row) => row.digest).sort(), freedBytes };
    } catch (error) {
      throw toOperationalError(error, 'pruning artifacts');
    }
  }

  private async row(digest: string): Promise<ArtifactRow | undefined> {
    checkDigest(digest);
    try {
      const result = await this.pool.query<ArtifactRow>(
        `SELECT content_id, media_type, size_bytes, stored_bytes, encoding, chunks, es.instant(created_at) AS created_at,
           es.instant(pruned_at) AS pruned_at FROM es.artifact WHERE digest = $1`,
        [digest],
      );
      return result.rows[0];
    } catch (error) {
      throw toOperationalError(error, `looking up artifact ${digest}`);
    }
  }

  private async *chunks(digest: string, contentId: string, count: number): AsyncGenerator<Buffer> {
    for (let seq = 0; seq < count; seq++) {
      const result = await this.pool
        .query<{ bytes: Buffer }>('SELECT bytes FROM es.artifact_chunk WHERE content_id = $1 AND seq = $2', [
          contentId,
          seq,
        ])
        .catch((error: unknown) => {
          throw toOperationalError(error, `reading artifact ${digest}`);
        });
      const bytes = result.rows[0]?.bytes;
      if (bytes === undefined) {
        throw new OperationalError(
          `artifact ${digest} lacks chunk ${seq} of ${count}: pruned while it was read, or damaged`,
          {
            retry: 'never',
          },
        );
      }
      yield bytes;
    }
  }
}

interface ArtifactRow {
  content_id: string;
  media_type: string;
  size_bytes: string;
  stored_bytes: string;
  encoding: string;
  chunks: number;
  created_at: string;
  pruned_at: string | null;
}

function checkDigest(digest: string): void {
  if (!digestPattern.test(digest)) {
    throw new OperationalError(`${JSON.stringify(digest)} is not a SHA-256 digest: 64 lower-case hex digits`, {
      retry: 'never',
    });
  }
}

/** Counts and hashes what passes; refuses more than `maxBytes`. */
class Meter extends Transform {
  sizeBytes = 0;
  private readonly hash = createHash('sha256');

  constructor(private readonly maxBytes: number) {
    super();
  }

  override _transform(bytes: Buffer, _encoding: string, done: (error: Error | null, bytes?: Buffer) => void): void {
    this.sizeBytes += bytes.length;
    if (this.sizeBytes > this.maxBytes) return done(new TooLarge());
    this.hash.update(bytes);
    done(null, bytes);
  }

  digest(): string {
    return this.hash.digest('hex');
  }
}

/** Passes content on and fails at its end, or as soon as there is too much, unless it is what the digest promised. */
class Verifier extends Transform {
  private size = 0;
  private readonly hash = createHash('sha256');

  constructor(
    private readonly digest: string,
    private readonly sizeBytes: number,
  ) {
    super();
  }

  override _transform(bytes: Buffer, _encoding: string, done: (error: Error | null, bytes?: Buffer) => void): void {
    this.size += bytes.length;
    if (this.size > this.sizeBytes) return done(this.damage(`has more than its ${this.sizeBytes} bytes`));
    this.hash.update(bytes);
    done(null, bytes);
  }

  override _flush(done: (error?: Error | null) => void): void {
    const actual = this.hash.digest('hex');
    done(actual === this.digest ? null : this.damage(`has content of digest ${actual}`));
  }

  private damage(what: string): OperationalError {
    return new OperationalError(`artifact ${this.digest} is damaged: it ${what}; restore it from a backup`, {
      retry: 'never',
    });
  }
}

/** Cuts compressed bytes into chunks and writes them in one transaction, opened only when there is something worth writing. */
class Upload {
  failure: unknown;
  private readonly contentId = randomUUID();
  private parts: Buffer[] = [];
  private partBytes = 0;
  private ready: Buffer[] = [];
  private count = 0;
  private storedBytes = 0;
  private session: Session | undefined;

  constructor(private readonly pool: Pool) {}

  async write(bytes: Buffer): Promise<void> {
    this.parts.push(bytes);
    this.partBytes += bytes.length;
    while (this.partBytes >= chunkBytes) this.cut();
    if (this.ready.length >= bufferedChunks) await this.flush();
  }

  /** Commits. False when the content was stored already: then nothing of this upload remains. */
  async finish(digest: string, mediaType: string, sizeBytes: number, encoding: string): Promise<boolean> {
    if (this.partBytes > 0) this.cut();
    await this.flush();
    const rows = await this.query<{ stored: boolean }>(
      'SELECT es.finish_artifact($1, $2, $3, $4, $5, $6, $7) AS stored',
      [digest, this.contentId, mediaType, sizeBytes, this.storedBytes, encoding, this.count],
    );
    const stored = rows[0]?.stored === true;
    if (!stored) {
      await this.rollback();
      return false;
    }
    await this.query('COMMIT', []);
    this.session?.release();
    this.session = undefined;
    return true;
  }

  async rollback(): Promise<void> {
    this.ready = [];
    this.parts = [];
    const session = this.session;
    this.session = undefined;
    if (session === undefined) return;
    try {
      await session.client.query('ROLLBACK');
      session.release();
    } catch (error) {
      // A connection that cannot roll back is closed, and its transaction with it.
      session.release(error instanceof Error ? error : new Error(String(error)));
    }
  }

  private cut(): void {
    const all = this.parts.length === 1 ? (this.parts[0] as Buffer) : Buffer.concat(this.parts);
    this.ready.push(all.subarray(0, chunkBytes));
    const rest = all.subarray(chunkBytes);
    this.parts = rest.length === 0 ? [] : [rest];
    this.partBytes = rest.length;
  }

  private async flush(): Promise<void> {
    for (const bytes of this.ready) {
      await this.query('INSERT INTO es.artifact_chunk (content_id, seq, bytes) VALUES ($1, $2, $3)', [
        this.contentId,
        this.count,
        bytes,
      ]);
      this.count += 1;
      this.storedBytes += bytes.length;
      failpoint('artifact.chunk-stored');
    }
    this.ready = [];
  }

  private async query<T extends object>(text: string, values: unknown[]): Promise<T[]> {
    try {
      if (this.session === undefined) {
        this.session = await openSession(this.pool);
        await this.session.client.query('BEGIN');
      }
      return (await this.session.client.query<T>(text, values)).rows;
    } catch (error) {
      this.failure = error;
      throw error;
    }
  }
}
