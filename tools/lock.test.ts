import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';

/** Takes the lock, and while holding it adds one to a number in a way that two at once would spoil. */
const CONTENDER = `
  import { readFileSync, writeFileSync } from 'node:fs';
  import { setTimeout as sleep } from 'node:timers/promises';
  const [lib, folder, counter, end] = process.argv.slice(1);
  const { withLock } = await import(lib);
  await withLock(folder, async () => {
    const seen = Number(readFileSync(counter, 'utf8'));
    await sleep(20);
    writeFileSync(counter, String(seen + 1));
    if (end === 'die') process.kill(process.pid, 'SIGKILL');
  });
`;
const LIB = fileURLToPath(new URL('lock.mjs', import.meta.url));

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'plumb-lock-'));
  writeFileSync(join(folder, 'counter'), '0');
});
afterEach(() => rmSync(folder, { recursive: true }));

function contend(end: 'die' | 'return'): Promise<number | NodeJS.Signals | null> {
  const args = ['--input-type=module', '-e', CONTENDER, LIB, join(folder, 'lock'), join(folder, 'counter'), end];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  return new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)));
}

it('lets one in at a time, and replaces holders that were killed', async () => {
  const ends = (['return', 'die', 'return', 'die', 'return', 'return'] as const).map(contend);
  expect((await Promise.all(ends)).toSorted()).toEqual([0, 0, 0, 0, 'SIGKILL', 'SIGKILL']);
  expect(readFileSync(join(folder, 'counter'), 'utf8')).toBe('6');
  if (existsSync(join(folder, 'lock'))) expect(await contend('return')).toBe(0);
  expect(readdirSync(folder)).toEqual(['counter']);
});

it('does not take a stranger with the pid of a dead holder for the holder', async () => {
  mkdirSync(join(folder, 'lock'));
  writeFileSync(join(folder, 'lock', 'owner'), `${process.pid} 1`);
  expect(await contend('return')).toBe(0);
});
