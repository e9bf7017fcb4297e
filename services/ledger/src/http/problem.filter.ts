import type { IncomingMessage, ServerResponse } from 'node:http';
import { Catch, HttpException, Inject, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import { OperationalError } from '@plumbline/event-log';
import { LOG, type Log } from '@plumbline/host';
import { ApiProblem, problemMediaType } from './problems.js';

/** Answers everything that was thrown in the one shape. What nobody foresaw is logged and told without its inside. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  constructor(@Inject(LOG) private readonly log: Log) {}

  catch(error: unknown, host: ArgumentsHost): void {
    this.answer(error, host.switchToHttp().getResponse<ServerResponse>());
  }

  /** Answers with what was thrown, if anything can be answered any more. */
  answer(error: unknown, response: ServerResponse): void {
    const problem = problemOf(error);
    if (problem.code === 'internal') this.log.error({ err: error }, 'a request failed');
    // Half an answer must not look like a whole one.
    if (response.headersSent) return void response.destroy();
    sendProblem(response, problem);
  }
}

/** Writes a problem as the answer. The connection ends with it when a body was announced that nobody will read. */
export function sendProblem(response: ServerResponse, problem: ApiProblem): void {
  const { req: request } = response;
  for (const name of response.getHeaderNames())
    if (!/^(ratelimit-|retry-after$)/.test(name)) response.removeHeader(name);
  const unread = !request.complete && (request.headers['transfer-encoding'] ?? request.headers['content-length']);
  if (unread !== false && unread !== undefined && unread !== '0') response.setHeader('connection', 'close');
  for (const [name, value] of Object.entries(problem.more.headers ?? {})) response.setHeader(name, value);
  const body = `${JSON.stringify(problem.document())}\n`;
  response.writeHead(problem.status, {
    'content-type': problemMediaType,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  if (request.method !== 'HEAD') response.write(body);
  if (request.complete) response.end();
  else endAfter(request, () => response.end());
}

/**
 * Ends an answer once the body that nobody wants has come in, or after a while. Closed at once, the connection would be reset under the
 * sender's hands, and they would never read why.
 */
function endAfter(request: IncomingMessage, end: () => void): void {
  const timer = setTimeout(end, lingerMs);
  request.once('close', () => clearTimeout(timer));
  request.once('end', end).resume();
}
const lingerMs = 1_000;

function problemOf(error: unknown): ApiProblem {
  if (error instanceof ApiProblem) return error;
  if (error instanceof OperationalError && error.retry === 'later') return unavailable();
  if (databaseIsAway(error)) return unavailable();
  if (error instanceof HttpException && error.getStatus() === 404)
    return new ApiProblem('not-found', 'nothing is served at this path');
  if (error instanceof HttpException && error.getStatus() < 500)
    return new ApiProblem('invalid-request', error.message);
  return new ApiProblem('internal', 'the request could not be answered');
}

const unavailable = (): ApiProblem =>
  new ApiProblem('unavailable', 'the log cannot be read or written at the moment', { headers: { 'retry-after': '2' } });

/** Postgres is away, starting, full, or takes no connections; or the connection broke. */
function databaseIsAway(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false;
  const { code, message, cause } = error as { code?: unknown; message?: unknown; cause?: unknown };
  const { driverError = cause } = error as { driverError?: unknown };
  if (driverError !== error && databaseIsAway(driverError)) return true;
  if (typeof code === 'string') return /^(08...|53...|57P0.|57014|55000|58...|E[A-Z]{3,})$/.test(code);
  return /connection terminated|timeout exceeded when trying to connect|after calling end on the pool|is not (connected|initialized)/i.test(
    String(message),
  );
}
