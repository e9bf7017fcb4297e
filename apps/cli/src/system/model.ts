import { modelNameSchema, type OfferedModel } from '@plumbline/domain';
import { badInput, CliError, explain } from '../failure.js';
import { plain } from '../terminal/text.js';

const ASK_TIMEOUT_MS = 5_000;

/** The seats one model sits in when it is the only one. */
const seats = ['coder', 'concluder'];

/** A server's model, offered for every seat. Its memory is the server's own affair, so it takes none of ours. */
export function offeredModel(
  url: string,
  name: string,
  options: { family?: string; seats?: string[] } = {},
): OfferedModel {
  return {
    name,
    family: options.family ?? familyOf(name),
    tier: 1,
    runtime: 'external',
    endpoint: url,
    pool: 'host',
    bytes: 0,
    slots: 4,
    seats: options.seats ?? seats,
  };
}

/** `qwen3` of `Qwen/Qwen3-32B`: the letters and digits the last part of the name begins with, in lower case. */
function familyOf(name: string): string {
  return /^[a-z0-9]+/i.exec(name.split('/').at(-1) ?? '')?.[0]?.toLowerCase() ?? 'unknown';
}

/**
 * The model to ask a server for: the name given, else the first it lists. Throws CliError when the address is none, the server does not
 * answer, or a name cannot be used.
 */
export async function findModel(url: string, name: string | undefined, signal: AbortSignal): Promise<OfferedModel> {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw badInput(
      `--model-url is ${JSON.stringify(url)}, which is not an HTTP address.`,
      'Give it as http://HOST:PORT.',
    );
  }
  await assertInTheHouse(url);
  const chosen = name ?? (await firstListed(url, signal));
  const parsed = modelNameSchema.safeParse(chosen);
  if (!parsed.success) {
    throw badInput(
      `The model name ${JSON.stringify(plain(chosen))} cannot be used: ${parsed.error.issues[0]?.message ?? 'it is invalid'}.`,
      'Give the name to ask the server for with --model-name.',
    );
  }
  return offeredModel(url, parsed.data);
}

/** Before anything is sent there, not even the question which models there are. */
async function assertInTheHouse(url: string): Promise<void> {
  const { checkEndpoint } = await import('@plumbline/model');
  const allowHosts = (process.env['PLUMB_MODEL_ALLOW_HOSTS'] ?? '').split(',').map((host) => host.trim());
  const checked = await checkEndpoint(url, { allowHosts: allowHosts.filter((host) => host !== '') });
  if (checked.outcome !== 'refused') return;
  const what = checked.message.split(';')[0] ?? '';
  throw badInput(
    `${what.charAt(0).toUpperCase()}${what.slice(1)}.`,
    'Give a server of your own network, or allow its host by name in PLUMB_MODEL_ALLOW_HOSTS.',
  );
}

async function firstListed(url: string, signal: AbortSignal): Promise<string> {
  const root = url.replace(/\/+$/, '');
  const address = /\/v\d+$/.test(root) ? `${root}/models` : `${root}/v1/models`;
  let body: unknown;
  try {
    const response = await fetch(address, { signal: AbortSignal.any([signal, AbortSignal.timeout(ASK_TIMEOUT_MS)]) });
    if (!response.ok) throw new Error(`it answered ${response.status}`);
    body = await response.json();
  } catch (error) {
    const said = error instanceof TypeError && error.cause instanceof Error ? error.cause : error;
    throw new CliError(
      `The model server at ${plain(root)} does not list its models: ${plain(explain(said).message)}.`,
      'Start it, correct --model-url, or name the model with --model-name.',
      { cause: error },
    );
  }
  const first = (body as { data?: { id?: unknown }[] } | null)?.data?.[0]?.id;
  if (typeof first === 'string') return first;
  throw new CliError(
    `The model server at ${plain(root)} lists no model.`,
    'Load one there, or name it with --model-name.',
  );
}
