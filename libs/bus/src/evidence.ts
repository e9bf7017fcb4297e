import { rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { StepFault, type ArtifactRef } from '@plumbline/domain';
import type { ArtifactClient } from './artifact-client.js';
import { backoffMs } from './backoff.js';
import { retryOf } from './errors.js';

const triesMax = 6;

/** What of the artifact client a step uses. */
export type ArtifactDoor = Pick<ArtifactClient, 'put' | 'putFile' | 'get' | 'getFile'>;

/**
 * The ledger's artifacts as one step uses them: with the patience to outlast a restart of the ledger, and not beyond the step. What cannot be
 * stored or read in the end throws StepFault ARTIFACT_UNAVAILABLE.
 */
export class Evidence {
  constructor(
    private readonly artifacts: ArtifactDoor,
    private readonly signal: AbortSignal,
    private readonly backoff = { baseMs: 500, capMs: 10_000 },
  ) {}

  putText(text: string, mediaType: string): Promise<ArtifactRef> {
    const bytes = Buffer.from(text);
    return this.patiently(() => this.artifacts.put(bytes, mediaType, this.signal));
  }

  putJson(value: unknown, mediaType: string): Promise<ArtifactRef> {
    return this.putText(JSON.stringify(value), mediaType);
  }

  putFile(path: string, mediaType: string): Promise<ArtifactRef> {
    return this.patiently(() => this.artifacts.putFile(path, mediaType, this.signal));
  }

  async getJson(ref: ArtifactRef, maxBytes: number): Promise<unknown> {
    const bytes = await this.patiently(() => this.artifacts.get(ref, maxBytes, this.signal));
    return JSON.parse(bytes.toString('utf8'));
  }

  /** Writes an artifact to `path`; what a broken try left there is removed first. */
  getFile(ref: ArtifactRef, path: string): Promise<void> {
    return this.patiently(async () => {
      await rm(path, { force: true });
      await this.artifacts.getFile(ref, path, this.signal);
    });
  }

  private async patiently<T>(work: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await work();
      } catch (error) {
        this.signal.throwIfAborted();
        const retry = retryOf(error);
        if (retry === 'bug') throw error;
        if (retry === 'never' || tries >= triesMax)
          throw new StepFault('ARTIFACT_UNAVAILABLE', (error as Error).message.slice(0, 1_900), { cause: error });
        await delay(backoffMs(tries, this.backoff, Math.random), undefined, { signal: this.signal });
      }
    }
  }
}
