import pg from 'pg';
import { CliError, explain } from '../failure.js';

/** The ledger's own role in a database that we administer: the one that logs in, a member of the event log's group `plumbline_ledger`. */
export const ledgerRole = 'plumb_ledger';
const databaseName = 'plumbline';

export interface DatabaseUrls {
  readonly url: string;
  /** Set when migrations are to be run with it; absent when whoever runs the database does that. */
  readonly adminUrl: string | undefined;
}

/** Makes the database of an embedded server, if it is not there, and returns how the ledger and its migrations connect. */
export async function embeddedDatabase(superuserUrl: string, ledgerPassword: string): Promise<DatabaseUrls> {
  await withClient(superuserUrl, async (client) => {
    const found = await client.query('select 1 from pg_database where datname = $1', [databaseName]);
    if (found.rowCount === 0) await client.query(`create database ${databaseName} encoding 'UTF8' template template0`);
  });
  const adminUrl = withParts(superuserUrl, { database: databaseName });
  return { adminUrl, url: withParts(adminUrl, { user: ledgerRole, password: ledgerPassword }) };
}

/**
 * How to use a database somebody else runs. A role that may create roles is taken for the administrator's, and the ledger gets a role of its
 * own: an event log whose writer is a superuser is not append-only. Throws CliError when the database does not answer.
 */
export async function givenDatabase(
  given: { url: string; adminUrl?: string },
  ledgerPassword: string,
): Promise<DatabaseUrls> {
  if (given.adminUrl !== undefined) return { url: given.url, adminUrl: given.adminUrl };
  const mayCreateRoles = await withClient(given.url, async (client) => {
    const { rows } = await client.query<{ may: boolean }>(
      'select rolsuper or rolcreaterole as may from pg_roles where rolname = current_user',
    );
    return rows[0]?.may === true;
  });
  if (!mayCreateRoles) return { url: given.url, adminUrl: undefined };
  return { adminUrl: given.url, url: withParts(given.url, { user: ledgerRole, password: ledgerPassword }) };
}

/** A database URL without its password, fit to be shown; the text `(not a URL)` for anything else. */
export function withoutPassword(url: string): string {
  try {
    const parsed = new URL(url);
    if (parsed.password !== '') parsed.password = '***';
    return parsed.href;
  } catch {
    return '(not a URL)';
  }
}

/** Connects, runs `work` and disconnects. Throws CliError when the database cannot be reached or refuses the login. */
export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const where = withoutPassword(url);
  let client: pg.Client;
  try {
    client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000, query_timeout: 10_000 });
  } catch (error) {
    throw new CliError(
      'PLUMB_DATABASE_URL is not a URL of a database.',
      'Set it to postgres://USER:PASSWORD@HOST:PORT/DATABASE.',
      { cause: error },
    );
  }
  // A server that goes away while we ask is reported by the query; without a listener it would crash us.
  client.on('error', () => {});
  try {
    await client.connect();
    return await work(client);
  } catch (error) {
    throw databaseError(where, error);
  } finally {
    await client.end().catch(() => {});
  }
}

function databaseError(where: string, error: unknown): CliError {
  const { code } = error as { code?: string };
  if (code === '28P01' || code === '28000') {
    return new CliError(
      `The database at ${where} refused the user or the password.`,
      'Correct both in PLUMB_DATABASE_URL.',
      { cause: error },
    );
  }
  if (code === '3D000') {
    return new CliError(
      `There is no such database at ${where}.`,
      'Create it, or correct the name in PLUMB_DATABASE_URL.',
      { cause: error },
    );
  }
  const said = error instanceof AggregateError ? explain(error.errors[0]).message : explain(error).message;
  return new CliError(
    `The database at ${where} does not answer: ${said}.`,
    'Start it, or correct PLUMB_DATABASE_URL, or unset it to use the embedded one.',
    { cause: error },
  );
}

function withParts(url: string, parts: { database?: string; user?: string; password?: string }): string {
  const parsed = new URL(url);
  if (parts.database !== undefined) parsed.pathname = `/${parts.database}`;
  if (parts.user !== undefined) parsed.username = parts.user;
  if (parts.password !== undefined) parsed.password = parts.password;
  return parsed.href;
}
