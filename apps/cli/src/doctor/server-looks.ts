import { broken, ok, reason, type Finding, type Look, type Place } from './finding.js';

/** The database: the one PLUMB_DATABASE_URL names, else the embedded server's binaries. */
export const postgres: Look = async (place) => {
  const names = ['PLUMB_DATABASE_URL', 'PLUMB_DATABASE_ADMIN_URL'].filter((name) => (place.env[name] ?? '') !== '');
  if (names.length === 0) return [await tool('postgres', place)];
  return Promise.all(names.map((name) => reachableDatabase(name, place.env[name] ?? '')));
};

async function reachableDatabase(name: string, url: string): Promise<Finding> {
  const { withClient, withoutPassword } = await import('../supervisor/databases.js');
  try {
    const version = await withClient(url, async (client) => {
      const { rows } = await client.query<{ version: string }>("select current_setting('server_version') as version");
      return rows[0]?.version ?? '';
    });
    return ok(`postgres ${version.split(' ')[0] ?? ''} answers (${name}: ${withoutPassword(url)})`);
  } catch (error) {
    const { mend } = error as { mend?: string };
    return broken(`${reason(error)}.`, (mend ?? 'Correct it.').replaceAll('PLUMB_DATABASE_URL', name));
  }
}

/** The broker: the one NATS_URL names, else the nats-server that would be started. */
export const nats: Look = async (place) => {
  const url = place.env['NATS_URL'] ?? '';
  if (url !== '') return [await reachableBroker(url, place.env)];
  const located = await locateTool('nats-server', place);
  if (!('found' in located)) return [toolFinding('nats-server', located)];
  return [await judged(located.version, `nats-server ${located.version} (${located.how}: ${located.found})`)];
};

/** What a server of this version lacks that we would use, or that it is too old. */
async function judged(version: string, what: string): Promise<Finding> {
  const { atLeast, capabilities, MINIMUM_SERVER } = await import('@plumbline/bus');
  if (!atLeast(version, MINIMUM_SERVER)) {
    return broken(
      `${what} is older than ${MINIMUM_SERVER}.`,
      `Upgrade nats-server to ${MINIMUM_SERVER} or newer (2.14 is recommended).`,
    );
  }
  const able: Partial<Record<string, unknown>> = { ...capabilities({ version }) };
  const lacks = Object.entries(able).filter(([key, has]) => has === false && key !== 'ackSubjectV2');
  return ok(lacks.length === 0 ? what : `${what}; it does, though 2.14 or newer is recommended`);
}

async function reachableBroker(url: string, env: NodeJS.ProcessEnv): Promise<Finding> {
  const { withBus } = await import('../system/bus-client.js');
  const { givenLogins, identityNames, natsSecret, parseNatsUrl } = await import('../supervisor/broker.js');
  try {
    const placeholders = Object.fromEntries(identityNames.map((name) => [natsSecret(name), 'unknown']));
    const { logins } = givenLogins(url, env, placeholders);
    const { host } = parseNatsUrl(url);
    const { version, jetstream } = await withBus({ url, ...logins.ledger }, async ({ info }) => ({
      version: info?.version ?? 'of unknown version',
      jetstream: info?.jetstream === true,
    }));
    if (!jetstream)
      return broken(
        `The NATS server at ${host} has no JetStream.`,
        'Start it with `-js`, or unset NATS_URL to use an embedded one.',
      );
    return await judged(version, `nats-server ${version} answers (NATS_URL: ${host})`);
  } catch (error) {
    // Mends of other commands speak of the running system, or send people here.
    const { mend = '' } = error as { mend?: string };
    const own = /\bNATS_URL|PLUMB_NATS_PASSWORDS_FILE/.test(mend);
    return broken(
      `${reason(error)}.`,
      own ? mend : 'Start it or correct NATS_URL, or unset it to use an embedded server.',
    );
  }
}

/** A sandbox really opens. */
export const sandbox: Look = async (place) => [await tool('bwrap', place)];

type EmbeddedTool = 'postgres' | 'nats-server' | 'bwrap';
type Located = { found: string; how: string; version: string } | { missing: string; mend: string };

async function tool(name: EmbeddedTool, place: Place): Promise<Finding> {
  return toolFinding(name, await locateTool(name, place));
}

function toolFinding(name: EmbeddedTool, located: Located): Finding {
  if (!('found' in located)) return broken(located.missing, located.mend);
  const title = name === 'bwrap' ? 'bubblewrap' : name;
  return ok(`${title} ${located.version} (${located.how}: ${located.found})`);
}

async function locateTool(name: EmbeddedTool, { root, env }: Place): Promise<Located> {
  const { locate } = await import('@plumbline/embedded');
  return locate(name, { root, env: { ...env, NATS_URL: undefined } });
}
