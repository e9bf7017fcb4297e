/**
 * The scope rule: an issue that names files, and a change that touches none of them, is the wrong change. `named` are paths of the base
 * tree, or folders; `asWritten` are names that are no path of base and may be new files, matched by their last segments. A changed test
 * counts for the file it tests, and the other way round (`price.test.ts` and `price.ts`, `tests/test_price.py` and `src/price.py`).
 */
export function scopeOverlap(
  named: readonly string[],
  changed: readonly string[],
  asWritten: readonly string[] = [],
): { overlap: string[]; applies: boolean } {
  const names = named.map(plain).filter((name) => name !== '');
  const written = asWritten.map(plain).filter((name) => name !== '');
  const exact = new Set(names);
  const folders = new Set(names.map((name) => name.replace(/\/$/, '')));
  const subjects = subjectIndex(names);
  const overlap = changed.filter(
    (path) =>
      exact.has(path) ||
      foldersOf(path).some((folder) => folders.has(folder)) ||
      isPaired(path, subjects) ||
      written.some((name) => path === name || path.endsWith(`/${name}`)),
  );
  return { overlap, applies: names.length > 0 };
}

const plain = (name: string): string => name.trim().replace(/^(\.\/)+/, '');

function foldersOf(path: string): string[] {
  const parts = path.split('/').slice(0, -1);
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'));
}

/** What a path is about: its segments without extension, test marks and the folders that only say «tests» or «sources». */
interface Subject {
  isTest: boolean;
  /** Whether a folder of tests was taken out of it: then the tests stand apart from the sources, perhaps with fewer folders. */
  apart: boolean;
  key: string;
  stem: string;
}

const testFolders = new Set(['test', 'tests', '__tests__', 'spec', 'specs']);
const sourceFolders = new Set(['src', 'lib']);
const scripts = new Set(['ts', 'tsx', 'mts', 'cts', 'js', 'jsx', 'mjs', 'cjs']);

function subjectOf(path: string): Subject {
  const parts = path.split('/');
  const file = parts.pop() ?? '';
  const dot = file.lastIndexOf('.');
  const extension = dot > 0 ? file.slice(dot + 1) : '';
  const name = dot > 0 ? file.slice(0, dot) : file;
  const stem = name.replace(/^test_(?=.)/, '').replace(/(?<=.)[._-](test|spec)$/, '');
  const folders = parts.filter((part) => !testFolders.has(part));
  const apart = folders.length < parts.length;
  const language = scripts.has(extension) ? 'script' : extension;
  const place = folders.filter((part) => !sourceFolders.has(part));
  return {
    isTest: stem !== name || apart,
    apart,
    key: [...place, `${stem}.${language}`].join('/'),
    stem: `${stem}.${language}`,
  };
}

interface SubjectIndex {
  tests: Subject[];
  sources: Map<string, Subject[]>;
}

function subjectIndex(names: readonly string[]): SubjectIndex {
  const index: SubjectIndex = { tests: [], sources: new Map() };
  for (const subject of names.filter((name) => !name.endsWith('/')).map(subjectOf)) {
    if (subject.isTest) index.tests.push(subject);
    else index.sources.set(subject.stem, [...(index.sources.get(subject.stem) ?? []), subject]);
  }
  return index;
}

function isPaired(path: string, index: SubjectIndex): boolean {
  const subject = subjectOf(path);
  if (subject.isTest) return (index.sources.get(subject.stem) ?? []).some((source) => tests(subject, source));
  return index.tests.some((test) => tests(test, subject));
}

/** Whether a test is about a source: beside it, or in a folder of tests that repeats all or the last of its folders. */
function tests(test: Subject, source: Subject): boolean {
  return test.key === source.key || (test.apart && source.key.endsWith(`/${test.key}`));
}
