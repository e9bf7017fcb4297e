/** The oldest server this library works with: the one Debian 12 ships. */
export const MINIMUM_SERVER = '2.9.10';

/** What the connected server can do, by its version; servers ignore some unknown options silently, so ask here first. */
export interface Capabilities {
  readonly version: string;
  /** A stream can be created with its first sequence above 1 (2.10). */
  readonly firstSeq: boolean;
  /** A consumer can have several filters (2.10). */
  readonly filterSubjects: boolean;
  /** Streams and consumers carry metadata (2.10). */
  readonly metadata: boolean;
  /** `sync_interval` is a known configuration key (2.10). */
  readonly syncInterval: boolean;
  /** `+TERM` accepts a reason (verified from 2.10.27; 2.9 ignores the whole acknowledgement). */
  readonly ackTermReason: boolean;
  /** Per-message time to live (2.11). */
  readonly messageTtl: boolean;
  /** Consumers can be paused (2.11). */
  readonly consumerPause: boolean;
  /** Atomic batch publishing (2.12). */
  readonly atomicBatch: boolean;
  /** Acknowledgement subjects carry domain and account tokens by default (2.15). */
  readonly ackSubjectV2: boolean;
}

/** `[major, minor, patch]` of a version like `2.10.27` or `2.11.0-beta.1`; undefined if it is not one. */
export function parseVersion(version: string): readonly [number, number, number] | undefined {
  const match = /^v?(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?:[-+].*)?$/.exec(version);
  return match ? [Number(match[1]), Number(match[2]), Number(match[3])] : undefined;
}

/** True if `version` is `minimum` or newer; false for anything that is not a version. */
export function atLeast(version: string, minimum: string): boolean {
  const have = parseVersion(version);
  const want = parseVersion(minimum);
  if (!have || !want) return false;
  for (let i = 0; i < 3; i += 1) {
    const difference = (have[i] ?? 0) - (want[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** What a server of this version can do; an unreadable version counts as able to do nothing optional. */
export function capabilities(info: { readonly version: string }): Capabilities {
  const since = (minimum: string): boolean => atLeast(info.version, minimum);
  return {
    version: info.version,
    firstSeq: since('2.10.0'),
    filterSubjects: since('2.10.0'),
    metadata: since('2.10.0'),
    syncInterval: since('2.10.0'),
    ackTermReason: since('2.10.27'),
    messageTtl: since('2.11.0'),
    consumerPause: since('2.11.0'),
    atomicBatch: since('2.12.0'),
    ackSubjectV2: since('2.15.0'),
  };
}
