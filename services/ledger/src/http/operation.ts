import type { IncomingMessage, ServerResponse } from 'node:http';
import { createParamDecorator, RequestMapping, RequestMethod, Res, type ExecutionContext } from '@nestjs/common';
import { problemsOf, type Problem } from '@plumbline/domain';
import type { z } from 'zod';
import { ApiProblem, type ProblemCode } from './problems.js';
import { operations } from './operations.js';

/** What the API answers when all is well. */
export interface Answer {
  readonly description: string;
  /** A JSON document, by its schema. */
  readonly document?: z.ZodType;
  /** Anything else, by its media type. */
  readonly media?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One operation of the API: everything the document says of it and everything a controller needs of it. */
export interface OperationShape {
  readonly method: 'get' | 'head' | 'put';
  /** With parameters in braces: `/v1/tasks/{id}`. */
  readonly path: string;
  readonly summary: string;
  readonly description?: string;
  readonly tag: string;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  /** Header parameters, by their names in lower case. */
  readonly headers?: z.ZodObject;
  /** Media type of the body it takes. */
  readonly body?: string;
  readonly answers: Readonly<Record<number, Answer>>;
  /** Refusals of its own, besides those that every operation has. */
  readonly refusals: readonly ProblemCode[];
  /** Answered without a token. */
  readonly open?: true;
  /** Not counted against the limit of requests: it has limits of its own. */
  readonly uncounted?: true;
}

type Operations = typeof operations;
export type OperationId = keyof Operations;
type Parsed<O, Part extends string> = O extends Record<Part, infer S extends z.ZodType> ? z.output<S> : object;

/** What an operation is called with: its parameters, parsed. */
export type Input<K extends OperationId> = Parsed<Operations[K], 'params'> &
  Parsed<Operations[K], 'query'> &
  Parsed<Operations[K], 'headers'>;

type Documents<A> =
  A extends Record<number, infer One>
    ? One extends { document: infer S extends z.ZodType }
      ? z.input<S>
      : void
    : never;
/** What its handler gives back: a document, or nothing when it wrote the answer itself. */
export type Output<K extends OperationId> = Documents<Operations[K]['answers']>;

/** What the door found out about a request before it let it in. */
export interface Matched {
  readonly id: OperationId;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
}
const matches = new WeakMap<IncomingMessage, Matched>();
export const remember = (request: IncomingMessage, matched: Matched): void => void matches.set(request, matched);

const ParsedInput = createParamDecorator((id: OperationId, context: ExecutionContext) => {
  const request = context.switchToHttp().getRequest<IncomingMessage>();
  const matched = matches.get(request);
  if (matched?.id !== id) throw new Error(`a request for ${matched?.id ?? 'no operation'} reached ${id}`);
  return parseInput(operations[id], matched, request);
});

/** The parameters of a request, or the problem that names every one that is wrong. */
export function parseInput(operation: OperationShape, matched: Matched, request: IncomingMessage): object {
  const problems: Problem[] = [];
  const read = (schema: z.ZodObject | undefined, given: Record<string, unknown>): object => {
    const parsed = schema?.safeParse(given);
    if (parsed?.success === false) problems.push(...problemsOf(parsed.error, given));
    return parsed?.success === true ? parsed.data : {};
  };
  const headers = Object.fromEntries(
    Object.keys(operation.headers?.shape ?? {}).flatMap((name) => {
      const value = request.headers[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
  const input = { ...read(operation.params, matched.params), ...read(operation.headers, headers) };
  const isKnown = (name: string): boolean => Object.hasOwn(operation.query?.shape ?? {}, name);
  const [known, unknown] = [true, false].map((side) =>
    Object.keys(matched.query).filter((name) => isKnown(name) === side),
  );
  for (const name of unknown ?? []) problems.push(unknownParameter(operation, name));
  const query = read(operation.query, Object.fromEntries((known ?? []).map((name) => [name, matched.query[name]])));
  if (problems.length > 0) {
    const [first] = problems as [Problem];
    throw new ApiProblem('invalid-request', `${first.field}: got ${first.value}, expected ${first.expected}`, {
      problems: problems.slice(0, 20),
    });
  }
  return { ...input, ...query };
}

function unknownParameter(operation: OperationShape, name: string): Problem {
  const known = Object.keys(operation.query?.shape ?? {});
  return {
    field: name.toWellFormed().slice(0, 100),
    value: 'a parameter',
    expected: known.length === 0 ? 'no parameters' : `one of the parameters ${known.join(', ')}`,
  };
}

/**
 * Makes a method the handler of an operation: its route, what it is called with and what it gives back all come from the table, so that
 * neither can differ from the document. An operation that answers with other than a document writes to the response itself.
 */
export function Handles<K extends OperationId>(id: K) {
  const operation: OperationShape = operations[id];
  const isDocument = Object.values(operation.answers).some((answer) => answer.document !== undefined);
  return <Method extends (input: Input<K>, response: ServerResponse) => Promise<Output<K>>>(
    target: object,
    key: string,
    descriptor: TypedPropertyDescriptor<Method>,
  ): void => {
    RequestMapping({
      method: { get: RequestMethod.GET, head: RequestMethod.HEAD, put: RequestMethod.PUT }[operation.method],
      path: operation.path.replace(/\{(\w+)\}/g, ':$1'),
    })(target, key, descriptor);
    ParsedInput(id)(target, key, 0);
    (isDocument ? Res({ passthrough: true }) : Res())(target, key, 1);
  };
}
