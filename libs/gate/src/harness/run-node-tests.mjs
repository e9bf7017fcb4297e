/**
 * Runs test files with node:test inside the sandbox and reports what happened, one authenticated line per fact. It is mounted read-only
 * from outside the judged tree; the judged code runs in child processes. The key comes on standard input, which is read to its end
 * before any judged code runs, so a line that a child writes into this report does not carry a valid code.
 */
import { createHmac } from 'node:crypto';
import { readFileSync, writeSync } from 'node:fs';
import { isAbsolute, relative, resolve } from 'node:path';
import process from 'node:process';
import { run } from 'node:test';
import { fileURLToPath } from 'node:url';

const order = JSON.parse(readFileSync(0, 'utf8'));
const messageCharsMax = 1_500;
const stderrCharsMax = 4_000;
let lines = 0;

function report(fact) {
  const json = JSON.stringify({ n: lines++, ...fact });
  const code = createHmac('sha256', order.key).update(json).digest('hex');
  const bytes = Buffer.from(`${code} ${json}\n`);
  for (let at = 0; at < bytes.length;) at += writeSync(1, bytes, at);
}

const inTree = (file) => {
  const path = relative(process.cwd(), file);
  return path.startsWith('..') || isAbsolute(path) ? undefined : path;
};
const plain = (text) =>
  String(text)
    .replace(/\u001b\[[0-9;]*m/g, '')
    .slice(0, messageCharsMax);

/** The path of a file address, which percent-encodes some characters. The text is the judged code's: it may be no address at all. */
function pathOf(text) {
  try {
    return fileURLToPath(`file://${text}`);
  } catch {
    return text;
  }
}

/** Where in the tree an error was thrown: the first frame that is the project's own. */
function placeOf(error) {
  for (const line of String(error?.stack ?? '').split('\n')) {
    const found = /(?:\(|at )(file:\/\/)?(\/[^():]+):(\d+):\d+\)?$/.exec(line);
    const path = found === null ? undefined : inTree(found[1] === undefined ? found[2] : pathOf(found[2]));
    if (path !== undefined && !path.split('/').includes('node_modules')) return { path, line: Number(found[3]) };
  }
  return undefined;
}

const stacks = new Map();
const stderr = new Map();

function testFact(type, data) {
  const stack = stacks.get(data.file) ?? [];
  const error = data.details?.error;
  const cause = error?.cause instanceof Error ? error.cause : error;
  const isFile = data.nesting === 0 && (data.name === data.file || data.name === inTree(data.file ?? ''));
  const status =
    data.skip !== undefined && data.skip !== false
      ? 'skipped'
      : data.todo !== undefined && data.todo !== false
        ? 'todo'
        : type === 'test:pass'
          ? 'passed'
          : 'failed';
  const fact = {
    kind: isFile ? 'file-test' : data.details?.type === 'suite' ? 'suite' : 'test',
    file: data.file === undefined ? undefined : inTree(data.file),
    names: [...stack.slice(0, data.nesting), data.name].map((name) => String(name).slice(0, 500)),
    status,
    line: data.line,
  };
  if (status !== 'failed') return fact;
  const text = isFile ? (stderr.get(data.file) ?? '') : '';
  return {
    ...fact,
    failure: error?.failureType,
    exitCode: error?.exitCode ?? undefined,
    message: plain(typeof error?.cause === 'string' ? error.cause : (cause?.message ?? error)),
    stderr: text === '' ? undefined : text,
    place: placeOf(cause),
  };
}

report({ kind: 'begin', node: process.version });
let succeeded = false;
const stream = run({
  files: order.files.map((file) => resolve(file)),
  cwd: process.cwd(),
  isolation: 'process',
  concurrency: order.concurrency,
  timeout: order.fileTimeoutMs,
  execArgv: ['--import', order.exitGuard, ...order.execArgv],
  ...(order.only ? { only: true } : {}),
});
for await (const { type, data } of stream) {
  if (type === 'test:start') {
    const stack = stacks.get(data.file) ?? [];
    stack[data.nesting] = data.name;
    stacks.set(data.file, stack);
  } else if (type === 'test:stderr') {
    stderr.set(data.file, ((stderr.get(data.file) ?? '') + data.message).slice(0, stderrCharsMax));
  } else if (type === 'test:pass' || type === 'test:fail') {
    report(testFact(type, data));
  } else if (type === 'test:summary') {
    if (data.file === undefined) succeeded = data.success;
    report({
      kind: data.file === undefined ? 'summary' : 'file',
      file: data.file === undefined ? undefined : inTree(data.file),
      counts: data.counts,
      success: data.success,
    });
  }
}
report({ kind: 'end' });
process.exitCode = succeeded ? 0 : 1;
