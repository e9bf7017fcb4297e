import { cut } from './cut.js';
import { issueProse } from './issue-clauses.js';
import { scopeOverlap } from './rails/scope.js';

const mentionsMax = 200;
const mentionCharsMax = 300;

const extensions = new Set(
  (
    'ts tsx mts cts js jsx mjs cjs vue svelte py pyi go rs java kt kts scala c h cc cpp cxx hpp cs rb php swift m mm sh bash zsh ps1 sql ' +
    'css scss less html htm xml json jsonc yaml yml toml ini cfg conf md mdx rst txt proto graphql tf lua pl ex exs erl hs clj dart zig ' +
    'gradle lock mod sum mk cmake tmpl tpl ipynb snap'
  ).split(' '),
);
const bareFiles = new Set([
  'makefile',
  'dockerfile',
  'containerfile',
  'jenkinsfile',
  'rakefile',
  'gemfile',
  'procfile',
  'justfile',
]);
const proseExtensions = /\.(md|mdx|rst|txt)$/i;

/** Lines of stack traces: where a fault shows is not where it is to be mended. */
const frame = /^\s*(at\s.*:\d+|File\s+".*",\s+line\s+\d+|.*\.go:\d+\s+\+0x[0-9a-f]+)/;
/** From here on in a sentence, names are of files to be left alone. */
const hands =
  /\b(?:do not|don['’]?t|must not|mustn['’]?t|should not|shouldn['’]?t|never|without|avoid|no need to)\s+(?:\w+\s+){0,2}?(?:touch|chang|modif|edit|alter|updat|remov|delet|break|renam|mov|rewrit|refactor|add)\w*|\b(?:except|other than|instead of|rather than|leave|ignore)\b/i;
/** Said of names anywhere in the sentence. */
const leftAlone =
  /\b(?:(?:must|should|can|may|need)(?:\s+not|n['’]t)\s+(?:be\s+)?(?:touch|chang|modif|edit|alter|updat|remov|delet|renam|mov)\w*|unchanged|untouched|alone|out of scope|as (?:it )?is)\b/i;
/** From here on in a sentence, names are examples. */
const citation =
  /\b(?:see|as in|as does|similar to|same as|analogous to|compare|cf|e\.g|such as|inspired by|unlike|for example|for reference|copied from|documented in|described in|(?<!\blooks )like)\b/i;

export interface NamedPaths {
  /** Files of base that the issue names as to be worked on, in the order of their first mention. */
  paths: string[];
  /** Names that look like files and are not (or not clearly) files of base, as written: perhaps files to be made. */
  unresolved: string[];
}

/**
 * The files an issue names, found conservatively: a name counts when it resolves to one file of base, by its path, a suffix of it, or its
 * name. Fenced code, quotations, stack frames, addresses and versions never count, nor do files that are cited as examples or are to be
 * left alone. Linear in the issue and in base; at most 200 mentions are looked at. After the project's research on coder loops, §4.
 */
export function namedPaths(issueText: string, basePaths: readonly string[]): NamedPaths {
  const mentions = mentionsOf(issueText);
  const excluded = new Set(mentions.filter((mention) => mention.kind === 'left-alone').map((mention) => mention.name));
  const resolve = resolver(basePaths);
  const untouchable = new Set([...excluded].map((name) => resolve(name)));
  const paths = new Set<string>();
  const unresolved = new Set<string>();
  for (const { name, kind, marked } of mentions) {
    if (kind !== 'named' || excluded.has(name)) continue;
    const path = resolve(name);
    if (path !== undefined) {
      if (!untouchable.has(path)) paths.add(path);
    } else if ((marked || name.includes('/')) && hasKnownExtension(name)) unresolved.add(name);
  }
  return { paths: [...paths], unresolved: [...unresolved] };
}

interface Mention {
  name: string;
  kind: 'named' | 'cited' | 'left-alone';
  /** Whether it was written in back-ticks. */
  marked: boolean;
}

function mentionsOf(issueText: string): Mention[] {
  const lines = issueText
    .split(/\r?\n/)
    .filter((line) => !frame.test(line.slice(0, 1000)))
    .join('\n');
  const mentions: Mention[] = [];
  for (const paragraph of issueProse(lines)) {
    // An abbreviation ends no sentence.
    const text = paragraph.replace(/\b(e\.g|i\.e|cf|etc|vs)\./gi, '$1,');
    for (const sentence of text.split(/[.!?;](?=\s|$)|\bbut\b/)) {
      const from = firstAt(hands, sentence);
      const citedFrom = firstAt(citation, sentence);
      const all = leftAlone.test(sentence);
      for (const { name, at, marked } of candidates(sentence)) {
        const kind = all || at >= from ? 'left-alone' : at >= citedFrom ? 'cited' : 'named';
        if (mentions.push({ name, kind, marked }) >= mentionsMax) return mentions;
      }
    }
  }
  return mentions;
}

function firstAt(pattern: RegExp, text: string): number {
  const at = text.search(pattern);
  return at < 0 ? Number.POSITIVE_INFINITY : at;
}

/** What may be a path in a sentence: whole back-ticked spans, and words with a slash or an extension, without line numbers and the like. */
function* candidates(sentence: string): Generator<{ name: string; at: number; marked: boolean }> {
  for (const match of sentence.matchAll(/`([^`]+)`|[^\s`()[\]{}<>"'“”‘’*,|]+/g)) {
    const marked = match[1] !== undefined;
    const name = cleaned(match[1] ?? match[0]);
    if (name !== undefined) yield { name, at: match.index, marked };
  }
}

function cleaned(raw: string): string | undefined {
  if (raw.length > mentionCharsMax || raw.includes('://') || /^(www\.|mailto:|~)/i.test(raw)) return undefined;
  const name = raw
    .trim()
    .replaceAll('\\', '/')
    .replace(/[:.,;!?]+$/, '')
    .replace(/(:\d+){1,2}(-\d+)?$|#L\d+(-L?\d+)?$|\(\d+(,\s?\d+)?\)$/, '')
    .replace(/^(\.\/)+/, '');
  const segments = name.split('/');
  if (
    name === '' ||
    segments.some((part) => part === '..' || part === '.' || part === 'node_modules' || part === 'site-packages')
  )
    return undefined;
  const last = segments.at(-1) ?? '';
  return last !== '' && (segments.length > 1 || hasKnownExtension(name) || bareFiles.has(last.toLowerCase()))
    ? name
    : undefined;
}

function hasKnownExtension(name: string): boolean {
  const dot = name.lastIndexOf('.');
  return dot > name.lastIndexOf('/') + 1 && extensions.has(name.slice(dot + 1).toLowerCase());
}

/** Finds the one file of base a name means: its path, else the only path that ends in it, else the only one that does in any case. */
function resolver(basePaths: readonly string[]): (name: string) => string | undefined {
  const known = new Set(basePaths);
  const byFile = new Map<string, { path: string; ending: string; folded: string }[]>();
  for (const path of known) {
    const entry = { path, ending: `/${path}`, folded: `/${path}`.toLowerCase() };
    const file = entry.folded.slice(entry.folded.lastIndexOf('/') + 1);
    const same = byFile.get(file);
    if (same === undefined) byFile.set(file, [entry]);
    else same.push(entry);
  }
  const bySuffix = (name: string): string | undefined => {
    if (known.has(name)) return name;
    const folded = `/${name.toLowerCase()}`;
    const same = byFile.get(folded.slice(folded.lastIndexOf('/') + 1)) ?? [];
    const hits = same.filter(({ ending }) => ending.endsWith(`/${name}`));
    if (hits.length > 0) return hits.length === 1 ? hits[0]?.path : undefined;
    const alike = same.filter((entry) => entry.folded.endsWith(folded));
    return alike.length === 1 ? alike[0]?.path : undefined;
  };
  const found = new Map<string, string | undefined>();
  return (written) => {
    if (!found.has(written)) {
      const name = written.replace(/^\/+/, '');
      const prefixed = /^[ab]\//.test(name) ? bySuffix(name.slice(2)) : undefined;
      found.set(written, bySuffix(name) ?? prefixed);
    }
    return found.get(written);
  };
}

export interface ScopeResult {
  outcome: 'pass' | 'fail' | 'not-applicable';
  summary: string;
  /** What showed that the check does not apply. Present exactly when it does not. */
  predicate?: string;
  named: string[];
  overlap: string[];
}

/**
 * Whether a change touches a file that its issue names (or the test of one, or a source file that the issue names and base does not have).
 * Does not apply when the issue names no file of base. `changedPaths` are all paths of the diff, old and new ones.
 */
export function scopeCheck(
  issue: { title: string; body: string },
  basePaths: readonly string[],
  changedPaths: readonly string[],
): ScopeResult {
  const { paths: named, unresolved } = namedPaths(`${issue.title}\n\n${issue.body}`, basePaths);
  if (named.length === 0) {
    const predicate =
      unresolved.length === 0
        ? 'the issue names no file'
        : `the issue names no file of base (${unresolved.slice(0, 3).join(', ')} ${unresolved.length === 1 ? 'is' : 'are'} none)`;
    const shown = cut(predicate, 500);
    return { outcome: 'not-applicable', summary: shown, predicate: shown, named, overlap: [] };
  }
  const base = new Set(basePaths);
  const exact = scopeOverlap(named, changedPaths).overlap;
  const added = changedPaths.filter((path) => !base.has(path) && !proseExtensions.test(path));
  const made = scopeOverlap([], added, unresolved).overlap;
  const overlap = [...new Set([...exact, ...made])];
  const list = `${named.slice(0, 5).join(', ')}${named.length > 5 ? ` and ${named.length - 5} more` : ''}`;
  return overlap.length > 0
    ? {
        outcome: 'pass',
        summary: cut(`the change touches ${overlap[0] ?? ''}, which the issue is about`, 500),
        named,
        overlap,
      }
    : {
        outcome: 'fail',
        summary: cut(`the change touches none of the files that the issue names: ${list}`, 500),
        named,
        overlap,
      };
}
