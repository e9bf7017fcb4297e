import { once } from 'node:events';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { z } from 'zod';
import { conversationDigest, Memory } from './memory.js';
import { errorJson, playStream, playWhole, STREAM_ONLY } from './play.js';
import { parseScenarios, type Fault, type Scenario, type ScenarioInput } from './scenario.js';
import { findReply, modelIds } from './script.js';
import { chatRequest, promptMessages, type ChatRequest } from './wire.js';

const MAX_BODY_BYTES = 32 * 1024 * 1024;
const REQUESTS_KEPT = 1_000;
const STATEMENT = 'scripted model server: answers come from scenario files, no model is involved';

/** A chat request the server saw, and what it did: `reply`, `fault:<kind>`, or `refused` with the reason. */
export interface RecordedRequest {
  readonly model: string;
  readonly answer: 'reply' | 'refused' | `fault:${Fault['kind']}`;
  /** Absent when refused before a scenario was found. */
  readonly scenario?: string;
  /** The number of assistant messages in the request; absent when refused. */
  readonly turn?: number;
  /** Digest of model, tools and messages; equal for a repeated request. */
  readonly conversation: string;
  readonly reason?: string;
  readonly body: ChatRequest;
}

/** A running scripted model server. */
export interface ScriptedModel {
  /** Root of the server, without `/v1`. */
  readonly url: string;
  /** Names of the scenarios, in order. */
  readonly scenarios: readonly string[];
  /** The last 1000 well-formed chat requests, oldest first. */
  readonly requests: readonly RecordedRequest[];
  /** Breaks off every open answer and frees the port. */
  stop(): Promise<void>;
}

/**
 * Starts an HTTP server that speaks the OpenAI chat protocol and plays scenarios: `/v1/chat/completions` (streaming or
 * in one piece), `/v1/models`, `/health`. It says what it is in every answer: header `x-plumbline-scripted` (the
 * scenario, or `*`), model ids under `scripted/`, a statement in the bodies. A request no scenario answers gets 422
 * with what was looked for; an unknown model 404. Listens on loopback and a free port unless told otherwise. Throws
 * ScenarioError for scenarios that cannot be played.
 */
export async function startScriptedModel(options: {
  readonly scenarios: readonly ScenarioInput[];
  readonly port?: number;
  readonly host?: string;
}): Promise<ScriptedModel> {
  const sources = options.scenarios.map((value, at) => ({ source: `scenario ${at}`, value }));
  const stage = new Stage(parseScenarios(sources));
  const server = http.createServer((request, response) => {
    stage.answer(request, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else refuse(response, 500, `the scripted model server failed: ${String(error)}`);
    });
  });
  server.listen(options.port ?? 0, options.host ?? '127.0.0.1');
  await once(server, 'listening');
  const { address, port, family } = server.address() as AddressInfo;
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`,
    scenarios: stage.scenarios.map(({ name }) => name),
    requests: stage.requests,
    stop: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

class Stage {
  readonly scenarios: readonly Scenario[];
  readonly requests: RecordedRequest[] = [];
  readonly #memory = new Memory();

  constructor(scenarios: readonly Scenario[]) {
    this.scenarios = scenarios;
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader('x-plumbline-scripted', '*');
    const route = `${request.method} ${new URL(request.url ?? '/', 'http://scripted').pathname}`;
    if (route === 'GET /health') return sendJson(response, { status: 'ok', scripted: true, statement: STATEMENT });
    if (route === 'GET /v1/models') return sendJson(response, this.#models());
    if (route !== 'POST /v1/chat/completions') {
      return refuse(
        response,
        404,
        `${route} is not served; POST /v1/chat/completions, GET /v1/models and GET /health are`,
      );
    }
    const body = await readBody(request);
    if (body === undefined) return refuse(response, 413, `the request is larger than ${MAX_BODY_BYTES} bytes`);
    const parsed = parseRequest(body);
    if (typeof parsed === 'string') return refuse(response, 400, parsed);
    await this.#chat(parsed, response);
  }

  async #chat(request: ChatRequest, response: ServerResponse): Promise<void> {
    const conversation = conversationDigest(request);
    const known = { model: request.model, conversation, body: request };
    const found = findReply(this.scenarios, request.model, promptMessages(request));
    if (found.outcome !== 'reply') {
      const scenario = found.scenario && { scenario: found.scenario.name };
      response.setHeader('x-plumbline-scripted', scenario?.scenario ?? '*');
      this.#record({ ...known, ...scenario, answer: 'refused', reason: found.message });
      return refuse(response, found.outcome === 'no-model' ? 404 : 422, found.message);
    }
    const { played, turn, reply } = found;
    const scenario = found.scenario.name;
    response.setHeader('x-plumbline-scripted', scenario);
    const fault = played.fault && this.#memory.strikes(conversation, played.fault.times) ? played.fault : undefined;
    if (fault && !request.stream && STREAM_ONLY.has(fault.kind)) {
      const reason = `scenario ${scenario}, turn ${turn}: fault ${fault.kind} needs a request with stream: true`;
      this.#record({ ...known, scenario, answer: 'refused', reason });
      return refuse(response, 422, reason);
    }
    this.#record({ ...known, scenario, turn, answer: fault ? `fault:${fault.kind}` : 'reply' });
    if (fault?.kind === 'status') return refuseByScript(response, fault);
    await (request.stream ? playStream : playWhole)(response, {
      id: `scripted-${conversation.slice(0, 12)}`,
      model: request.model,
      reply,
      played,
      fault,
      usage: this.#memory.usage(request, reply),
      includeUsage: request.stream_options?.include_usage ?? false,
    });
  }

  #record(entry: RecordedRequest): void {
    this.requests.push(entry);
    if (this.requests.length > REQUESTS_KEPT) this.requests.shift();
  }

  #models(): unknown {
    const data = modelIds(this.scenarios).map((id) => ({
      id,
      object: 'model',
      created: 0,
      owned_by: 'plumbline-scripted',
    }));
    const scenarios = this.scenarios.map(({ name, describes }) => ({ name, describes }));
    return { object: 'list', data, scripted: true, statement: STATEMENT, scenarios };
  }
}

function parseRequest(body: string): ChatRequest | string {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch (error) {
    return `the request is not JSON: ${String(error)}`;
  }
  const parsed = chatRequest.safeParse(json);
  return parsed.success ? parsed.data : `the request is not a chat request: ${z.prettifyError(parsed.error)}`;
}

/** The body, or undefined when it is too large (the rest is read and dropped, so that the refusal can be). */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const parts: Buffer[] = [];
  let sizeBytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    sizeBytes += part.length;
    if (sizeBytes <= MAX_BODY_BYTES) parts.push(part);
  }
  return sizeBytes <= MAX_BODY_BYTES ? Buffer.concat(parts).toString('utf8') : undefined;
}

function refuseByScript(response: ServerResponse, fault: Extract<Fault, { kind: 'status' }>): void {
  if (fault.retryAfterSeconds !== undefined) response.setHeader('retry-after', fault.retryAfterSeconds);
  refuse(response, fault.status, fault.message ?? `scripted status ${fault.status}`, fault.type);
}

function refuse(response: ServerResponse, status: number, message: string, type = 'scripted_refusal'): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(errorJson(status, message, type));
}

function sendJson(response: ServerResponse, body: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
