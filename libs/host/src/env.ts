import { readFileSync } from 'node:fs';
import { z } from 'zod';

/** Environment variables as a process has them. */
export type Env = Readonly<Record<string, string | undefined>>;

/** What came of reading an environment: the configuration, or every problem as one sentence. */
export type ParsedEnv<T> =
  { readonly ok: true; readonly config: T } | { readonly ok: false; readonly problems: string[] };

/**
 * The environment with every `PLUMB_X_FILE` replaced by `PLUMB_X` holding the file's text (without trailing line ends), so that
 * secrets need not stand in a process listing. Empty variables count as not set, as `${X:-}` in a compose file leaves them, and so do empty
 * files, as a place kept for a secret that nobody has put there. A file that cannot be read, and a variable given both ways, are problems.
 */
export function readSecretFiles(
  env: Env,
  readFile: (path: string) => string = readText,
): { env: Env; problems: string[] } {
  const plain: Record<string, string> = {};
  const problems: string[] = [];
  for (const [name, value] of Object.entries(env)) if (value !== undefined && value !== '') plain[name] = value;
  for (const [name, path] of Object.entries(plain)) {
    const target = /^(PLUMB_\w+)_FILE$/.exec(name)?.[1];
    if (target === undefined) continue;
    if (plain[target] !== undefined) {
      problems.push(`${target} and ${name} are both set; keep one of them.`);
      continue;
    }
    try {
      const text = readFile(path).replace(/[\r\n]+$/, '');
      if (text !== '') plain[target] = text;
    } catch (error) {
      problems.push(
        `${name} names ${path}, which cannot be read (${codeOf(error)}); correct the path or its permissions.`,
      );
    }
  }
  return { env: plain, problems };
}

/** Parses an environment; one sentence per problem, each naming its variable. Values are never quoted: they may be secrets. */
export function parseEnv<T>(schema: z.ZodType<T>, env: Env): ParsedEnv<T> {
  const parsed = schema.safeParse(env);
  if (parsed.success) return { ok: true, config: parsed.data };
  return { ok: false, problems: parsed.error.issues.map((issue) => sentence(issue, env)) };
}

function sentence(issue: z.core.$ZodIssue, env: Env): string {
  const [variable, ...inside] = issue.path.map(String);
  if (variable === undefined) return `${issue.message}.`;
  if (env[variable] === undefined) return `${variable} is not set; ${expected(issue)}.`;
  const where = inside.length === 0 ? variable : `${variable} (at ${inside.join('.')})`;
  return `${where} is not usable: ${issue.message}.`;
}

const expected = (issue: z.core.$ZodIssue): string =>
  issue.message.startsWith('Invalid input') ? 'set it' : `give it ${issue.message.replace(/^expected /, '')}`;

/** A whole decimal number. Anything else (signs, spaces, `1e3`, `0x10`, fractions) is refused, where coercion would guess. */
export function envInteger(range: { readonly min: number; readonly max: number }): z.ZodType<number> {
  const message = `expected a whole number from ${range.min} to ${range.max}`;
  return z
    .string(message)
    .regex(/^\d{1,16}$/, message)
    .transform(Number)
    .pipe(z.int(message).min(range.min, message).max(range.max, message));
}

/** A URL with one of the given protocols (with colon, e.g. `http:`); its text, unchanged. */
export function envUrl(protocols: readonly string[], example: string): z.ZodType<string> {
  const message = `expected a URL like ${example}`;
  return z.string(message).refine((text) => protocols.includes(URL.parse(text)?.protocol ?? ''), message);
}

/** JSON text of what `schema` describes. */
export function envJson<T>(schema: z.ZodType<T>, what: string): z.ZodType<T> {
  return z
    .string(`expected ${what} as JSON`)
    .transform((text, context): unknown => {
      try {
        return JSON.parse(text);
      } catch {
        // The parser's message quotes the text.
        context.addIssue({ code: 'custom', message: `expected ${what} as JSON, found text that is not JSON` });
        return z.NEVER;
      }
    })
    .pipe(schema);
}

const readText = (path: string): string => readFileSync(path, 'utf8');
const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? 'unreadable';
