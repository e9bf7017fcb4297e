/** A native program a checkout needs; promtool only for its tests. */
export type Tool = 'nats-server' | 'bwrap' | 'postgres' | 'promtool';

/** Which rule found it. `NATS_URL` means a running server: `found` is then its URL and no binary is needed. */
export type FoundBy = 'NATS_URL' | 'NATS_SERVER_BIN' | '.tools' | 'PATH' | 'npm' | 'system';

/** A tool that was just seen running, or why there is none and one sentence on what to do. */
export type Located = { found: string; how: FoundBy; version: string } | { missing: string; mend: string };

/** One line of `plumb doctor`. `mend` is present exactly when `state` is not `ok`. */
export type Finding = { what: string; state: 'ok' | 'warning' | 'broken'; mend?: string };

/** `root` is the checkout. `env` decides by NATS_URL, NATS_SERVER_BIN and PATH; absent: the usual system folders. */
export type SearchPlace = { root: string; env?: Readonly<Record<string, string | undefined>> };

/**
 * Finds a tool and runs it once (blocks for some 10–50 ms). Order: what the environment names, the checkout's `.tools`,
 * PATH; for Postgres the npm package, then the newest of /usr/lib/postgresql. A binary the environment names is never
 * replaced by another. For `bwrap` a sandbox is really opened. Never throws.
 */
export function locate(tool: Tool, place: SearchPlace): Located;

/** Says a search's result in the form `plumb doctor` prints. */
export function findingOf(tool: Tool, located: Located): Finding;

/** Where npm puts the Postgres binaries of this platform; the folder need not exist. */
export function embeddedPostgresFolder(root: string): string;
