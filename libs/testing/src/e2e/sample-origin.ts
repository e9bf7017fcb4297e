import { execFile } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Where the demo's sample lies: repository, issues and scenarios. Read as data, by path. */
export const sampleFolder = resolve(dirname(fileURLToPath(import.meta.url)), '../../../../apps/cli/sample');

/**
 * A bare repository of the sample, as a host of repositories would hold it. A hook writes down every update of a branch, and holds the push
 * open after it, for as long as `holdPushes` is in force: the branch is there, and whoever pushed it does not know yet.
 */
export class SampleOrigin {
  private constructor(
    readonly path: string,
    private readonly pushLog: string,
    private readonly holdFile: string,
  ) {}

  /** `files` takes the sample's place: text by path. */
  static async make(folder: string, files?: Readonly<Record<string, string>>): Promise<SampleOrigin> {
    const path = join(folder, 'origin.git');
    const work = join(folder, 'checkout');
    const origin = new SampleOrigin(path, join(folder, 'pushes.log'), join(folder, 'hold-pushes'));
    mkdirSync(folder, { recursive: true });
    if (files === undefined) cpSync(join(sampleFolder, 'repository'), work, { recursive: true });
    else
      for (const [name, text] of Object.entries(files)) {
        mkdirSync(dirname(join(work, name)), { recursive: true });
        writeFileSync(join(work, name), text);
      }
    await git(folder, ['init', '--quiet', '--bare', '--initial-branch=main', path]);
    await git(work, ['init', '--quiet', '--initial-branch=main']);
    await git(work, ['add', '--', '.']);
    await git(work, ['commit', '--quiet', '--message=Corner shop']);
    await git(work, ['push', '--quiet', path, 'main']);
    const hook = join(path, 'hooks', 'post-receive');
    mkdirSync(dirname(hook), { recursive: true });
    writeFileSync(
      hook,
      `#!/bin/sh\ncat >> '${origin.pushLog}'\nwhile [ -e '${origin.holdFile}' ]; do sleep 0.02; done\n`,
    );
    chmodSync(hook, 0o755);
    return origin;
  }

  holdPushes(): void {
    writeFileSync(this.holdFile, '');
  }

  letPushesGo(): void {
    rmSync(this.holdFile, { force: true });
  }

  /** Every update of a branch since the origin was made, as `{branch, commit}`, in order. */
  get pushes(): { branch: string; commit: string }[] {
    if (!existsSync(this.pushLog)) return [];
    const lines = readFileSync(this.pushLog, 'utf8')
      .split('\n')
      .filter((line) => line !== '');
    return lines.map((line) => {
      const [, commit = '', ref = ''] = line.split(' ');
      return { branch: ref.replace('refs/heads/', ''), commit };
    });
  }

  /** Resolves once that branch has been updated here, whether its pusher knows or not. */
  pushed(branch: string, timeoutMs = 20_000): Promise<void> {
    return new Promise((done, reject) => {
      const end = (settle: () => void): void => {
        clearTimeout(timer);
        watcher.close();
        settle();
      };
      const look = (): void => {
        if (this.pushes.some((push) => push.branch === branch)) end(done);
      };
      const timer = setTimeout(
        () =>
          end(() =>
            reject(
              new Error(`${branch} was not pushed within ${timeoutMs} ms; pushed were ${JSON.stringify(this.pushes)}`),
            ),
          ),
        timeoutMs,
      );
      const watcher = watch(dirname(this.pushLog), look);
      look();
    });
  }

  /** The branches with the commits they point at. */
  async branches(): Promise<Map<string, string>> {
    const said = await git(this.path, ['for-each-ref', '--format=%(refname:short) %(objectname)', 'refs/heads']);
    return new Map(
      said
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => line.split(' ') as [string, string]),
    );
  }
}

/** Git with nothing of the user's configuration. */
async function git(cwd: string, args: readonly string[]): Promise<string> {
  const who = { GIT_AUTHOR_NAME: 'Corner Shop', GIT_AUTHOR_EMAIL: 'till@corner-shop.example' };
  const env = {
    ...who,
    PATH: process.env['PATH'],
    HOME: cwd,
    GIT_COMMITTER_NAME: who.GIT_AUTHOR_NAME,
    GIT_COMMITTER_EMAIL: who.GIT_AUTHOR_EMAIL,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
  };
  return (await run('git', [...args], { cwd, env })).stdout;
}
