import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { Ajv2020, type AnySchema, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

/** The OpenAPI document as far as its contract is tested. */
export interface ApiDocument {
  paths: Record<string, Record<string, DocumentedOperation>>;
  components: { schemas: Record<string, AnySchema> };
}
export interface Parameter {
  name: string;
  in: 'path' | 'query' | 'header';
  required: boolean;
  schema: ParameterSchema;
}
export interface ParameterSchema {
  type?: string;
  enum?: string[];
  pattern?: string;
  format?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  default?: unknown;
}
export interface DocumentedOperation {
  operationId: string;
  parameters?: Parameter[];
  requestBody?: unknown;
  security?: unknown[];
  responses: Record<string, { content?: Record<string, { schema: AnySchema }> }>;
}
export interface Operation extends DocumentedOperation {
  method: string;
  path: string;
}

export const operationsOf = (document: ApiDocument): Operation[] =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ ...operation, method: method.toUpperCase(), path })),
  );

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}
export interface Call {
  method: string;
  path: string;
  headers?: Record<string, string | string[]>;
  body?: Uint8Array;
  /** Ends the answer after its first part: streams never end by themselves. */
  firstPart?: boolean;
}

/** One request exactly as given: no path is normalised, no header added but Host. */
export function send(url: string, { method, path, headers = {}, body, firstPart = false }: Call): Promise<Answer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const length =
      body === undefined || headers['transfer-encoding'] !== undefined ? {} : { 'content-length': String(body.length) };
    const request = httpRequest(
      { hostname, port, method, path, headers: { ...length, ...headers }, agent: false },
      (response) => {
        const parts: Buffer[] = [];
        const end = (): void => {
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(parts).toString(),
          });
          if (firstPart) request.destroy();
        };
        response.on('data', (part: Buffer) => {
          parts.push(part);
          if (firstPart && response.headers['content-type'] === 'text/event-stream') end();
        });
        response.on('end', end);
        response.on('error', reject);
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

/** Holds answers against the document, and remembers which operations were seen to answer with which status. */
export class Contract {
  readonly seen = new Set<string>();
  private readonly ajv = new Ajv2020({ strict: false, allErrors: true });
  private readonly compiled = new Map<string, ValidateFunction>();

  constructor(readonly document: ApiDocument) {
    addFormats.default(this.ajv);
    for (const [name, schema] of Object.entries(document.components.schemas))
      this.ajv.addSchema(closed(schema), `#/components/schemas/${name}`);
  }

  /** What is wrong with an answer; empty when the document says it may be so. */
  complaints(operation: Operation, answer: Answer): string[] {
    const { responses, operationId, method } = operation;
    const said = `${operationId} answered ${answer.status}`;
    const documented = responses[String(answer.status)];
    if (documented === undefined) return [`${said}, which is not documented: ${answer.body.slice(0, 300)}`];
    this.seen.add(`${operationId} ${answer.status}`);
    if (method === 'HEAD') return answer.body === '' ? [] : [`${said} to HEAD with a body`];
    const media = (answer.headers['content-type'] ?? '').split(';', 1)[0] ?? '';
    const content = documented.content?.[media];
    if (content === undefined) return [`${said} as ${media}, which is not documented`];
    if (!media.includes('json')) return [];
    const problems = this.check(content.schema, JSON.parse(answer.body));
    if (answer.status >= 400 && (JSON.parse(answer.body) as { status: number }).status !== answer.status)
      problems.push(`${said} with the body of another status`);
    return problems.map((problem) => `${said}: ${problem}`);
  }

  /** Documented operations and statuses that were never seen. */
  unseen(): string[] {
    return operationsOf(this.document)
      .flatMap(({ operationId, responses }) => Object.keys(responses).map((status) => `${operationId} ${status}`))
      .filter((name) => !name.endsWith(' default') && !this.seen.has(name));
  }

  private check(schema: AnySchema, value: unknown): string[] {
    const key = JSON.stringify(schema);
    const validate = this.compiled.get(key) ?? this.ajv.compile(schema);
    this.compiled.set(key, validate);
    return validate(value)
      ? []
      : (validate.errors ?? []).map((error) => `${error.instancePath} ${error.message ?? ''}`);
  }
}

/** A schema that lists fields allows no others: what the API answers must stand in its document. */
function closed(schema: unknown): AnySchema {
  if (Array.isArray(schema)) return schema.map(closed) as unknown as AnySchema;
  if (typeof schema !== 'object' || schema === null) return schema as AnySchema;
  const inner: Record<string, unknown> = Object.fromEntries(
    Object.entries(schema).map(([key, value]) => [key, closed(value)]),
  );
  const open =
    Object.hasOwn(inner, 'properties') && inner['type'] === 'object' && inner['additionalProperties'] === undefined;
  return (open ? { ...inner, additionalProperties: false } : inner) as AnySchema;
}
