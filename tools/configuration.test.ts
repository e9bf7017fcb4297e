import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const VARIABLE = /\b(?:PLUMB_[A-Z_]*[A-Z]|NATS_(?:URL|SERVER_BIN)|OTEL_EXPORTER_[A-Z_]+)\b/g;
/** Stand for any name, in comments. */
const EXAMPLES = new Set(['PLUMB_X', 'PLUMB_X_FILE']);

/** The variables that the code names, tests and what only tests use aside. */
function inCode(): Set<string> {
  const listed = execFileSync('git', ['ls-files', '-z', 'apps', 'libs', 'services'], { cwd: ROOT, encoding: 'utf8' });
  const ours = listed
    .split('\0')
    .filter((path) => /\/src\/.*\.(ts|mjs)$/.test(path) && !/\.(test|fixture)\.|^libs\/testing\//.test(path));
  const names = ours.flatMap((path) => readFileSync(join(ROOT, path), 'utf8').match(VARIABLE) ?? []);
  return new Set(names.filter((name) => !EXAMPLES.has(name)));
}

/** The variables in the first cells of the page's tables. */
function onPage(): Set<string> {
  const rows = readFileSync(join(ROOT, 'docs', 'configuration.md'), 'utf8').split('\n');
  return new Set(rows.flatMap((row) => /^\| ([^|]+) \|/.exec(row)?.[1]?.match(VARIABLE) ?? []));
}

describe('docs/configuration.md', () => {
  it('has every variable that the code reads, and no other', () => {
    const [code, page] = [inCode(), onPage()];
    expect({
      missing: [...code].filter((name) => !page.has(name)),
      needless: [...page].filter((name) => !code.has(name) && !(name.endsWith('_FILE') && code.has(name.slice(0, -5)))),
    }).toEqual({ missing: [], needless: [] });
    expect(code.size).toBeGreaterThan(25);
  });
});
