import { pipeline } from 'node:stream/promises';
import {
  BadRequestException,
  ConflictException,
  Controller,
  Get,
  GoneException,
  Inject,
  NotFoundException,
  Param,
  PayloadTooLargeException,
  Put,
  Req,
  Res,
  ServiceUnavailableException,
  UseGuards,
} from '@nestjs/common';
import { mediaTypeHeader } from '@plumbline/bus';
import { digestSchema } from '@plumbline/domain';
import { Artifacts, OperationalError } from '@plumbline/event-log';
import { SERVICE_CONFIG } from '@plumbline/host';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { LedgerConfig } from '../config.js';
import type { LedgerMetrics } from '../metrics.js';
import { ARTIFACTS, LEDGER_METRICS } from '../tokens.js';
import { TokenGuard } from './token.guard.js';

/** Large things by their SHA-256: `PUT` stores a body that must have the digest of its path, `GET` streams it back. */
@Controller('v1/artifacts')
@UseGuards(TokenGuard)
export class ArtifactsController {
  constructor(
    @Inject(ARTIFACTS) private readonly artifacts: Artifacts,
    @Inject(SERVICE_CONFIG) private readonly config: LedgerConfig,
    @Inject(LEDGER_METRICS) private readonly metrics: LedgerMetrics,
  ) {}

  @Put(':digest')
  async put(
    @Param('digest') digest: string,
    @Req() request: IncomingMessage,
    @Res({ passthrough: true }) response: ServerResponse,
  ): Promise<unknown> {
    if (!digestSchema.safeParse(digest).success)
      throw new BadRequestException('the path must end in a SHA-256 digest: 64 lower-case hex characters');
    const mediaType = String(
      request.headers[mediaTypeHeader] ?? request.headers['content-type'] ?? 'application/octet-stream',
    ).slice(0, 100);
    const { artifactBytesMax: maxBytes } = this.config;
    // Told before the body is sent: once it flows, all that is left is to cut it off.
    if (Number(request.headers['content-length'] ?? 0) > maxBytes) {
      // Nobody reads the body, so nothing else can be read from this connection.
      response.setHeader('connection', 'close');
      throw tooLarge(maxBytes);
    }
    const result = await this.artifacts.put(request, { digest, mediaType, maxBytes }).catch((error: unknown) => {
      if (error instanceof OperationalError && error.retry === 'later')
        throw new ServiceUnavailableException(error.message);
      throw error;
    });
    if (result.outcome === 'too-large') throw tooLarge(result.maxBytes);
    if (result.outcome === 'digest-mismatch')
      throw new ConflictException(
        `the body has digest ${result.actual}, the path says ${result.expected}; nothing was stored`,
      );
    this.metrics.plumb_artifact_bytes_total.inc(result.sizeBytes, { direction: 'stored' });
    return { digest: result.digest, sizeBytes: result.sizeBytes, mediaType, duplicate: result.duplicate };
  }

  @Get(':digest')
  async get(@Param('digest') digest: string, @Res() response: ServerResponse): Promise<void> {
    if (!digestSchema.safeParse(digest).success)
      throw new BadRequestException('the path must end in a SHA-256 digest: 64 lower-case hex characters');
    const found = await this.artifacts.get(digest);
    if (found.outcome === 'unknown') throw new NotFoundException(`there is no artifact ${digest}`);
    if (found.outcome === 'pruned') throw new GoneException(`artifact ${digest} was pruned at ${found.prunedAt}`);
    response.setHeader('content-type', 'application/octet-stream');
    response.setHeader(mediaTypeHeader, found.mediaType);
    response.setHeader('content-length', String(found.sizeBytes));
    // What judged code produced is never to be rendered by a browser.
    response.setHeader('x-content-type-options', 'nosniff');
    response.setHeader('content-disposition', 'attachment');
    await pipeline(found.stream, response);
    this.metrics.plumb_artifact_bytes_total.inc(found.sizeBytes, { direction: 'read' });
  }
}

const tooLarge = (maxBytes: number): PayloadTooLargeException =>
  new PayloadTooLargeException(`an artifact may have ${maxBytes} bytes at most`);
