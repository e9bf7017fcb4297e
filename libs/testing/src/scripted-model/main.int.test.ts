import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';

/** Lets Node run the sources as they are: imports name the `.js` that a build would make. */
const FROM_SOURCE = `data:text/javascript,${encodeURIComponent(`
import { registerHooks } from 'node:module';
registerHooks({
  resolve(specifier, context, next) {
    const own = specifier.startsWith('.') && specifier.endsWith('.js') && context.parentURL?.endsWith('.ts');
    return next(own ? specifier.slice(0, -3) + '.ts' : specifier, context);
  },
});`)}`;
const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'plumbline-scripted-'));
const file = join(directory, 'case.json');
writeFileSync(
  file,
  JSON.stringify({
    name: 'case',
    describes: 'a case',
    turns: [{ reply: { content: 'hi' }, fault: { kind: 'silent' } }],
  }),
);
afterAll(() => rmSync(directory, { recursive: true }));

function run(...args: string[]): ChildProcess {
  return spawn(process.execPath, ['--import', FROM_SOURCE, MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
}

it('prints one JSON line when ready, serves, and stops at SIGTERM even with an answer open', async () => {
  const child = run('--scenario', directory);
  const [line] = (await once(createInterface({ input: child.stdout ?? process.stdin }), 'line')) as [string];
  const { url, scenarios } = JSON.parse(line) as { url: string; scenarios: string[] };
  expect(scenarios).toEqual(['case']);
  const body = JSON.stringify({ model: 'scripted/case', stream: true, messages: [{ role: 'user', content: 'x' }] });
  const response = await fetch(`${url}/v1/chat/completions`, { method: 'POST', body });
  expect(response.headers.get('x-plumbline-scripted')).toBe('case');
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([0, null]);
  await expect(response.text()).rejects.toThrow();
});

it.each<[string, string[], RegExp]>([
  ['no scenario', [], /--scenario is missing/],
  ['an unknown option', ['--scenario', file, '--speed', '9'], /--speed/],
  ['a bad port', ['--scenario', file, '--port', '70000'], /--port is 70000/],
  ['a missing file', ['--scenario', join(directory, 'none.json')], /none\.json/],
])('exits with 2 and the usage for %s', async (_name, args, why) => {
  const child = run(...args);
  let said = '';
  child.stderr?.on('data', (part: Buffer) => (said += part.toString()));
  const [code] = (await once(child, 'close')) as [number];
  expect([code, said]).toEqual([2, expect.stringMatching(why)]);
  expect(said).toContain('usage: ');
});
