/** Why an address or a revision is refused; `expected` can be shown to a person as it is. */
export interface AddressProblem {
  readonly field: 'url' | 'revision';
  readonly value: string;
  readonly expected: string;
}

export type Parsed<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: AddressProblem };

/** A repository address that git may be given: its transport is known and nothing in it can be read as an option or a command. */
export interface RepositoryUrl {
  readonly url: string;
  readonly transport: 'https' | 'ssh' | 'file';
}

const MAX_LENGTH = 2048;
const HOST = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\.?$/i;
const USER = /^[a-z0-9_][a-z0-9._-]*$/i;
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

/**
 * Accepts https://host/path, ssh://[user@]host/path, user@host:path and, with `allowLocal`, file:///path or an absolute directory, whose
 * name may hold spaces.
 * Refuses every other transport (`ext::` runs commands), options, credentials in the address, control characters and `..` segments.
 */
export function parseRepositoryUrl(url: string, options: { readonly allowLocal: boolean }): Parsed<RepositoryUrl> {
  const refuse = (expected: string): Parsed<RepositoryUrl> => {
    return { ok: false, problem: { field: 'url', value: withoutSecret(url), expected } };
  };
  const textProblem = problemOfText(url);
  if (textProblem !== null) return refuse(textProblem);
  // A directory may be called anything; the space is the only one of its kind that is no control character in disguise.
  if (/\s/.test(url.startsWith('/') ? url.replaceAll(' ', '') : url)) return refuse('an address without spaces');
  if (/^[a-z0-9+.-]*::/i.test(url))
    return refuse('https://, ssh:// or user@host:path; remote helpers such as ext:: are refused');
  if (url.startsWith('/') || /^file:/i.test(url)) return parseLocal(url, options.allowLocal, refuse);
  if (/^https:\/\//i.test(url)) return parseHttps(url, refuse);
  if (/^ssh:\/\//i.test(url)) return parseSsh(url, refuse);
  const scp = /^([^@/:]+)@([^@/:]+):(.+)$/.exec(url);
  if (scp !== null) return parseScp(url, scp, refuse);
  return refuse(`https://, ssh:// or user@host:path${options.allowLocal ? ', file:// or an absolute directory' : ''}`);
}

type Refuse = (expected: string) => Parsed<RepositoryUrl>;

function parseLocal(url: string, allowLocal: boolean, refuse: Refuse): Parsed<RepositoryUrl> {
  if (!allowLocal) return refuse('a remote address; local directories are not allowed here');
  const path = url.startsWith('/') ? url : /^file:\/\/(\/.*)$/i.exec(url)?.[1];
  if (path === undefined) return refuse('file:///absolute/path');
  if (path.startsWith('//')) return refuse('one leading slash');
  if (hasDotSegments(path)) return refuse('a path without . or .. segments');
  return { ok: true, value: { url, transport: 'file' } };
}

function parseHttps(url: string, refuse: Refuse): Parsed<RepositoryUrl> {
  const parts = /^https:\/\/([^/?#]*)(\/[^?#]*)?$/i.exec(url);
  if (parts === null) return refuse('https://host/path without query or fragment');
  const authority = parts[1] ?? '';
  if (authority.includes('@')) return refuse('no user name or token in the address; give credentials separately');
  return checked(url, 'https', authority, parts[2], refuse);
}

function parseSsh(url: string, refuse: Refuse): Parsed<RepositoryUrl> {
  const parts = /^ssh:\/\/(?:([^@/?#]*)@)?([^@/?#]*)(\/[^?#]*)?$/i.exec(url);
  if (parts === null) return refuse('ssh://user@host/path');
  if (parts[1]?.includes(':')) return refuse('no password in the address; use a key');
  if (parts[1] !== undefined && !USER.test(parts[1])) return refuse('a plain user name');
  return checked(url, 'ssh', parts[2] ?? '', parts[3], refuse);
}

function parseScp(url: string, parts: RegExpExecArray, refuse: Refuse): Parsed<RepositoryUrl> {
  if (!USER.test(parts[1] ?? '')) return refuse('a plain user name before the @');
  return checked(url, 'ssh', parts[2] ?? '', `/${(parts[3] ?? '').replace(/^\//, '')}`, refuse);
}

function checked(
  url: string,
  transport: RepositoryUrl['transport'],
  authority: string,
  path: string | undefined,
  refuse: Refuse,
): Parsed<RepositoryUrl> {
  const parts = /^(\[[0-9a-f:.]+\]|[^:]*)(?::(\d{1,5}))?$/i.exec(authority);
  const host = parts?.[1] ?? '';
  if (!HOST.test(host) && !/^\[[0-9a-f:.]+\]$/i.test(host)) return refuse('a host name or address');
  const port = parts?.[2];
  if (port !== undefined && (Number(port) < 1 || Number(port) > 65_535)) return refuse('a port from 1 to 65535');
  if (path === undefined || path === '/') return refuse('the path of a repository after the host');
  if (path.slice(1).startsWith('-')) return refuse('a path that does not begin with a dash');
  if (hasDotSegments(path)) return refuse('a path without . or .. segments');
  return { ok: true, value: { url, transport } };
}

/**
 * Accepts a branch, tag, full reference name, commit id, or one of these followed by `~n` or `^n`. Refuses what git would read as
 * an option, a range, a path, a reflog entry or a search.
 */
export function parseRevision(revision: string): Parsed<string> {
  const refuse = (expected: string): Parsed<string> => {
    return { ok: false, problem: { field: 'revision', value: revision, expected } };
  };
  const textProblem = problemOfText(revision);
  if (textProblem !== null) return refuse(textProblem);
  if (revision.includes('..')) return refuse('one revision, not a range');
  if (revision.includes('@{')) return refuse('a branch, tag or commit; reflog and upstream syntax is refused');
  if (revision.includes(':')) return refuse('a revision without a path');
  if (revision === '@') return refuse('HEAD, a branch, a tag or a commit');
  const parts = /^([^~^]+)((?:~\d{0,9}|\^\d{0,9})*)$/.exec(revision);
  if (parts === null) return refuse('a branch, tag or commit, with ~n or ^n at most');
  const name = parts[1] ?? '';
  if (/[\s*?[\\]/.test(name)) return refuse('a name without spaces, backslashes or wildcards');
  const bad = name.split('/').some((part) => part === '' || part.startsWith('.') || part.endsWith('.lock'));
  if (bad || name.endsWith('.')) return refuse('a valid reference name (see git check-ref-format)');
  return { ok: true, value: revision };
}

function problemOfText(text: string): string | null {
  if (text === '') return 'something; it is empty';
  if (text.length > MAX_LENGTH) return `at most ${MAX_LENGTH} characters`;
  if (text.startsWith('-')) return 'no leading dash';
  if (CONTROL.test(text)) return 'no control characters';
  return null;
}

/** Also finds segments that only appear after percent-decoding, since servers decode them. */
function hasDotSegments(path: string): boolean {
  const decoded = path.replace(/%2e/gi, '.').replace(/%2f/gi, '/').replace(/%5c/gi, '/');
  return decoded.split(/[/\\]/).some((segment) => segment === '.' || segment === '..');
}

/** A refusal is logged and shown; a secret that was given in the address must not be. */
function withoutSecret(url: string): string {
  return url.replace(/^([a-z0-9+.:-]*\/\/)[^/@]*@/i, '$1***@');
}
