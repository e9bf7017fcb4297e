import { rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { backoffMs, retryOf, StepFault, type ArtifactClient } from '@plumbline/bus';
import type { ArtifactRef } from '@plumbline/domain';

const triesMax = 6;

/** The ledger's artifacts, with the patience to outlast its restart; beyond that the step ends as ARTIFACT_UNAVAILABLE. */
export class EvidenceStore {
  constructor(
    private readonly artifacts: Pick<ArtifactClient, 'put' | 'getFile'>,
    private readonly signal: AbortSignal,
    private readonly backoff = { baseMs: 500, capMs: 10_000 },
  ) {}

  put(text: string, mediaType: string): Promise<ArtifactRef> {
    return this.patiently(() => this.artifacts.put(Buffer.from(text), mediaType, this.signal));
  }

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
