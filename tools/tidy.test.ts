import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

/** House style as a test: what a tool can check is not left to prose. Each complaint names file and rule. */
const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const FILE_LINES_MAX = 500;
const TEST_FILE_LINES_MAX = 750;
const FUNCTION_LINES_MAX = 70;
/** Exhaustive switches over every event type: one case per type, nothing to take apart. */
const EXHAUSTIVE_SWITCHES = new Set(['libs/domain/src/task/evolve.ts', 'libs/domain/src/task/timeline.ts']);
const VAGUE_NAMES = /^(shared|commons?|utils?|helpers?|core|misc)$/;
const KEBAB = /^[a-z0-9]+(-[a-z0-9]+)*$/;
const CODE = new Set(['.ts', '.mts', '.tsx', '.mjs', '.js']);

/** Built from parts, or this file would refuse itself. */
const FORBIDDEN_WORDS = [
  { word: new RegExp(`${'/wo'}${'rk'}/(main|wt|shared|\\.lib)`), why: 'a path of one machine' },
  { word: new RegExp(`${'/ho'}${'me'}/(?!lab\\b|work\\b)[a-z]|${'/Us'}${'ers'}/[a-z]`), why: 'a path of one machine' },
  {
    word: new RegExp(
      `https?://[^\\s/'"]*(${['arti', 'factory'].join('')}|${['ne', 'xus'].join('')}|${['verda', 'ccio'].join('')})`,
    ),
    why: 'a registry host',
  },
  { word: new RegExp(['registry', 'npmjs', 'org'].join('\\.')), why: 'a registry host' },
];

type Complaint = string;

/** Tracked and new files alike, without what git ignores; everything under a `sample` folder is data, not our code. */
function ourFiles(): string[] {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], { cwd: ROOT });
  return listed
    .toString('utf8')
    .split('\0')
    .filter((path) => path !== '' && !path.split('/').includes('sample') && existsSync(join(ROOT, path)));
}

function checkPath(path: string): Complaint[] {
  const segments = path.split('/');
  const complaints: Complaint[] = [];
  for (const segment of segments.slice(0, -1)) {
    if (VAGUE_NAMES.test(segment)) complaints.push(`${path}: folder "${segment}" says nothing; name the noun it holds`);
  }
  if (!CODE.has(extname(path))) return complaints;
  const words = basename(path, extname(path)).split('.');
  if (words.some((word) => VAGUE_NAMES.test(word)))
    complaints.push(`${path}: the file name says nothing; name its one idea`);
  if (!words.every((word) => KEBAB.test(word))) complaints.push(`${path}: file names are kebab-case`);
  return complaints;
}

function checkText(path: string, text: string): Complaint[] {
  const complaints: Complaint[] = [];
  for (const { word, why } of FORBIDDEN_WORDS) {
    const found = word.exec(text);
    if (found !== null) complaints.push(`${path}: "${found[0]}" is ${why}`);
  }
  if (!CODE.has(extname(path))) return complaints;
  const lines = text.split('\n').length;
  const linesMax = path.endsWith('.test.ts') ? TEST_FILE_LINES_MAX : FILE_LINES_MAX;
  if (lines > linesMax) complaints.push(`${path}: ${lines} lines, at most ${linesMax}`);
  const todo = new RegExp(`\\b${'TO'}${'DO'}\\b(?!\\(#\\d+\\))`);
  if (todo.test(text)) complaints.push(`${path}: ${'TO'}${'DO'} without an issue, write ${'TO'}${'DO'}(#12)`);
  return [...complaints, ...checkSyntax(path, text)];
}

function checkSyntax(path: string, text: string): Complaint[] {
  const complaints: Complaint[] = [];
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const lineOf = (position: number) => source.getLineAndCharacterOfPosition(position).line + 1;
  const isTest = path.endsWith('.test.ts') || path.includes('/test/');
  const visit = (node: ts.Node): void => {
    const at = `${path}:${lineOf(node.getStart())}`;
    if (ts.isExportDeclaration(node) && node.exportClause === undefined) complaints.push(`${at}: export names, not *`);
    // The boundaries do not watch fixtures, so production code must not reach through one.
    if (
      !isTest &&
      !path.includes('.fixture.') &&
      ts.isImportDeclaration(node) &&
      /\.fixture(\.m?js)?'$/.test(node.moduleSpecifier.getText())
    )
      complaints.push(`${at}: only tests and fixtures import fixtures`);
    if (isTest && isOnlyCall(node)) complaints.push(`${at}: .only hides all other tests`);
    // In a test the callback of describe() is a chapter, not a function that has to be read at once.
    if (!isTest && ts.isFunctionLike(node) && 'body' in node && node.body !== undefined) {
      const lines = lineOf(node.end) - lineOf(node.getStart()) + 1;
      if (lines > FUNCTION_LINES_MAX && !EXHAUSTIVE_SWITCHES.has(path))
        complaints.push(`${at}: function of ${lines} lines, at most ${FUNCTION_LINES_MAX}`);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return complaints;
}

function isOnlyCall(node: ts.Node): boolean {
  return (
    ts.isPropertyAccessExpression(node) &&
    node.name.text === 'only' &&
    /^(it|test|describe)\b/.test(node.expression.getText())
  );
}

describe('tidy', () => {
  const files = ourFiles();

  it('finds the files of the project', () => {
    expect(files).toContain('tools/tidy.test.ts');
    expect(files.length).toBeGreaterThan(50);
  });

  it('every name says what it holds', () => {
    expect(files.flatMap(checkPath)).toEqual([]);
  });

  it('every file keeps to the style', () => {
    const texts = files.filter((path) => path !== 'package-lock.json' && !/\.(png|jpg|gz|ico|svg)$/.test(path));
    expect(texts.flatMap((path) => checkText(path, readFileSync(join(ROOT, path), 'utf8')))).toEqual([]);
  });
});

describe('the rules of tidy refuse', () => {
  const longFunction = `function f() {\n${'  f();\n'.repeat(FUNCTION_LINES_MAX)}}`;
  it.each([
    ['a vague folder', () => checkPath('libs/utils/src/x.ts'), 'folder "utils"'],
    ['a vague file', () => checkPath('libs/bus/src/helpers.ts'), 'file name says nothing'],
    ['a vague suffix', () => checkPath('libs/bus/src/lease.helper.ts'), 'file name says nothing'],
    ['camel case', () => checkPath('libs/bus/src/myFile.ts'), 'kebab-case'],
    ['a long file', () => checkText('a.ts', '\n'.repeat(FILE_LINES_MAX)), `${FILE_LINES_MAX + 1} lines`],
    ['a long function', () => checkText('a.ts', longFunction), `function of ${FUNCTION_LINES_MAX + 2} lines`],
    [
      'a long arrow function',
      () => checkText('a.ts', `const f = () => {\n${'f();\n'.repeat(70)}};`),
      'a.ts:1: function of',
    ],
    ['export *', () => checkText('a.ts', "export * from './b.js';"), 'export names'],
    [
      'a fixture in production',
      () => checkText('a.ts', `import { x } from './b.${'fixture'}.js';`),
      'only tests and fixtures',
    ],
    ['a lone test', () => checkText('a.test.ts', `it.${'only'}('x', () => {});`), '.only'],
    ['a lone chapter', () => checkText('a.test.ts', `describe.concurrent.${'only'}('x', () => {});`), '.only'],
    ['work left over', () => checkText('a.ts', `// ${'TO'}${'DO'}: later`), 'without an issue'],
    ['a path of one machine', () => checkText('a.md', `see /${'work'}/main/x`), 'a path of one machine'],
    ['a registry host', () => checkText('a.json', `https://${'arti'}${'factory'}.example/x`), 'a registry host'],
  ])('%s', (_name, check, complaint) => {
    expect(check()).toEqual([expect.stringContaining(complaint)]);
  });

  it.each([
    ['a named export of everything', "export * as bus from './b.js';"],
    ['work left over with its issue', `// ${'TO'}${'DO'}(#12): later`],
  ])('but not %s', (_name, text) => {
    expect(checkText('a.ts', text)).toEqual([]);
  });
});
