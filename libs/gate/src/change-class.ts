import { posix } from 'node:path';

const languagesByExtension: Readonly<Record<string, string>> = {
  ...{ ts: 'typescript', tsx: 'typescript', mts: 'typescript', cts: 'typescript' },
  ...{ js: 'javascript', jsx: 'javascript', mjs: 'javascript', cjs: 'javascript' },
  ...{ py: 'python', go: 'go', rs: 'rust', java: 'java', kt: 'kotlin', rb: 'ruby', php: 'php', cs: 'csharp' },
  ...{
    c: 'c',
    h: 'c',
    cc: 'cpp',
    cpp: 'cpp',
    hpp: 'cpp',
    swift: 'swift',
    sh: 'shell',
    css: 'css',
    html: 'html',
    sql: 'sql',
  },
};

/** The languages of a set of paths by their extensions, sorted; empty when none is known. */
export function languagesOf(paths: readonly string[]): string[] {
  const found = paths.map((path) => languagesByExtension[posix.extname(path).slice(1).toLowerCase()]);
  return [...new Set(found.filter((language) => language !== undefined))].sort();
}

const isDocument = (path: string): boolean =>
  /\.(md|mdx|rst|txt|adoc)$/i.test(path) || /(^|\/)(docs?|LICENSE)(\/|$)/.test(path);
const isTest = (path: string): boolean =>
  /(^|\/)(tests?|__tests__|spec|fixtures|testdata)\//.test(path) ||
  /[._-](test|spec)\.[cm]?[jt]sx?$|(^|\/)test_[^/]+\.py$|_test\.go$/.test(path);
const isConfiguration = (path: string): boolean =>
  /(^|\/)(package(-lock)?\.json|[^/]*\.lock|go\.(mod|sum)|Cargo\.toml|pyproject\.toml|[^/]*\.ya?ml|[^/]*\.toml|[^/]*\.config\.[^/]+|[jt]sconfig[^/]*\.json|Dockerfile|Makefile|\.[^/]+)$/.test(
    path,
  ) || /^\.(github|gitlab|circleci)\//.test(path);

/**
 * What kinds of change a set of changed paths is, from the paths alone: `docs`, `test`, `config`, `code`, in that order; empty for an empty
 * change. What a change does to behaviour cannot be told from paths.
 */
export function changeClassOf(paths: readonly string[]): string[] {
  const classes = new Set<string>(
    paths.map((path) =>
      isTest(path) ? 'test' : isDocument(path) ? 'docs' : isConfiguration(path) ? 'config' : 'code',
    ),
  );
  return ['docs', 'test', 'config', 'code'].filter((name) => classes.has(name));
}
