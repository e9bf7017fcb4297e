import { readdir } from 'node:fs/promises';
import { z } from 'zod';
import { confine } from './confined-path.js';
import { error, ok, type Tool } from './tool.js';

const entriesMax = 300;
const parameters = z.object({ path: z.string().default('.') });

/** Lists one directory: directories end in `/`, symbolic links in `@`. */
export const listDir: Tool<z.infer<typeof parameters>> = {
  name: 'list_dir',
  description: 'Lists a directory. Directories end in /, symbolic links in @.',
  parameters,
  writes: false,
  async answer({ path }, { treeDir }) {
    const place = await confine(treeDir, path);
    if (!place.ok) return error(place.problem);
    try {
      const names = (await readdir(place.host, { withFileTypes: true }))
        .filter((entry) => entry.name !== '.git')
        .map((entry) => entry.name + (entry.isDirectory() ? '/' : entry.isSymbolicLink() ? '@' : ''))
        .sort();
      if (names.length === 0) return ok(`${place.path} is empty`);
      const rest = names.length > entriesMax ? `\n(${names.length - entriesMax} more)` : '';
      return ok(names.slice(0, entriesMax).join('\n') + rest);
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === 'ENOENT') return error(`${place.path} does not exist`);
      if (code === 'ENOTDIR') return error(`${place.path} is not a directory`);
      if (code === 'EACCES') return error(`${place.path} may not be read`);
      throw cause;
    }
  },
};
