import type { TestSystem } from './test-system.js';
import { registerNode, StepDouble, type Play, type WorkerName } from './step-double.js';
import type { StepKind } from '@plumbline/domain';

/** One double for every worker there is. */
export class Crew {
  private constructor(readonly members: Readonly<Record<WorkerName, StepDouble>>) {}

  /** Starts all of them, and registers a node with an example model unless told not to. */
  static async start(
    system: TestSystem,
    options: { plays?: Partial<Record<StepKind, Play>>; concurrency?: number; node?: false } = {},
  ): Promise<Crew> {
    if (options.node !== false) await registerNode(await system.client('node-agent'));
    const start = async <W extends WorkerName>(name: W): Promise<StepDouble> =>
      new StepDouble(await system.client(name), name, options);
    return new Crew({
      'code-host': await start('code-host'),
      coder: await start('coder'),
      gate: await start('gate'),
      reviewer: await start('reviewer'),
    });
  }

  /** Changes what is played from now on, until the returned function puts it back. */
  play(plays: Partial<Record<StepKind, Play>>): () => void {
    const before = Object.values(this.members).map((double) => ({ ...double.plays }));
    for (const double of Object.values(this.members)) Object.assign(double.plays, plays);
    return () => {
      Object.values(this.members).forEach((double, index) => {
        for (const kind of Object.keys(plays)) delete double.plays[kind as StepKind];
        Object.assign(double.plays, before[index]);
      });
    };
  }

  async stop(): Promise<void> {
    await Promise.all(Object.values(this.members).map((double) => double.stop()));
  }
}
