import { build, type Histogram } from 'hdr-histogram-js';

const longestMs = 60_000;

/** Latencies of one round in a high dynamic range histogram, to 3 digits, from a microsecond to a minute. */
export class Latencies {
  private readonly histogram: Histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: longestMs * 1_000,
    numberOfSignificantValueDigits: 3,
  });

  /** What took longer than a minute counts as a minute; what seems to have taken no time, as a microsecond. */
  record(ms: number): void {
    this.histogram.recordValue(Math.min(longestMs * 1_000, Math.max(1, Math.round(ms * 1_000))));
  }

  get count(): number {
    return this.histogram.totalCount;
  }

  /** In milliseconds. */
  percentile(percent: number): number {
    return this.histogram.getValueAtPercentile(percent) / 1_000;
  }
}
