import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Inject, Injectable, type NestMiddleware } from '@nestjs/common';
import { LOG, SERVICE_CONFIG, type Log } from '@plumbline/host';
import { ipKeyGenerator, rateLimit, type RateLimitRequestHandler } from 'express-rate-limit';
import type { LedgerConfig } from '../config.js';
import { checkAddressing } from './addressed.js';
import { HeldRequests } from './held-requests.js';
import { remember, type OperationShape } from './operation.js';
import { operations } from './operations.js';
import { matchRequest } from './path-match.js';
import { ApiProblem } from './problems.js';
import { ProblemFilter, sendProblem } from './problem.filter.js';

/** Requests a minute from an address that shows no valid token: enough for a mistake, too few to guess. */
export const strangersPerMinute = 120;

/**
 * What every request passes before any controller sees it: that it was meant for this API, its rate, the one operation of the document it
 * asks for, its token, and that it brings no body where none is taken. All of it is answered in the one shape.
 */
@Injectable()
export class FrontDoor implements NestMiddleware<IncomingMessage, ServerResponse> {
  private readonly known: RateLimitRequestHandler;
  private readonly strangers: RateLimitRequestHandler;

  constructor(
    @Inject(SERVICE_CONFIG) private readonly config: LedgerConfig,
    @Inject(HeldRequests) private readonly held: HeldRequests,
    @Inject(LOG) private readonly log: Log,
  ) {
    this.known = limiter(config.requestsPerMinute);
    this.strangers = limiter(strangersPerMinute);
  }

  use(request: IncomingMessage, response: ServerResponse, next: () => void): void {
    response.removeHeader('x-powered-by');
    response.setHeader('x-content-type-options', 'nosniff');
    response.setHeader('cache-control', 'no-store');
    // Nothing is kept by anybody, so nobody is told that what they keep is still good.
    delete request.headers['if-none-match'];
    delete request.headers['if-modified-since'];
    this.admit(request, response).then(next, (error: unknown) => {
      if (error instanceof ApiProblem) sendProblem(response, error);
      else new ProblemFilter(this.log).answer(error, response);
    });
  }

  private async admit(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.held.leaving)
      throw new ApiProblem('unavailable', 'the ledger is about to end', {
        headers: { 'retry-after': '2', connection: 'close' },
      });
    const authorized = this.isAuthorized(request.headers.authorization ?? '');
    const counted = (): Promise<void> => count(authorized ? this.known : this.strangers, request, response);
    let operation: OperationShape;
    try {
      checkAddressing(request, this.config.apiHosts);
      const matched = matchRequest(request);
      operation = operations[matched.id];
      remember(request, matched);
    } catch (error) {
      await counted();
      throw error;
    }
    if (!authorized || operation.uncounted !== true) await counted();
    if (!authorized && operation.open !== true)
      throw new ApiProblem('unauthorized', 'the request does not carry the API token', {
        headers: { 'www-authenticate': 'Bearer' },
      });
    const { 'content-length': length, 'transfer-encoding': chunked } = request.headers;
    if (operation.body === undefined && (chunked !== undefined || (length !== undefined && length !== '0')))
      throw new ApiProblem('body-not-expected', 'the request brings a body, which this operation does not read');
  }

  /** Compared as digests in constant time: neither length nor beginning of the token leaks. */
  private isAuthorized(header: string): boolean {
    const token = /^Bearer (.+)$/i.exec(header)?.[1] ?? '';
    return timingSafeEqual(sha256(token), sha256(this.config.apiToken));
  }
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest();

/** Counts by address in windows of a minute and says so in the RateLimit headers of every answer. */
const limiter = (perMinute: number): RateLimitRequestHandler =>
  rateLimit({
    windowMs: 60_000,
    limit: perMinute,
    standardHeaders: 'draft-6',
    legacyHeaders: false,
    // Proxies are not believed: whoever connects is who asks. A house's IPv6 network counts as one.
    validate: false,
    keyGenerator: (request) => ipKeyGenerator(request.socket.remoteAddress ?? 'unknown'),
    handler: (_request, _response, next) => {
      const detail = `more than ${perMinute} requests within a minute came from this address`;
      next(new ApiProblem('too-many-requests', detail));
    },
  });

function count(limit: RateLimitRequestHandler, request: IncomingMessage, response: ServerResponse): Promise<void> {
  return new Promise((resolve, reject) => {
    const next = (error?: unknown): void => (error === undefined ? resolve() : reject(error as Error));
    void limit(request as Parameters<typeof limit>[0], response as Parameters<typeof limit>[1], next);
  });
}
