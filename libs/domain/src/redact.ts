const mask = '[redacted]';

/** Forms of credentials that are recognised wherever they stand: prefixes that issuers chose so that they can be found. */
const forms: readonly RegExp[] = [
  /-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----[\s\S]*?(?:-----END (?:[A-Z]+ )*PRIVATE KEY-----|$)/g,
  /\bgh[pousr]_[A-Za-z0-9]{30,}\b/g,
  /\bgithub_pat_[A-Za-z0-9_]{40,}\b/g,
  /\bglpat-[A-Za-z0-9_-]{20,}\b/g,
  /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g,
  /\bxox[abprs]-[A-Za-z0-9-]{10,}\b/g,
  /\bsk-[A-Za-z0-9_-]{20,}\b/g,
  /\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\b/g,
];

/**
 * A function that masks secrets in every text of a value: the given ones, and what looks like a credential. Applying it twice changes
 * nothing more, so that a stored conversation can be compared with the one it is continued by.
 */
export function redactor(secrets: readonly string[]): <T>(value: T) => T {
  const known = secrets.filter((secret) => secret.length >= 6).sort((a, b) => b.length - a.length);
  const text = (value: string): string =>
    forms.reduce(
      (left, form) => left.replace(form, mask),
      known.reduce((left, secret) => left.replaceAll(secret, mask), value),
    );
  const walk = (value: unknown): unknown => {
    if (typeof value === 'string') return text(value);
    if (Array.isArray(value)) return value.map(walk);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, walk(inner)]));
  };
  return <T>(value: T) => walk(value) as T;
}
