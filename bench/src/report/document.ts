import type { BenchDocument } from '@plumbline/domain';
import { resultOf, type BenchResult, type Measurement } from './measurement.js';

/** `plumbline.bench/1`, with the additions of {@link BenchResult}. */
export interface Report extends BenchDocument {
  results: BenchResult[];
}

/** The document of a run. Throws when two measurements share a name. */
export function reportOf(bench: string, machine: BenchDocument['machine'], measured: readonly Measurement[]): Report {
  const names = measured.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new Error(`two measurements are called ${twice}`);
  return { schema: 'plumbline.bench/1', bench, machine, results: measured.map(resultOf) };
}

/** The results whose target was missed. */
export function unmetOf(report: Report): BenchResult[] {
  return report.results.filter(({ met }) => met === false);
}
