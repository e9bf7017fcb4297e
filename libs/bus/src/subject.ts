/** True if `token` can stand as one token of a subject: no dot, no wildcard, no space, at most 128 characters. */
export function isToken(token: string): boolean {
  return /^[A-Za-z0-9_-]{1,128}$/.test(token);
}

/**
 * True for a subject that a client listens on for replies: `_INBOX…`, or `_R_…` which the broker puts in its place between
 * accounts. A server that answers must never answer anywhere else: the
 * requester chooses the subject, but the answer is published with the rights of whoever answers.
 */
export function isInbox(subject: string | undefined): subject is string {
  return subject !== undefined && /^(?:_INBOX(?:_[a-z-]+)?|_R_)\.[^\s*>]+$/.test(subject);
}
