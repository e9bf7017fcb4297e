import { cut } from './cut.js';

/** One numbered statement of an issue. `C1` is the title. */
export interface Clause {
  id: string;
  text: string;
}

const clausesMax = 40;
const clauseCharsMax = 400;

/**
 * Splits an issue into numbered clauses: the title, then each list item and each sentence of its prose. Code blocks, quoted logs and
 * headings are context, not asks, and yield no clause. The same text always gives the same clauses. Never empty: the title is a clause
 * even when it says nothing. At most 40 clauses; what is beyond is joined into the last one, so that nothing is dropped unseen.
 */
export function splitClauses(issue: { title: string; body: string }): Clause[] {
  const texts = [issue.title.trim() || '(no title)', ...issueProse(issue.body).flatMap(sentences)];
  const kept = texts.slice(0, clausesMax);
  if (texts.length > clausesMax) kept[clausesMax - 1] = texts.slice(clausesMax - 1).join(' ');
  return kept.map((text, index) => ({
    id: `C${index + 1}`,
    text: cut(text, clauseCharsMax),
  }));
}

/** Paragraphs and list items of Markdown, without fences, quotes, headings, tables and comments. */
export function issueProse(body: string): string[] {
  const out: string[] = [];
  let paragraph: string[] = [];
  let fence: string | undefined;
  const flush = (): void => {
    if (paragraph.length > 0) out.push(paragraph.join(' '));
    paragraph = [];
  };
  for (const line of withoutComments(body).split(/\r?\n/)) {
    const mark = /^\s*(```+|~~~+)/.exec(line)?.[1];
    if (mark !== undefined) {
      if (fence === undefined) fence = mark;
      else if (mark.startsWith(fence)) fence = undefined;
      flush();
      continue;
    }
    if (fence !== undefined) continue;
    const item = /^\s*(?:[-*+]|\d{1,3}[.)])\s+(?:\[[ xX]\]\s+)?(.*)$/.exec(line);
    if (item) {
      flush();
      paragraph = [item[1] ?? ''];
    } else if (/^\s*$/.test(line) || /^\s*(#{1,6}\s|>|\|)/.test(line)) {
      flush();
    } else {
      paragraph.push(line.trim());
    }
  }
  flush();
  return out;
}

/** HTML comments are invisible to whoever reads the issue, so they ask for nothing. In one pass: a pattern would be quadratic on openings without an end. */
function withoutComments(body: string): string {
  let out = '';
  let from = 0;
  for (;;) {
    const open = body.indexOf('<!--', from);
    const close = open < 0 ? -1 : body.indexOf('-->', open + 4);
    if (close < 0) return out + body.slice(from);
    out += body.slice(from, open);
    from = close + 3;
  }
}

/** Sentences end at . ! or ? before a space and a capital, digit, quote or back-tick; short abbreviations do not end one. */
function sentences(paragraph: string): string[] {
  return paragraph
    .split(/(?<=[.!?])(?<!\b(?:e\.g|i\.e|etc|vs|cf|no)\.)\s+(?=[A-Z0-9"'`(])/)
    .map((sentence) => sentence.trim())
    .filter((sentence) => /[\p{L}\p{N}]/u.test(sentence));
}
