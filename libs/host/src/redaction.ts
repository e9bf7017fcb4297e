const BLOT = '[redacted]';
/** Shorter values would blot out half of the log, and protect nothing. */
const MIN_SECRET_LENGTH = 6;

const SECRET_NAMES = 'password|passwd|secret|token|api_?-?key|authorization|cookie';
const SECRET_FIELD = new RegExp(`(?:${SECRET_NAMES})$`, 'i');

/** What secrets look like inside a text. Every repetition is bounded, so that no text makes the search slower than its length. */
const PATTERNS: readonly (readonly [RegExp, string])[] = [
  [/\b([a-z][a-z0-9+.-]{0,20}:\/\/[^\s/?#"'\\@:]{0,200}):[^\s/?#"'\\]{0,500}@/gi, `$1:${BLOT}@`],
  [/([?&;](?:[\w-]{0,40}(?:token|secret|password|signature)|api_?-?key|key)=)[^\s&#"'\\]+/gi, `$1${BLOT}`],
  [/\b(bearer\s{1,3})[A-Za-z0-9._~+/=-]{6,}/gi, `$1${BLOT}`],
  [/\b(authorization\W{1,6}basic\s{1,3})[^\s"']+/gi, `$1${BLOT}`],
  [
    new RegExp(`("[\\w-]{0,40}(?:${SECRET_NAMES})"\\s{0,3}:\\s{0,3})"(?:[^"\\\\]|\\\\.){0,4000}"?`, 'gi'),
    `$1"${BLOT}"`,
  ],
];

/**
 * A function that blots out secrets in one line of JSON: fields that are secrets by their name, credentials in URLs and headers, and the
 * given values, wherever they stand, also inside JSON inside a text. Its result is a line of JSON with the same fields.
 */
export function blotter(secrets: readonly string[]): (line: string) => string {
  const literals = secrets
    .filter((secret) => secret.length >= MIN_SECRET_LENGTH)
    .flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret.toWellFormed())])
    .sort((a, b) => b.length - a.length);

  const blotText = (text: string): string => {
    const document = /^\s*[[{]/.test(text) ? parsed(text) : undefined;
    let clean = document === undefined ? text : JSON.stringify(blotValue(document.value));
    for (const literal of literals) clean = clean.replaceAll(literal, BLOT);
    for (const [pattern, replacement] of PATTERNS) clean = clean.replace(pattern, replacement);
    return clean;
  };

  const blotValue = (value: unknown): unknown => {
    if (typeof value === 'string') return blotText(value);
    if (Array.isArray(value)) return value.map(blotValue);
    if (value === null || typeof value !== 'object') return value;
    const fields = Object.entries(value).map(([name, field]): [string, unknown] => {
      const kept = typeof field === 'boolean' || field === null;
      return [blotText(name), SECRET_FIELD.test(name) && !kept ? BLOT : blotValue(field)];
    });
    return Object.fromEntries(fields);
  };

  return (line) => {
    const document = parsed(line);
    return document === undefined ? blotText(line) : `${JSON.stringify(blotValue(document.value))}\n`;
  };
}

function parsed(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}
