import { z } from 'zod';
import { confine } from './confined-path.js';
import { writeText } from './text-file.js';
import { error, ok, type Tool } from './tool.js';

const parameters = z.object({ path: z.string().min(1), content: z.string().max(1 << 20) });

/** Creates a file, or replaces all of one. */
export const writeFile: Tool<z.infer<typeof parameters>> = {
  name: 'write_file',
  description: 'Creates a file or replaces its whole content. To change part of a file use str_replace.',
  parameters,
  writes: true,
  async answer({ path, content }, { treeDir }) {
    const place = await confine(treeDir, path);
    if (!place.ok) return error(place.problem);
    const problem = await writeText(place.host, content);
    return problem === undefined ? ok(`wrote ${place.path}`) : error(`${place.path} ${problem}`);
  },
};
