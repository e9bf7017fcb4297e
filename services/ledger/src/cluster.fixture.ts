import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { locate } from '@plumbline/embedded';
import { Client } from 'pg';

/** The folder of a Postgres that brings pg_dump and pg_restore of its own version; undefined where only the embedded one is. */
export function toolsFolder(): string | undefined {
  const root = '/usr/lib/postgresql';
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : [];
  return versions
    .map((version) => join(root, version, 'bin'))
    .find((bin) =>
      ['initdb', 'postgres', 'pg_dump', 'pg_restore', 'pg_dumpall', 'psql'].every((name) =>
        existsSync(join(bin, name)),
      ),
    );
}

/** The folder of the embedded Postgres, which is a server and nothing else. */
export function embeddedFolder(): string {
  const found = locate('postgres', { root: new URL('../../..', import.meta.url).pathname });
  if ('missing' in found) throw new Error(found.missing);
  return dirname(found.found);
}

/** Postgres refuses to run as root; in a user namespace it sees another one. */
const asOrdinaryUser = (line: string[]): [string, string[]] =>
  process.getuid?.() === 0
    ? ['unshare', ['--user', '--map-user=65534', '--map-group=65534', '--', ...line]]
    : [line[0] ?? '', line.slice(1)];

/** One Postgres cluster in a folder, on a port that another one may have had before. Everybody on this machine may log in. */
export class Cluster {
  private child: ChildProcess | undefined;

  private constructor(
    private readonly bin: string,
    readonly folder: string,
    readonly port: number,
  ) {}

  /** A new cluster: initdb gives it an identifier of its own. */
  static async create(bin: string, folder: string, port: number): Promise<Cluster> {
    const [program, args] = asOrdinaryUser([
      join(bin, 'initdb'),
      '-D',
      folder,
      '-U',
      'postgres',
      '-A',
      'trust',
      '-E',
      'UTF8',
      '--locale=C',
      '-N',
    ]);
    execFileSync(program, args, { stdio: 'pipe' });
    const cluster = new Cluster(bin, folder, port);
    await cluster.start();
    return cluster;
  }

  url(user = 'postgres', database = 'plumb'): string {
    return `postgres://${user}@127.0.0.1:${this.port}/${database}`;
  }

  async start(): Promise<void> {
    const settings = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', 'fsync=off'].flatMap((s) => ['-c', s]);
    const [program, args] = asOrdinaryUser([
      join(this.bin, 'postgres'),
      '-D',
      this.folder,
      '-p',
      String(this.port),
      ...settings,
    ]);
    this.child = spawn(program, args, { stdio: 'ignore' });
    for (;;) {
      if (this.child.exitCode !== null) throw new Error('postgres ended at its start');
      const client = new Client({ connectionString: this.url('postgres', 'postgres') });
      client.on('error', () => undefined);
      try {
        await client.connect();
        return await client.end();
      } catch {
        await delay(50);
      }
    }
  }

  /** Ends the server at once, as a power cut would. */
  async stop(): Promise<void> {
    const { child } = this;
    this.child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    // Immediate shutdown ends every backend too; SIGKILL would leave them to find out.
    child.kill('SIGQUIT');
    await gone;
  }

  /** Another cluster on the same port, of a copy of the files. */
  copiedTo(folder: string): Cluster {
    mkdirSync(folder, { mode: 0o700 });
    cpSync(this.folder, folder, { recursive: true });
    return new Cluster(this.bin, folder, this.port);
  }

  /** A standby as it was when it was made, promoted, on the same port. What came to its primary since, it never got. */
  async promoted(folder: string): Promise<Cluster> {
    const standby = new Cluster(this.bin, folder, this.port);
    await standby.start();
    await standby.query('SELECT pg_promote()', 'postgres');
    return standby;
  }

  /** Runs one of Postgres's own programs against this server and returns what it wrote. */
  run(program: string, ...args: string[]): string {
    return execFileSync(
      join(this.bin, program),
      ['-h', '127.0.0.1', '-p', String(this.port), '-U', 'postgres', ...args],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
  }

  async query<T extends object>(text: string, database = 'plumb'): Promise<T[]> {
    const client = new Client({ connectionString: this.url('postgres', database) });
    await client.connect();
    try {
      return (await client.query<T>(text)).rows;
    } finally {
      await client.end();
    }
  }
}
