/** Title and body of an issue file: the first heading or line, and what follows it. */
export function parseIssue(text: string): { title: string; body: string } {
  const lines = text.replace(/^\ufeff/, '').split(/\r?\n/);
  const at = lines.findIndex((line) => line.trim() !== '');
  const first = (lines[at] ?? '').trim();
  // A heading may be closed by hashes too (CommonMark, ATX headings); other lines keep theirs.
  const title = /^#{1,6}\s/.test(first) ? first.replace(/^#{1,6}\s+/, '').replace(/\s+#+$/, '') : first;
  return {
    title,
    body: lines
      .slice(at + 1)
      .join('\n')
      .trim(),
  };
}
