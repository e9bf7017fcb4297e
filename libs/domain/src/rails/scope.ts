/**
 * The scope rule: an issue that names files, and a change that touches none of them, is the wrong change. `named` are the paths of the
 * issue resolved against the base tree (or, for files that do not exist yet, as written); `changed` are the changed paths. A changed test
 * counts for the file it tests when both share their stem (`price.test.ts` for `price.ts`, `test_price.py` for `price.py`).
 */
export function scopeOverlap(
  named: readonly string[],
  changed: readonly string[],
): { overlap: string[]; applies: boolean } {
  const overlap = changed.filter((path) => named.some((name) => samePlace(name, path)));
  return { overlap, applies: named.length > 0 };
}

/** A named path covers itself, everything below it when it is a folder, and itself as a suffix when it was written without its folders. */
function samePlace(name: string, path: string): boolean {
  const folder = name.endsWith('/') ? name : `${name}/`;
  return path === name || path.startsWith(folder) || path.endsWith(`/${name}`) || subjectOf(path) === subjectOf(name);
}

/** The path a test file is about: the same folder and stem without the marks of a test. Non-test files are about themselves. */
function subjectOf(path: string): string {
  const cut = path.lastIndexOf('/') + 1;
  const folder = path.slice(0, cut).replace(/(^|\/)(__tests__|tests?|spec)\//g, '$1');
  const file = path.slice(cut);
  return folder + file.replace(/^test_(?=.)/, '').replace(/([._-](test|spec))(?=\.[^.]+$)/, '');
}
