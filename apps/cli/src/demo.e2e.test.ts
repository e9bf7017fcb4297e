import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { demoDocumentSchema, serviceNames } from '@plumbline/domain';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { checkout } from './system/checkout.js';

const cli = join(checkout, 'apps', 'cli', 'dist', 'main.js');
const TIMEOUT_MS = 180_000;

interface Ran {
  code: number | string | null;
  signal: string | null;
  out: string;
  err: string;
}

/** Runs the built command line as a process of its own; `interruptAt` sends SIGINT once stdout or stderr shows it. */
function plumb(args: string[], options: { env?: Record<string, string>; interruptAt?: RegExp } = {}): Promise<Ran> {
  return new Promise((resolve) => {
    let said = '';
    const env = { ...process.env, NATS_URL: '', TMPDIR: scratch, ...options.env };
    const child = execFile(process.execPath, [cli, ...args], { env, timeout: TIMEOUT_MS }, (error, out, err) => {
      resolve({ code: error === null ? 0 : (error.code ?? null), signal: error?.signal ?? null, out, err });
    });
    const listen = (chunk: unknown): void => {
      const before = options.interruptAt?.test(said) === true;
      said += String(chunk);
      // Once: a second one asks for an end without cleaning up.
      if (!before && options.interruptAt?.test(said) === true) child.kill('SIGINT');
    };
    child.stdout?.on('data', listen);
    child.stderr?.on('data', listen);
  });
}

let scratch: string;
beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'plumb-e2e-'));
});
afterEach(() => rmSync(scratch, { recursive: true, force: true }));
/** What a run left in the one place it may write to. */
const leftovers = (): string[] => readdirSync(scratch);

interface DemoDocument {
  schema: string;
  tasks: {
    id: string;
    name: string;
    verdict: string;
    reasons: { check: string; summary: string }[];
    branch?: string;
    escalated: boolean;
  }[];
  log: { events: number; positions: string; chain: string };
  model: { scripted: boolean };
}

describe('plumb demo', () => {
  beforeAll(() => {
    const unbuilt = serviceNames.filter((name) => !existsSync(join(checkout, 'services', name, 'dist', 'main.js')));
    if (unbuilt.length > 0) throw new Error(`not built: ${unbuilt.join(', ')}; run \`npm run build\` before this test`);
  });

  it(
    'ends in GO for the fix and NO-GO for the trap, and says so in one document',
    async () => {
      const { code, out, err } = await plumb(['demo', '--json']);
      expect({ code, err: code === 0 ? '' : err }).toEqual({ code: 0, err: '' });
      const document = JSON.parse(out) as DemoDocument;
      expect(demoDocumentSchema.safeParse(document)).toMatchObject({ success: true });
      const [fix, trap] = document.tasks;
      expect(document).toMatchObject({
        schema: 'plumbline.demo/1',
        model: { scripted: true },
        log: { positions: 'dense', chain: 'ok' },
      });
      expect(document.log.events).toBeGreaterThan(40);
      expect(fix).toMatchObject({
        name: 'fix',
        verdict: 'GO',
        reasons: [],
        branch: `plumbline/${fix?.id ?? ''}`,
        escalated: false,
      });
      expect(trap).toMatchObject({ name: 'trap', verdict: 'NO-GO', escalated: true });
      expect(trap).not.toHaveProperty('branch');
      expect(trap?.reasons.map(({ check }) => check)).toEqual(expect.arrayContaining(['scope', 'evidence']));
      expect(leftovers()).toEqual([]);
    },
    TIMEOUT_MS,
  );

  it(
    'shows people a timeline, both verdicts and that the model is scripted, within 100 columns',
    async () => {
      const { code, out } = await plumb(['demo'], { env: { NO_COLOR: '1' } });
      expect(code).toBe(0);
      expect(out).toMatch(/SCRIPTED/);
      expect(out).toMatch(/^fix {2}GO/m);
      expect(out).toMatch(/^trap {2}NO-GO/m);
      expect(out).toMatch(/branch plumbline\/t-[0-9a-z]{26} is at the origin/);
      expect(out).toMatch(/nothing was published/);
      for (const line of out.split('\n')) expect(line.length).toBeLessThanOrEqual(100);
    },
    TIMEOUT_MS,
  );

  it.each([
    ['while it starts', /The model is/],
    ['in the middle', /proposed/],
  ])(
    'interrupted %s it cleans everything up and exits with 130',
    async (_, interruptAt) => {
      const { code } = await plumb(['demo'], { interruptAt });
      expect(code).toBe(130);
      expect(leftovers()).toEqual([]);
    },
    TIMEOUT_MS,
  );
});
