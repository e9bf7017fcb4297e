import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { failpointNames } from './catalogue.js';
import { parseFailpoints } from './failpoint.js';

/** Passes a place three times in a process of its own, saying so after each. */
function pass(spec: string): { said: string; warned: string; signal: string | null; status: number | null } {
  const source = new URL('./index.ts', import.meta.url);
  const script = `
    const { armFailpoints, failpoint, parseFailpoints } = await import(${JSON.stringify(fileURLToPath(source))});
    armFailpoints(parseFailpoints(process.argv[1]));
    for (const n of [1, 2, 3]) { failpoint('append.committed'); process.stdout.write(String(n)); }`;
  // Node runs TypeScript by taking the types away; the imports of the sources end in .js, which a hook maps back.
  const hook = `data:text/javascript,${encodeURIComponent(
    `import { registerHooks } from 'node:module';
     registerHooks({ resolve: (s, c, next) => next(s.startsWith('./') && c.parentURL?.endsWith('.ts') ? s.replace(/\\.js$/, '.ts') : s, c) });`,
  )}`;
  const { stdout, stderr, signal, status } = spawnSync(
    process.execPath,
    ['--no-warnings', '--import', hook, '--input-type=module', '-e', script, '--', spec],
    { encoding: 'utf8' },
  );
  return { said: stdout, warned: stderr, signal, status };
}

describe('a failpoint', () => {
  it('does nothing while it is not armed', () => {
    expect(pass('')).toEqual({ said: '123', warned: '', signal: null, status: 0 });
    expect(pass('append.sent=kill')).toEqual({ said: '123', warned: '', signal: null, status: 0 });
  });

  it('kills at the passage that was asked for, and says where first', () => {
    expect(pass('append.committed=kill')).toMatchObject({
      said: '',
      signal: 'SIGKILL',
      warned: '{"failpoint":"append.committed","action":"kill","hit":1}\n',
    });
    expect(pass('append.sent=kill,append.committed=kill@3')).toMatchObject({ said: '12', signal: 'SIGKILL' });
    expect(pass('append.committed=kill@4')).toMatchObject({ said: '123', signal: null });
  });
});

describe('the catalogue', () => {
  const root = fileURLToPath(new URL('../../..', import.meta.url));
  const production = execFileSync('git', ['ls-files', '-z', 'apps', 'libs', 'services'], {
    cwd: root,
    encoding: 'utf8',
  })
    .split('\0')
    .filter((path) => /\/src\/.*\.ts$/.test(path) && !/\.(test|fixture)\.ts$|^libs\/(failpoint|testing)\//.test(path));
  const passed = new Set(
    production.flatMap((path) =>
      [...readFileSync(join(root, path), 'utf8').matchAll(/\bfailpoint\('([^']+)'\)/g)].map(([, name]) => name),
    ),
  );

  it('has the places that production code passes, and no other', () => {
    expect([...passed].sort()).toEqual([...failpointNames].sort());
  });

  it('is nothing that rules may know of', () => {
    const domain = production.filter((path) => path.startsWith('libs/domain/'));
    expect(domain.length).toBeGreaterThan(10);
    expect(domain.filter((path) => readFileSync(join(root, path), 'utf8').includes('failpoint'))).toEqual([]);
  });
});

describe('parseFailpoints', () => {
  it.each([
    ['append.commited=kill', /no failpoint append\.commited; there are append\.received/],
    ['append.committed', /expected NAME=kill or NAME=stop/],
    ['append.committed=explode', /expected NAME=kill or NAME=stop/],
    ['append.committed=kill@0', /expected NAME=kill or NAME=stop/],
    ['append.committed=kill@2, append.committed=stop', /append\.committed is named twice/],
  ])('refuses %s', (text, message) => expect(() => parseFailpoints(text)).toThrow(message));

  it('takes several, and nothing', () => {
    expect(parseFailpoints('')).toEqual([]);
    expect(parseFailpoints('step.worked=stop, step.claimed=kill@7')).toEqual([
      { name: 'step.worked', action: 'stop', hit: 1 },
      { name: 'step.claimed', action: 'kill', hit: 7 },
    ]);
  });
});
