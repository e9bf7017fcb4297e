import type { IncomingMessage, ServerResponse } from 'node:http';
import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Controller, Inject } from '@nestjs/common';
import { mediaTypeHeader } from '@plumbline/bus';
import { Artifacts } from '@plumbline/event-log';
import { SERVICE_CONFIG } from '@plumbline/host';
import type { LedgerConfig } from '../config.js';
import type { LedgerMetrics } from '../metrics.js';
import { ARTIFACTS, LEDGER_METRICS } from '../tokens.js';
import { Gate } from './gate.js';
import { Handles, type Input, type Output } from './operation.js';
import { ApiProblem } from './problems.js';

/** Uploads and downloads that wait for one of those under way; beyond, they are refused and tried again later. */
const waiting = { max: 256, ms: 20_000 };

/** Large things by their SHA-256: `PUT` stores a body that must have the digest of its path, `GET` streams it back. */
@Controller()
export class ArtifactsController {
  private readonly uploads: Gate;
  private readonly downloads: Gate;

  constructor(
    @Inject(ARTIFACTS) private readonly artifacts: Artifacts,
    @Inject(SERVICE_CONFIG) private readonly config: LedgerConfig,
    @Inject(LEDGER_METRICS) private readonly metrics: LedgerMetrics,
  ) {
    this.uploads = new Gate(config.uploadsMax, waiting);
    this.downloads = new Gate(config.downloadsMax, waiting);
  }

  @Handles('putArtifact')
  async put(input: Input<'putArtifact'>, response: ServerResponse): Promise<Output<'putArtifact'>> {
    const { digest, [mediaTypeHeader]: said } = input;
    const { req: request } = response;
    const { artifactBytesMax: maxBytes } = this.config;
    // Told before the body is sent: once it flows, all that is left is to cut it off.
    if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes);
    const mediaType = said ?? mediaTypeOf(request);
    return this.through(this.uploads, response, async () => {
      // A sender that goes silent keeps a connection of the database from everybody else.
      request.setTimeout(this.config.streams.stalledAfterMs, () => request.destroy());
      const result = await this.artifacts.put(bodyOf(request), { digest, mediaType, maxBytes });
      if (result.outcome === 'too-large') throw tooLarge(result.maxBytes);
      if (result.outcome === 'digest-mismatch')
        throw new ApiProblem(
          'digest-mismatch',
          `the body has digest ${result.actual}, the path says ${result.expected}; nothing was stored`,
        );
      const { sizeBytes, duplicate } = result;
      this.metrics.plumb_artifact_bytes_total.inc(sizeBytes, { direction: 'stored' });
      return { schema: 'plumbline.artifact/1', digest, sizeBytes, mediaType, duplicate };
    });
  }

  // Before GET, which would take HEAD for its own.
  @Handles('headArtifact')
  async head({ digest }: Input<'headArtifact'>, response: ServerResponse): Promise<void> {
    const found = await this.artifacts.stat(digest);
    if (found === undefined) throw unknown(digest);
    if (found.prunedAt !== null) throw pruned(digest, found.prunedAt);
    describe(response, found);
    response.end();
  }

  @Handles('getArtifact')
  async get({ digest }: Input<'getArtifact'>, response: ServerResponse): Promise<void> {
    await this.through(this.downloads, response, async () => {
      const found = await this.artifacts.get(digest);
      if (found.outcome === 'unknown') throw unknown(digest);
      if (found.outcome === 'pruned') throw pruned(digest, found.prunedAt);
      describe(response, found);
      // A reader that takes nothing is cut off; whoever reads slowly is not.
      response.setTimeout(this.config.streams.stalledAfterMs, () => response.destroy());
      try {
        await pipeline(found.stream, response);
      } catch (error) {
        if (response.destroyed) return;
        throw error;
      }
      this.metrics.plumb_artifact_bytes_total.inc(found.sizeBytes, { direction: 'read' });
    });
  }

  private async through<T>(gate: Gate, response: ServerResponse, work: () => Promise<T>): Promise<T> {
    const gone = new AbortController();
    const end = (): void => gone.abort();
    response.once('close', end);
    const leave = await gate.enter(gone.signal);
    if (leave === undefined)
      throw new ApiProblem('unavailable', 'too many artifacts are on their way', { headers: { 'retry-after': '5' } });
    try {
      return await work();
    } finally {
      response.off('close', end);
      leave();
    }
  }
}

/** The body on a stream of its own: whoever ends reading it early does not end the connection, on which the answer is still to go. */
function bodyOf(request: IncomingMessage): PassThrough {
  const body = new PassThrough();
  const broken = (): void => {
    if (!request.readableEnded) body.destroy(new Error('the sender broke off'));
  };
  request.once('error', broken).once('close', broken).pipe(body);
  return body;
}

function describe(response: ServerResponse, { mediaType, sizeBytes }: { mediaType: string; sizeBytes: number }): void {
  response.setHeader('content-type', 'application/octet-stream');
  response.setHeader(mediaTypeHeader, mediaType);
  response.setHeader('content-length', String(sizeBytes));
  response.setHeader('accept-ranges', 'none');
  response.setHeader('cache-control', 'no-store');
  // What judged code produced is never to be rendered by a browser.
  response.setHeader('x-content-type-options', 'nosniff');
  response.setHeader('content-disposition', 'attachment');
}

const mediaTypeOf = (request: IncomingMessage): string =>
  (request.headers['content-type'] ?? 'application/octet-stream').replace(/[^\x20-\x7e]/g, '?').slice(0, 100);
const unknown = (digest: string): ApiProblem => new ApiProblem('not-found', `there is no artifact ${digest}`);
const pruned = (digest: string, at: string): ApiProblem =>
  new ApiProblem('gone', `artifact ${digest} was pruned at ${at}`);
const tooLarge = (maxBytes: number): ApiProblem =>
  new ApiProblem('too-large', `an artifact may have ${maxBytes} bytes at most`);
