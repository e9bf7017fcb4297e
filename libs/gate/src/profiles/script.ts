/** How npm scripts are read: enough of the shell to see which command runs the tests, and never more than can be understood. */

export type Expansion =
  { readonly ok: true; readonly commands: readonly string[] } | { readonly ok: false; readonly why: string };

const depthMax = 10;

/**
 * The commands of a script in their order, with its pre and post scripts, and with calls of other scripts (`npm run x`, `npm test`) put
 * in their place. Commands are joined by `&&` only; anything else stays inside its command. Refuses cycles and scripts that do not exist.
 */
export function expandScript(name: string, scripts: Readonly<Record<string, string>>, depth = 0): Expansion {
  if (depth > depthMax) return { ok: false, why: `the script ${name} calls itself` };
  if (scripts[name] === undefined) return { ok: false, why: `there is no script ${name}` };
  const commands: string[] = [];
  for (const part of [`pre${name}`, name, `post${name}`]) {
    const text = scripts[part];
    if (text === undefined) continue;
    for (const command of splitCommands(text)) {
      const called = /^(?:npm|pnpm|yarn)\s+(?:run(?:-script)?\s+)?(?:-s\s+|--silent\s+)?([\w:.-]+)$/.exec(command);
      const target = called?.[1] === 't' ? 'test' : called?.[1];
      if (target === undefined || scripts[target] === undefined) {
        commands.push(command);
        continue;
      }
      const inner = expandScript(target, scripts, depth + 1);
      if (!inner.ok) return inner;
      commands.push(...inner.commands);
    }
  }
  return { ok: true, commands };
}

function splitCommands(text: string): string[] {
  const commands: string[] = [];
  let current = '';
  let quote: string | undefined;
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at] ?? '';
    if (quote === undefined && text.startsWith('&&', at)) {
      commands.push(current);
      current = '';
      at += 1;
      continue;
    }
    if (char === quote) quote = undefined;
    else if (quote === undefined && (char === '"' || char === "'")) quote = char;
    current += char;
  }
  return [...commands, current].map((command) => command.trim()).filter((command) => command !== '');
}

/** The words of one plain command, quotes resolved; null when it needs a shell (variables, pipes, redirections, background, escapes). */
export function wordsOf(command: string): string[] | null {
  const words: string[] = [];
  const pattern = /\s*((?:"[^"$`\\]*"|'[^']*'|[^\s"'$`\\|&;<>()])+)/y;
  let at = 0;
  const text = command.trim();
  while (at < text.length) {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match === null) return null;
    words.push(
      (match[1] ?? '').replace(
        /"([^"]*)"|'([^']*)'/g,
        (_all, double?: string, single?: string) => double ?? single ?? '',
      ),
    );
    at = pattern.lastIndex;
  }
  return words;
}

/** A glob of a test command as a pattern over paths; null for what is not understood (classes, extended globs, paths that leave the tree). */
export function globPattern(glob: string): RegExp | null {
  const text = glob.replace(/^(\.\/)+/, '');
  if (text === '' || text.startsWith('/') || text.split('/').includes('..') || /[[\]!()\\]/.test(text)) return null;
  let source = '';
  let inBraces = false;
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at] ?? '';
    if (text.startsWith('**/', at)) {
      source += '(?:[^/]+/)*';
      at += 2;
    } else if (text.startsWith('**', at)) {
      source += '.*';
      at += 1;
    } else if (char === '*') source += '[^/]*';
    else if (char === '?') source += '[^/]';
    else if (char === '{') {
      source += '(?:';
      inBraces = true;
    } else if (char === '}') {
      source += ')';
      inBraces = false;
    } else if (char === ',' && inBraces) source += '|';
    else source += char.replace(/[.+^$|]/, '\\$&');
  }
  try {
    return new RegExp(`^${source}$`);
  } catch {
    return null;
  }
}
