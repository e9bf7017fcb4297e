import type { IncomingMessage } from 'node:http';
import { operations } from './operations.js';
import type { Matched, OperationId, OperationShape } from './operation.js';
import { ApiProblem } from './problems.js';
import { quoted } from './parameters.js';

/** A URL may be this long; what a query can say at most fits into it. */
export const urlCharsMax = 8_192;
const parametersMax = 50;

const routes = (Object.entries(operations) as [OperationId, OperationShape][]).map(([id, { method, path }]) => ({
  id,
  method: method.toUpperCase(),
  segments: path.split('/'),
}));

/** The operation that a request asks for, with its raw parameters. Throws the problem for what is in no document. */
export function matchRequest(request: Pick<IncomingMessage, 'url' | 'method'> & { originalUrl?: string }): Matched {
  // Where a middleware is mounted, `url` is what is left of it.
  const url = request.originalUrl ?? request.url ?? '/';
  if (url.length > urlCharsMax)
    throw new ApiProblem('url-too-long', `the URL has ${url.length} characters, at most ${urlCharsMax} are read`);
  const mark = url.indexOf('?');
  const segments = (mark < 0 ? url : url.slice(0, mark)).split('/').map(decoded);
  const here = routes.filter((route) => fits(route.segments, segments));
  // A path spelled out is meant before one with a parameter in its place: log/stream is no task.
  const exact = here.filter((route) => route.segments.every((part, at) => part === segments[at]));
  const found = exact.length > 0 ? exact : here;
  const route = found.find(({ method }) => method === request.method);
  if (found.length === 0) throw new ApiProblem('not-found', `nothing is served at ${quoted(segments.join('/'))}`);
  if (route === undefined) {
    const allow = found.map(({ method }) => method).join(', ');
    throw new ApiProblem('method-not-allowed', `${quoted(request.method ?? '')} is not among ${allow}`, {
      headers: { allow },
    });
  }
  return {
    id: route.id,
    params: paramsOf(route.segments, segments),
    query: mark < 0 ? {} : queryOf(url.slice(mark + 1)),
  };
}

const fits = (parts: readonly string[], segments: readonly string[]): boolean =>
  parts.length === segments.length &&
  parts.every((part, at) => (part.startsWith('{') ? segments[at] !== '' : part === segments[at]));

function paramsOf(parts: readonly string[], segments: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    parts.flatMap((part, at) => (part.startsWith('{') ? [[part.slice(1, -1), segments[at] ?? '']] : [])),
  );
}

/** Parameters by name, each once. Without a prototype: `__proto__` is a name like any other, and unknown. */
function queryOf(text: string): Record<string, string> {
  const query = Object.create(null) as Record<string, string>;
  if (text === '') return query;
  const pairs = text.split('&');
  if (pairs.length > parametersMax)
    throw new ApiProblem('invalid-request', `the query has more than ${parametersMax} parameters`);
  for (const pair of pairs) {
    const [name = '', ...value] = pair.replaceAll('+', ' ').split('=');
    const key = decoded(name);
    if (key in query)
      throw new ApiProblem('invalid-request', `the parameter ${quoted(key)} was given more than once`, {
        problems: [{ field: key.slice(0, 100), value: 'several values', expected: 'one value' }],
      });
    query[key] = decoded(value.join('='));
  }
  return query;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ApiProblem('invalid-request', `${quoted(text)} is not percent-encoded UTF-8`);
  }
}
