import { z } from 'zod';
import { confine } from './confined-path.js';
import { readText } from './text-file.js';
import { error, ok, type Tool } from './tool.js';

const linesMax = 400;
const charsMax = 9_500;

const parameters = z.object({
  path: z.string().min(1),
  start: z.coerce.number().int().min(1).default(1).describe('first line, from 1'),
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(linesMax)
    .default(linesMax)
    .describe(`number of lines, at most ${linesMax}`),
});

/** Shows lines of a file, each with its number. Says how many lines there are when it does not show them all. */
export const readFile: Tool<z.infer<typeof parameters>> = {
  name: 'read_file',
  description: 'Reads lines of a text file. Each line is shown as its number, a tab, and the line.',
  parameters,
  writes: false,
  async answer({ path, start, limit }, { treeDir }) {
    const place = await confine(treeDir, path);
    if (!place.ok) return error(place.problem);
    const file = await readText(place.host);
    if (!file.ok) return error(`${place.path} ${file.problem}`);
    if (file.text === '') return ok(`${place.path} is empty`);
    const lines = file.text.replace(/\n$/, '').split('\n');
    if (start > lines.length) return error(`${place.path} has ${lines.length} lines; start is ${start}`);
    const shown: string[] = [];
    let chars = 0;
    for (const line of lines.slice(start - 1, start - 1 + limit)) {
      const numbered = `${start + shown.length}\t${line.length > 2_000 ? `${line.slice(0, 2_000)}… (line cut)` : line}`;
      chars += numbered.length + 1;
      if (chars > charsMax) break;
      shown.push(numbered);
    }
    const last = start + shown.length - 1;
    const more = last < lines.length ? `\n(${lines.length} lines in all; go on with start ${last + 1})` : '';
    return ok(shown.join('\n') + more);
  },
};
