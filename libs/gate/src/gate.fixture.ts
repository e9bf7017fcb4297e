import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { shippedPolicies } from '@plumbline/domain';
import { bundleChange, openChange, takeSnapshot } from '@plumbline/repo';
import { nodeToolchain, openSandbox, type Sandbox } from '@plumbline/sandbox';
import { runGate, type GateOptions, type GateRun } from './run-gate.js';

const gitEnv = {
  ...{
    PATH: '/usr/local/bin:/usr/bin:/bin',
    HOME: '/nonexistent',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
  },
  ...{
    GIT_AUTHOR_NAME: 'a',
    GIT_AUTHOR_EMAIL: 'a@example.org',
    GIT_COMMITTER_NAME: 'a',
    GIT_COMMITTER_EMAIL: 'a@example.org',
  },
  ...{ GIT_AUTHOR_DATE: '1700000000 +0000', GIT_COMMITTER_DATE: '1700000000 +0000' },
};

/** Files by path; null deletes, `{ link }` makes a symbolic link. */
export type Files = Readonly<Record<string, string | null | { readonly link: string }>>;

/** A small project in TypeScript: one function, two test files, a build. */
export const project: Files = {
  'package.json': JSON.stringify({
    ...{ name: 'shop', version: '1.0.0', private: true, type: 'module' },
    scripts: { build: 'node build.mjs', test: 'node --test "src/**/*.test.ts"' },
  }),
  'build.mjs':
    "import { readFileSync } from 'node:fs';\nimport { stripTypeScriptTypes } from 'node:module';\nprocess.removeAllListeners('warning');\nprocess.on('warning', () => {});\nstripTypeScriptTypes(readFileSync('src/price.ts', 'utf8'));\n",
  'src/price.ts': 'export const total = (net: number, tax: number): number => net + tax;\n',
  'src/price.test.ts':
    "import assert from 'node:assert/strict';\nimport { describe, it, test } from 'node:test';\nimport { total } from './price.ts';\n\ntest('adds tax', () => assert.equal(total(10, 2), 12));\ndescribe('zero', () => {\n  it('keeps the net', () => assert.equal(total(10, 0), 10));\n});\n",
  'src/other.test.ts': "import test from 'node:test';\n\ntest('other', () => {});\n",
};

export const issue = { title: 'Totals must be rounded', body: 'The function in `src/price.ts` must round to cents.' };

/** A repository of one test file, and changes on it opened as the gate opens them. */
export class GateStage {
  private constructor(
    readonly root: string,
    readonly sandbox: Sandbox,
  ) {}

  static async open(files: Files = project): Promise<GateStage> {
    const stage = new GateStage(realpathSync(mkdtempSync(join(tmpdir(), 'gate-test-'))), await openSandbox());
    mkdirSync(stage.origin);
    stage.git('init', '-q', '-b', 'main');
    stage.commit(files);
    return stage;
  }

  get origin(): string {
    return join(this.root, 'origin');
  }

  git(...args: string[]): string {
    return execFileSync('git', args, { cwd: this.origin, env: gitEnv }).toString().trim();
  }

  write(files: Files): void {
    for (const [path, content] of Object.entries(files)) {
      const target = join(this.origin, path);
      rmSync(target, { recursive: true, force: true });
      if (content === null) continue;
      mkdirSync(dirname(target), { recursive: true });
      if (typeof content === 'string') writeFileSync(target, content);
      else symlinkSync(content.link, target);
    }
  }

  commit(files: Files): string {
    this.write(files);
    this.git('add', '-A', '-f');
    this.git('commit', '-q', '--allow-empty', '-m', 'c');
    return this.git('rev-parse', 'HEAD');
  }

  /** Commits `files` on main and opens that change in a private store. */
  async change(files: Files): Promise<Pick<GateOptions, 'gitDir' | 'base' | 'head' | 'tree'>> {
    const base = this.git('rev-parse', 'main');
    this.git('checkout', '-q', '--detach', 'main');
    const head = this.commit(files);
    this.git('checkout', '-q', '-f', 'main');
    const dir = mkdtempSync(join(this.root, 'change-'));
    const { packPath } = await takeSnapshot({ url: this.origin, revision: base, workDir: dir });
    const bundlePath = join(dir, 'bundle');
    await bundleChange({ gitDir: join(this.origin, '.git'), base, head, bundlePath });
    const { gitDir, tree } = await openChange({
      snapshotPack: packPath,
      bundle: bundlePath,
      base,
      head,
      dir: join(dir, 'git'),
    });
    return { gitDir, base, head, tree };
  }

  async gate(files: Files, more: Partial<GateOptions> = {}): Promise<GateRun> {
    return runGate({
      ...(await this.change(files)),
      ...{ issue, policy: shippedPolicies.strict, sandbox: this.sandbox, toolchain: nodeToolchain(process.execPath) },
      ...{ workDir: this.workDir, signal: new AbortController().signal },
      ...more,
    });
  }

  get workDir(): string {
    return join(this.root, 'work');
  }

  /** What gates left behind. */
  leftovers(): string[] {
    return readdirSync(this.workDir);
  }

  close(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}
