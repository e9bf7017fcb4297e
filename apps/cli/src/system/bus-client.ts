import { randomUUID } from 'node:crypto';
import { jetstream, JetStreamApiError } from '@nats-io/jetstream';
import {
  AuthorizationError,
  ClosedConnectionError,
  connect,
  ConnectionError,
  DrainingConnectionError,
  headers as natsHeaders,
  NoRespondersError,
  PermissionViolationError,
  RequestError,
  TimeoutError,
  UserAuthenticationExpiredError,
  type NatsConnection,
} from '@nats-io/transport-node';
import { intakeKinds, type IntakeKind } from '@plumbline/domain';
import { badInput, CliError, explain } from '../failure.js';
import type { Session } from '../session.js';
import { parseNatsUrl } from '../supervisor/broker.js';
import { plain } from '../terminal/text.js';
import { runningSystem } from './connect.js';
import { secretFrom } from './secret.js';

/** How to get onto the bus. */
export interface BusLogin {
  readonly url: string;
  readonly user?: string;
  readonly password?: string;
}

/** Who asks: `user` hands in and follows tasks, `operator` may also handle dead letters. */
export type BusRole = 'user' | 'operator';

const REPLY_TIMEOUT_MS = 10_000;

/** The bus PLUMB_NATS_URL names (with PLUMB_NATS_USER and PLUMB_NATS_PASSWORD), else that of the running system. */
export function busLogin(session: Session, role: BusRole): BusLogin {
  const { env } = session;
  const url = env['PLUMB_NATS_URL'] ?? '';
  if (url !== '')
    return { url, user: env['PLUMB_NATS_USER'] ?? role, password: secretFrom(env, 'PLUMB_NATS_PASSWORD') ?? '' };
  const { nats } = runningSystem(env);
  if (nats === undefined)
    throw new CliError('The system is just starting.', 'Wait a moment and try again.', { retry: 'later' });
  const login = role === 'user' ? nats.user : nats.operator;
  return { url: nats.url, user: login.name, password: login.password };
}

/** Connects, runs `work` and disconnects. Throws CliError in one sentence when the broker is away or refuses the login. */
export async function withBus<T>(login: BusLogin, work: (nc: NatsConnection) => Promise<T>): Promise<T> {
  const address = parseNatsUrl(login.url);
  const where = address.host;
  let nc: NatsConnection;
  try {
    nc = await connect({
      servers: `${address.protocol}//${address.host}`,
      ...(login.user === undefined ? {} : { user: login.user, pass: login.password ?? '' }),
      name: 'plumb',
      reconnect: false,
      timeout: 5_000,
    });
  } catch (error) {
    throw refusedConnection(where, login.user, error);
  }
  try {
    return await work(nc);
  } finally {
    await nc.close();
  }
}

/** A login that took too long to be looked at is an overloaded server, which the client calls by the same name. */
function refusesLogin(error: unknown): boolean {
  if (error instanceof UserAuthenticationExpiredError) return true;
  return error instanceof AuthorizationError && !/timeout/i.test(error.message);
}

/** Whether something failed because the broker, or the stream that the ledger makes in it, is not there or not able at the moment. */
export function brokerIsAway(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (refusesLogin(cause) || cause instanceof PermissionViolationError) return false;
    if (awayErrors.some((kind) => cause instanceof kind)) return true;
    // Its cause says more, where it has one; a server that lacks what the login asks for is there.
    if (cause instanceof ConnectionError && cause.cause === undefined) return !/does not support/.test(cause.message);
    if (cause instanceof JetStreamApiError) return cause.status >= 500;
    // A request that ended for no reason of its own: its connection did.
    if (cause instanceof RequestError && cause.cause === undefined) return true;
    if ('syscall' in cause) return true;
  }
  return false;
}

const awayErrors = [
  AuthorizationError,
  ClosedConnectionError,
  DrainingConnectionError,
  NoRespondersError,
  TimeoutError,
] as const;

function refusedConnection(where: string, user: string | undefined, error: unknown): CliError {
  if (refusesLogin(error)) {
    return new CliError(
      `The NATS server at ${where} refused user ${JSON.stringify(user ?? '')} or its password.`,
      'Correct the login, or unset PLUMB_NATS_URL to use the system of this machine.',
      { cause: error },
    );
  }
  return new CliError(
    `No NATS server answers at ${where}: ${plain(explain(error).message)}.`,
    'Start it, or see `plumb doctor`.',
    { cause: error, retry: brokerIsAway(error) ? 'later' : 'never' },
  );
}

/** What the scheduler answered; `nobody` when no scheduler is there to answer. */
export type IntakeAnswer = { readonly outcome: 'accepted'; readonly taskId: string } | { readonly outcome: 'nobody' };

/** A CloudEvent of one kind of intake, structured mode. Source and id together name it: the same twice is one. */
export function cloudEvent(
  kind: IntakeKind,
  data: unknown,
  id: string = randomUUID(),
  source = 'urn:plumbline:cli',
): Record<string, unknown> {
  return {
    specversion: '1.0',
    id,
    source,
    type: intakeKinds[kind].type,
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    data,
  };
}

/** Asks the scheduler and waits for its answer. Throws CliError with the scheduler's own words for a refusal. */
export async function requestIntake(nc: NatsConnection, kind: IntakeKind, data: unknown): Promise<IntakeAnswer> {
  const value = await ask(nc, `plumb.request.task.${kind}`, data);
  if (value === undefined) return { outcome: 'nobody' };
  const { taskId } = value as { taskId?: unknown };
  if (typeof taskId === 'string') return { outcome: 'accepted', taskId };
  throw new CliError(
    'The scheduler answered without a task id.',
    'Check that the command line and the system are of the same version.',
  );
}

/** Puts a CloudEvent into the intake stream, where it waits for the scheduler. Throws CliError when the broker does not confirm it. */
export async function publishIntake(
  nc: NatsConnection,
  kind: IntakeKind,
  event: Record<string, unknown>,
): Promise<void> {
  const headers = natsHeaders();
  headers.set('content-type', 'application/cloudevents+json');
  await confirmed(nc, kind, JSON.stringify(event), headers, messageId(event));
}

/** As {@link publishIntake}, in binary mode: attributes as `ce-` headers, the data as the body. */
export async function publishIntakeBinary(
  nc: NatsConnection,
  kind: IntakeKind,
  event: Record<string, unknown>,
): Promise<void> {
  const headers = natsHeaders();
  const { data, datacontenttype, ...attributes } = event;
  for (const [name, value] of Object.entries(attributes)) headers.set(`ce-${name}`, String(value));
  headers.set('content-type', String(datacontenttype));
  await confirmed(nc, kind, JSON.stringify(data), headers, messageId(event));
}

/** The broker drops what has the id of a message it just took: only source and id together name an event. */
const messageId = (event: Record<string, unknown>): string => `${String(event['source'])} ${String(event['id'])}`;

async function confirmed(
  nc: NatsConnection,
  kind: IntakeKind,
  body: string,
  headers: ReturnType<typeof natsHeaders>,
  msgID: string,
): Promise<void> {
  try {
    await jetstream(nc).publish(`plumb.intake.task.${kind}`, body, { headers, msgID });
  } catch (error) {
    throw new CliError(
      `The broker did not take it into the intake stream: ${plain(explain(error).message)}.`,
      'Start the system once with `plumb up` (its ledger makes the streams), then try again.',
      { cause: error, retry: brokerIsAway(error) ? 'later' : 'never' },
    );
  }
}

/** A request of the operator to the ledger about dead letters. Throws CliError for a refusal and when nobody answers. */
export async function requestDead(
  nc: NatsConnection,
  body: { op: 'list' | 'retry' | 'drop'; seq?: number },
): Promise<unknown> {
  const value = await ask(nc, 'plumb.request.ledger.dead', body);
  if (value !== undefined) return value;
  throw new CliError('The ledger is not there to answer.', 'Start it with `plumb up`, or see `plumb doctor`.');
}

/** A question of the operator to the ledger: who is told of what, and which of them are parked. Undefined when nobody answers. */
export function requestNotices(nc: NatsConnection): Promise<unknown> {
  return ask(nc, 'plumb.request.ledger.notices', { op: 'list' });
}

/** The value of a reply `{ok, value | error}`; undefined when nobody serves the subject. */
async function ask(nc: NatsConnection, subject: string, body: unknown): Promise<unknown> {
  const headers = natsHeaders();
  headers.set('content-type', 'application/json');
  let reply: { ok?: unknown; value?: unknown; error?: { code?: unknown; message?: unknown; retry?: unknown } };
  try {
    const message = await nc.request(subject, JSON.stringify(body), { timeout: REPLY_TIMEOUT_MS, headers });
    reply = message.json();
  } catch (error) {
    const cause = error instanceof RequestError && error.cause !== undefined ? error.cause : error;
    if (cause instanceof NoRespondersError) return undefined;
    throw failedRequest(subject, cause);
  }
  if (reply.ok === true) return reply.value ?? {};
  const message = typeof reply.error?.message === 'string' ? inWords(reply.error.message) : 'Refused without a reason.';
  if (reply.error?.retry === 'later') throw new CliError(message, 'Try again in a moment.');
  throw refused(subject, reply.error?.code, message);
}

/** A message as a sentence, without the name of the class it was thrown as. */
function inWords(message: string): string {
  const text = plain(message).replace(/^\w*Error: /, '');
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;
}

function refused(subject: string, code: unknown, message: string): CliError {
  // Codes are written in capitals by the domain and in kebab case by the bus.
  const known = String(code ?? '')
    .toUpperCase()
    .replaceAll('-', '_');
  if (known === 'UNKNOWN_TASK') return new CliError(message, '`plumb list` shows the tasks there are.');
  if (known === 'INVALID') return badInput(message, 'Correct the named field and try again.');
  const about = subject.startsWith('plumb.request.task.')
    ? '`plumb show TASK` and `plumb why TASK` say where it is.'
    : '`plumb dead list` shows what there is.';
  return new CliError(message, about);
}

function failedRequest(subject: string, cause: unknown): CliError {
  if (cause instanceof TimeoutError) {
    return new CliError(
      `No answer on ${subject} within ${REPLY_TIMEOUT_MS / 1000} s.`,
      'Look with `plumb list` whether it was carried out before you try again.',
      { cause },
    );
  }
  if (cause instanceof PermissionViolationError) {
    return new CliError(
      `The broker does not let this login publish on ${subject}.`,
      'Use the login of a user or an operator (run.json has both).',
      { cause },
    );
  }
  return new CliError(`The request on ${subject} failed: ${plain(explain(cause).message)}.`, 'See `plumb doctor`.', {
    cause,
  });
}
