import { problemDocumentSchema } from '@plumbline/domain';
import { z } from 'zod';
import type { Answer, OperationShape } from './operation.js';
import { operations } from './operations.js';
import { problemCatalogue, problemMediaType, type ProblemCode } from './problems.js';

type Json = Record<string, unknown>;

/** Refusals that any operation may answer with, because every request passes the same door. */
const commonRefusals: readonly ProblemCode[] = [
  'invalid-request',
  'body-not-expected',
  'foreign-origin',
  'url-too-long',
  'misdirected',
  'too-many-requests',
];
const rateHeaders = {
  'RateLimit-Policy': 'Requests allowed, and the seconds they are counted over.',
  'RateLimit-Limit': 'Requests allowed in the current window.',
  'RateLimit-Remaining': 'Requests left in it.',
  'RateLimit-Reset': 'Seconds until the next window.',
};

/** The OpenAPI 3.1 document of the API. Made of the table of operations and of the schemas that parse and describe; nothing is said twice. */
export function openApiDocument(): Json {
  const schemas = new Map<string, Json>();
  const paths: Record<string, Json> = {};
  for (const [operationId, operation] of Object.entries(operations) as [string, OperationShape][]) {
    const path = (paths[operation.path] ??= {});
    path[operation.method] = describe(operationId, operation, schemas);
  }
  schemas.set('problem', schemaOf(problemDocumentSchema));
  return {
    openapi: '3.1.1',
    info: {
      title: 'Plumbline ledger',
      version: '1',
      description:
        'Everything the log knows, for reading. Fields are added over time, never renamed or removed: ignore those you do not know. Sizes are bytes, times milliseconds, instants ISO 8601 UTC. Every refusal and failure is a `plumbline.problem/1`.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }],
    tags: ['tasks', 'verdicts', 'escalations', 'fleet', 'log', 'artifacts', 'api'].map((name) => ({ name })),
    paths,
    components: {
      schemas: Object.fromEntries([...schemas].sort(([a], [b]) => (a < b ? -1 : 1))),
      securitySchemes: {
        token: {
          type: 'http',
          scheme: 'bearer',
          description: 'The PLUMB_API_TOKEN of the ledger. Never part of a URL.',
        },
      },
    },
  };
}

function describe(operationId: string, operation: OperationShape, schemas: Map<string, Json>): Json {
  const { tag, summary, description, body, answers, open } = operation;
  const parameters = [
    ...parametersOf('path', operation.params),
    ...parametersOf('query', operation.query),
    ...parametersOf('header', operation.headers),
  ];
  const good = Object.entries(answers).map(([status, answer]) => [status, goodAnswer(answer, operation, schemas)]);
  return {
    operationId,
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    ...(open === true ? { security: [] } : {}),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { [body]: { schema: { type: 'string', format: 'binary' } } } } }),
    responses: { ...Object.fromEntries(good), ...refusalsOf(operation) },
  };
}

function parametersOf(where: 'path' | 'query' | 'header', shape: z.ZodObject | undefined): Json[] {
  return Object.entries(shape?.shape ?? {}).map(([name, schema]) => {
    const { description, ...json } = schemaOf(schema as z.ZodType, 'output');
    return {
      name,
      in: where,
      required: where === 'path' || !(schema as z.ZodType).safeParse(undefined).success,
      ...(description === undefined ? {} : { description }),
      schema: json,
    };
  });
}

function goodAnswer(answer: Answer, operation: OperationShape, schemas: Map<string, Json>): Json {
  const { description, document, media, headers = {} } = answer;
  const shown = { ...headers, ...(operation.uncounted === true ? {} : rateHeaders) };
  const content =
    document !== undefined
      ? { 'application/json': { schema: referTo(document, schemas) } }
      : media === 'application/octet-stream'
        ? { [media]: { schema: { type: 'string', format: 'binary' } } }
        : media === undefined
          ? undefined
          : { [media]: { schema: { type: media === 'application/json' ? 'object' : 'string' } } };
  return { description, ...headersOf(shown), ...(content === undefined ? {} : { content }) };
}

/** The schema of a document stands once, under the document's name. */
function referTo(document: z.ZodType, schemas: Map<string, Json>): Json {
  const json = schemaOf(document);
  const title = ((json['properties'] as Record<string, { const?: string }> | undefined)?.['schema']?.const ?? '')
    .replace('plumbline.', '')
    .replace(/\/1$/, '');
  if (title === '') throw new Error('a document without a name cannot be described');
  schemas.set(title, json);
  return { $ref: `#/components/schemas/${title}` };
}

/** Refusals by status: what each code of it means. Whatever is not listed comes in the same shape. */
function refusalsOf(operation: OperationShape): Json {
  const codes: ProblemCode[] = [
    ...commonRefusals.filter((code) => code !== 'body-not-expected' || operation.body === undefined),
    ...operation.refusals,
    ...(operation.open === true ? [] : (['unauthorized', 'unavailable'] as const)),
  ];
  const byStatus = new Map<string, ProblemCode[]>();
  for (const code of codes) {
    const status = String(problemCatalogue[code].status);
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  // An answer to HEAD has no body, whatever it says.
  const content =
    operation.method === 'head'
      ? {}
      : { content: { [problemMediaType]: { schema: { $ref: '#/components/schemas/problem' } } } };
  const listed = [...byStatus].sort().map(([status, found]) => [
    status,
    {
      description: found.map((code) => `\`${code}\`: ${problemCatalogue[code].title}.`).join(' '),
      ...(status === '429' ? headersOf({ 'Retry-After': 'Seconds to wait.' }) : {}),
      ...content,
    },
  ]);
  return { ...Object.fromEntries(listed), default: { description: 'Anything else that fails.', ...content } };
}

const headersOf = (headers: Readonly<Record<string, string>>): Json =>
  Object.keys(headers).length === 0
    ? {}
    : {
        headers: Object.fromEntries(
          Object.entries(headers).map(([name, description]) => [name, { description, schema: { type: 'string' } }]),
        ),
      };

/** Documents as they are written, open to fields of tomorrow; parameters as they are understood. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output' = 'input'): Json {
  const { $schema: _dialect, ...json } = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Json;
  return json;
}
