import { existsSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import {
  batchDocumentSchema,
  batchEntries,
  batchSource,
  parseIntake,
  problemsOf,
  soundPart,
  type BatchDocument,
  type BatchEntry,
  type Issue,
  type Problem,
  type Submission,
} from '@plumbline/domain';
import { LineCounter, parseDocument } from 'yaml';
import { CliError, exitCodes, explain } from '../failure.js';
import { parseIssue } from '../system/issue.js';
import { assertCommit, localRepository } from '../system/local-repository.js';
import { plain } from '../terminal/text.js';
import { readIssueFile, readPlainFile, reasonOf } from './issue-file.js';

/** An entry ready to be handed in. Its task's id is known before anything is sent. */
export interface PlannedEntry {
  readonly key: string;
  readonly taskId: string;
  readonly submission: Submission;
}

/** A batch file that nothing is wrong with. */
export interface Batch {
  readonly name: string;
  readonly source: string;
  /** Of the file; undefined when it leaves it to the command. */
  readonly parallel: number | undefined;
  /** In the order of the file. */
  readonly entries: readonly PlannedEntry[];
}

/** The task of a submission: `taskIdOf` of the bus, which this command loads only when it is needed. */
export type Identify = (origin: { source: string; id: string }, submission: Submission) => string;

const fileBytesMax = 16 * 1_024 * 1_024;
/** All of them are found; that many are worth reading. */
const problemsShown = 50;

/**
 * Reads a batch file (YAML, of which JSON is a part) with all it names. Throws one CliError that lists everything that is wrong, in the
 * file, in the issue files, in repositories of this machine: then nothing has been sent.
 */
export function readBatch(given: string, cwd: string, taskIdOf: Identify): Batch {
  const path = resolve(cwd, given);
  const read = readFile(path);
  if ('expected' in read) throw wrong(given, [{ field: given, value: 'this file', expected: read.expected }]);
  const parsed = parseFile(read.text);
  if (!('value' in parsed)) throw wrong(given, parsed.problems);
  const document = batchDocumentSchema.safeParse(parsed.value);
  if (!document.success) {
    const sound = soundPart(parsed.value);
    const more = sound === undefined ? [] : plan(sound.document, dirname(path), taskIdOf, sound.positions).problems;
    throw wrong(given, [...problemsOf(document.error, parsed.value, 1_000), ...more]);
  }
  const { entries, problems } = plan(document.data, dirname(path), taskIdOf);
  if (problems.length > 0) throw wrong(given, problems);
  const { name, parallel } = document.data;
  return { name, source: batchSource(name), parallel, entries };
}

/** What is to be handed in, and what is wrong with what the file names. */
function plan(
  document: BatchDocument,
  folder: string,
  taskIdOf: Identify,
  positions?: readonly number[],
): { entries: PlannedEntry[]; problems: Problem[] } {
  const { entries, problems } = batchEntries(document, positions);
  const source = batchSource(document.name);
  const repositories = new Repositories(folder);
  const planned = entries.flatMap((entry): PlannedEntry[] => {
    const submission = submissionOf(entry, folder, repositories, problems);
    if (submission === undefined) return [];
    return [{ key: entry.key, taskId: taskIdOf({ source, id: entry.key }, submission), submission }];
  });
  return { entries: planned, problems };
}

function readFile(path: string): ReturnType<typeof readPlainFile> {
  try {
    return readPlainFile(path, fileBytesMax);
  } catch (error) {
    return { expected: reasonOf(error) };
  }
}

/** No aliases: a few lines of them stand for gigabytes. No tags and no merge keys: a batch is plain data. */
function parseFile(text: string): { value: unknown } | { problems: Problem[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    uniqueKeys: true,
    schema: 'core',
    merge: false,
    customTags: [],
  });
  const problems = [...document.errors, ...document.warnings].map(({ message, pos }): Problem => {
    const { line, col } = lines.linePos(pos[0]);
    return {
      field: `line ${line}, column ${col}`,
      value: 'what stands there',
      expected: `YAML or JSON: ${firstLine(message)}`,
    };
  });
  if (problems.length > 0) return { problems };
  try {
    return { value: document.toJS({ maxAliasCount: 0 }) as unknown };
  } catch (error) {
    const expected =
      error instanceof ReferenceError ? 'no aliases (*name): write it out' : firstLine(explain(error).message);
    return { problems: [{ field: '(whole document)', value: 'this file', expected }] };
  }
}

const firstLine = (text: string): string => plain(text.split('\n')[0] ?? '');

/** What is handed in for an entry; undefined after putting what is wrong with it to `problems`. */
function submissionOf(
  entry: BatchEntry,
  folder: string,
  repositories: Repositories,
  problems: Problem[],
): Submission | undefined {
  const { index, base, policy, priority, publish } = entry;
  const field = (name: string): string => `tasks.${index}.${name}`;
  const before = problems.length;
  const issue = issueOf(entry.issue, folder);
  if ('expected' in issue) problems.push({ field: field('issue'), value: JSON.stringify(entry.issue), ...issue });
  const place = repositories.at(entry.repository, base);
  if ('expected' in place)
    problems.push({ field: field(place.field), value: JSON.stringify(place.value), expected: place.expected });
  if (!('title' in issue) || !('url' in place)) return undefined;
  const data = { repository: { url: place.url, base }, issue, policy, priority, publish };
  // The same door as everywhere.
  const parsed = parseIntake('submit', data);
  if (parsed.ok) return problems.length === before ? parsed.value : undefined;
  for (const problem of parsed.refusal.problems) problems.push({ ...problem, field: field(problem.field) });
  return undefined;
}

function issueOf(given: BatchEntry['issue'], folder: string): Issue | { expected: string } {
  if (typeof given !== 'string') return given;
  const read = readIssueFile(folder, given);
  return 'text' in read ? parseIssue(read.text) : read;
}

type Place = { url: string } | { field: 'repository' | 'base'; value: string; expected: string };

/** Repositories as a batch names them; each is looked at once, however many entries work there. */
class Repositories {
  private readonly known = new Map<string, Place>();

  constructor(private readonly folder: string) {}

  at(given: string, base: string): Place {
    const id = JSON.stringify([given, base]);
    const known = this.known.get(id) ?? this.look(given, base);
    this.known.set(id, known);
    return known;
  }

  private look(given: string, base: string): Place {
    const path = given.includes('\0') ? undefined : resolve(this.folder, given);
    if (path === undefined || !existsSync(path)) {
      if (/^[a-z][a-z0-9+.-]*:\/\//i.test(given) || /^[^/]+@[^/:]+:/.test(given)) return { url: given };
      const where = isAbsolute(given) ? '' : " (relative to the batch file's folder)";
      return { field: 'repository', value: given, expected: `a directory that exists${where}, or an address` };
    }
    try {
      const url = localRepository(path);
      assertCommit(url, base, 'base');
      return { url };
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      const field = error.message.startsWith('base') ? 'base' : 'repository';
      const value = field === 'base' ? base : given;
      const expected = field === 'base' ? `a commit of ${path}` : 'a directory in a git repository';
      return { field, value, expected };
    }
  }
}

function wrong(given: string, problems: readonly Problem[]): CliError {
  const shown = problems
    .slice(0, problemsShown)
    .map(({ field, value, expected }) => plain(`${field}: got ${value}, expected ${expected}`));
  const more = problems.length > problemsShown ? [`and ${problems.length - problemsShown} more`] : [];
  const things = problems.length === 1 ? 'one thing is' : `${problems.length} things are`;
  return new CliError(
    `In the batch ${plain(given)} ${things} wrong; nothing was submitted.`,
    'Correct the file; docs/overnight.md and docs/schemas/plumbline.batch.1.json say what it holds.',
    { exitCode: exitCodes.usage, detail: [...shown, ...more] },
  );
}
