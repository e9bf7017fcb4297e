import type { IdentityName } from '@plumbline/bus';
import { serviceNames, type ServiceName } from '@plumbline/domain';
import { CliError, explain } from '../failure.js';
import { readJson } from '../system/private-file.js';

export const identityNames: readonly IdentityName[] = [...serviceNames, 'user', 'operator'];

export interface Login {
  readonly user: string;
  readonly password: string;
}

/** How everybody gets into a broker: `perService` says whether it can tell them apart. */
export interface BrokerLogins {
  readonly url: string;
  readonly logins: Readonly<Record<IdentityName, Login>>;
  readonly perService: boolean;
}

/** The names under which a home keeps the passwords of the bus. */
export const natsSecret = (name: IdentityName): string => `nats.${name}`;

/** The logins of the embedded broker: one name and one random password for each. */
export function embeddedLogins(url: string, secrets: Readonly<Record<string, string>>): BrokerLogins {
  return {
    url,
    perService: true,
    logins: loginsBy((name) => ({ user: name, password: secrets[natsSecret(name)] ?? '' })),
  };
}

/**
 * The logins of a broker somebody else runs: passwords by identity from the file PLUMB_NATS_PASSWORDS_FILE names; else the one user in the
 * URL for everybody; else the names of the identities, which a broker without logins lets in. Throws CliError for a file that does not say.
 */
export function givenLogins(
  natsUrl: string,
  env: NodeJS.ProcessEnv,
  secrets: Readonly<Record<string, string>>,
): BrokerLogins {
  const parsed = parseNatsUrl(natsUrl);
  const url = `${parsed.protocol}//${parsed.host}`;
  const file = env['PLUMB_NATS_PASSWORDS_FILE'] ?? '';
  if (file !== '') {
    const passwords = (readJson(file) ?? {}) as Record<string, unknown>;
    const missing = identityNames.filter((name) => typeof passwords[name] !== 'string');
    if (missing.length > 0) {
      throw new CliError(
        `PLUMB_NATS_PASSWORDS_FILE (${file}) has no password for ${missing.join(', ')}.`,
        'Make it a JSON object with one password for each identity of the broker.',
      );
    }
    return { url, perService: true, logins: loginsBy((name) => ({ user: name, password: String(passwords[name]) })) };
  }
  if (parsed.username === '') return { ...embeddedLogins(url, secrets), perService: false };
  const login = { user: decodeURIComponent(parsed.username), password: decodeURIComponent(parsed.password) };
  return { url, perService: false, logins: loginsBy(() => login) };
}

/** Throws CliError when a given broker is away or refuses a login: services would only wait for it, and nobody would see why. */
export async function assertBrokerAnswers({ url, logins }: BrokerLogins): Promise<void> {
  const { withBus } = await import('../system/bus-client.js');
  for (const login of new Map(Object.values(logins).map((one) => [one.user, one])).values()) {
    try {
      await withBus({ url, ...login }, async () => {});
    } catch (error) {
      throw new CliError(
        explain(error).message,
        'Start it or correct NATS_URL or PLUMB_NATS_PASSWORDS_FILE, or unset NATS_URL to use an embedded server.',
        { cause: error },
      );
    }
  }
}

/** A NATS address with or without scheme. Throws CliError for what is none. */
export function parseNatsUrl(text: string): URL {
  const given = text.includes('://') ? text : `nats://${text}`;
  if (!/^(nats|tls):\/\//.test(given) || !URL.canParse(given)) {
    throw new CliError(
      'NATS_URL is not the address of a NATS server.',
      'Set it to nats://HOST:PORT, or unset it to use the embedded one.',
    );
  }
  const url = new URL(given);
  if (url.port === '') url.port = '4222';
  return url;
}

function loginsBy(login: (name: IdentityName) => Login): Record<IdentityName, Login> {
  return Object.fromEntries(identityNames.map((name) => [name, login(name)])) as Record<IdentityName, Login>;
}

/** The logins of the services among all. */
export function serviceLogins(logins: BrokerLogins['logins']): Record<ServiceName, Login> {
  return Object.fromEntries(serviceNames.map((name) => [name, logins[name]])) as Record<ServiceName, Login>;
}
