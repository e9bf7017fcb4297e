import { z } from 'zod';
import { confine } from './confined-path.js';
import { findMatch } from './match-lines.js';
import { readText, writeText } from './text-file.js';
import { error, ok, type Tool, type ToolAnswer } from './tool.js';

const around = 6;
const parameters = z.object({
  path: z.string().min(1),
  old: z
    .string()
    .min(1)
    .max(200_000)
    .describe('the text to replace, exactly as it stands in the file, at one place only'),
  new: z.string().max(1 << 20),
});

/** Replaces a text that stands at exactly one place of a file. A miss answers with the nearest lines that are really there. */
export const strReplace: Tool<z.infer<typeof parameters>> = {
  name: 'str_replace',
  description: 'Replaces a text that occurs exactly once in a file. Give enough lines around it to make it unique.',
  parameters,
  writes: true,
  async answer({ path, old, new: replacement }, { treeDir }) {
    if (old === replacement) return error('old and new are the same; nothing to do');
    const place = await confine(treeDir, path);
    if (!place.ok) return error(place.problem);
    const file = await readText(place.host);
    if (!file.ok) return error(`${place.path} ${file.problem}`);
    const match = findMatch(file.text, old, replacement);
    if (match.found === 'often')
      return error(
        `old occurs ${match.lines.length} times in ${place.path}, at lines ${match.lines.slice(0, 20).join(', ')}; give more lines around it`,
      );
    if (match.found === 'never') return missed(place.path, file.text, match.nearest, old.split('\n').length);
    const text = file.text.slice(0, match.start) + match.replacement + file.text.slice(match.end);
    const problem = await writeText(place.host, text);
    if (problem !== undefined) return error(`${place.path} ${problem}`);
    return ok(`replaced in ${place.path}${match.how === 'exact' ? '' : ` (${match.how})`}`);
  },
};

function missed(path: string, text: string, nearest: number | null, count: number): ToolAnswer {
  if (nearest === null) return error(`old does not occur in ${path}, and nothing like it; read the file first`);
  const lines = text.split('\n');
  const from = Math.max(1, nearest - 2);
  const shown = lines
    .slice(from - 1, from - 1 + Math.min(count, 40) + around)
    .map((line, index) => `${from + index}\t${line.slice(0, 400)}`);
  return error(`old does not occur in ${path}. The nearest lines there are:\n${shown.join('\n')}`);
}
