import type { FaultRecord, History } from './history.js';
import { House } from './house.js';
import { strikeHouse, strikeProcess } from './kinds/all.js';
import { LogEye } from './log-eye.js';
import { pause, type Scene, type Struck } from './nemesis.js';
import { observe } from './observe.js';
import { processes } from './places.js';
import type { Fault, Plan } from './plan.js';
import { ProcessLife, type Crash } from './process-life.js';
import { Submitter } from './submitter.js';

export interface RunOptions {
  plan: Plan;
  /** Told when something happened: a fault came to something, or a task ended. */
  onProgress: (progress: Progress) => void;
  /** How long a fault waits for its moment. Default 90 s. */
  patienceMs?: number;
  /** Without any task ending for this long the run is given up. Default 4 minutes. */
  stuckMs?: number;
  keep?: boolean;
  signal?: AbortSignal;
}

export interface Progress {
  ended: number;
  submitted: number;
  records: readonly FaultRecord[];
  last?: FaultRecord;
}

export interface RunResult {
  history: History;
  /** How often each process was started. */
  starts: Record<string, number>;
  /** Where logs, states and the origin are, when they are kept. */
  folder: string;
  /** Puts the house away; `keep` leaves the folder. */
  close: (keep: boolean) => Promise<void>;
  /** Why the run ended before its tasks did. */
  givenUp?: string;
}

const openAtOnce = 8;
const roundMs = 100;
const triesMax = 3;

/** Runs a plan: starts everything, hands in the tasks, injects the faults, waits until both have come to an end, and reads what is left. */
export async function runPlan(options: RunOptions): Promise<RunResult> {
  const { plan } = options;
  const lives = new Map<string, ProcessLife>();
  const house = await House.start({
    seed: plan.seed,
    ears: {
      onHit: (name, hit) => lives.get(name)?.heardHit(hit),
      onExit: (name, exit) => lives.get(name)?.heardExit(exit),
    },
  });
  try {
    return await new Run(house, lives, options).run();
  } catch (error) {
    for (const life of lives.values()) life.over();
    await house.stop(options.keep === true);
    throw error;
  }
}

class Run {
  private readonly eye: LogEye;
  private readonly submitter: Submitter;
  private readonly records: FaultRecord[] = [];
  private readonly crashes: Crash[] = [];
  private readonly ending = new AbortController();
  /** By service, the last of those that want it to themselves. */
  private readonly turns = new Map<string, Promise<unknown>>();
  private outages = 0;
  private outageEndedAt = -Infinity;
  private givenUp: string | undefined;

  constructor(
    private readonly house: House,
    private readonly lives: Map<string, ProcessLife>,
    private readonly options: RunOptions,
  ) {
    this.eye = new LogEye(house.system);
    this.submitter = new Submitter(house, this.eye);
    for (const name of processes) lives.set(name, new ProcessLife(house, name, (crash) => this.crashed(crash)));
  }

  async run(): Promise<RunResult> {
    const { plan } = this.options;
    const scene = this.scene();
    const chains = Object.entries(plan.chains).map(([name, faults]) => this.chain(name, faults, scene));
    const lanes = Promise.all([...chains, this.houseLane(scene)]);
    await this.handIn(lanes);
    this.ending.abort();
    await lanes;
    for (const life of this.lives.values()) life.over();
    const seen = await observe(this.house, this.lives);
    this.eye.stop();
    const history: History = {
      seed: plan.seed,
      tasks: this.submitter.tasks,
      lost: this.eye.lost,
      crashes: this.crashes,
      faults: this.records.sort((a, b) => a.fault.id - b.fault.id),
      ...seen,
    };
    return {
      history,
      starts: Object.fromEntries([...this.lives].map(([name, { starts }]) => [name, starts + 1])),
      folder: this.house.folder,
      close: (keep) => this.house.stop(keep),
      ...(this.givenUp === undefined ? {} : { givenUp: this.givenUp }),
    };
  }

  /** Keeps several tasks going until all have ended and all faults have come to something. Faults that need work get work. */
  private async handIn(lanes: Promise<unknown>): Promise<void> {
    const { plan, stuckMs = 240_000, signal } = this.options;
    const waiting = [...plan.tasks];
    let encores = 0;
    let movedAt = performance.now();
    let before = '';
    let lanesOver = false;
    void lanes.then(() => (lanesOver = true));
    for (;;) {
      signal?.throwIfAborted();
      const { open, ended } = this.submitter;
      const faultsOver = this.records.length === plan.faults || lanesOver;
      if (waiting.length === 0 && open === 0 && (faultsOver || encores >= plan.tasks.length)) return;
      if (open < openAtOnce && waiting.length > 0 && (open < 3 || this.mayHandIn(waiting.length)))
        this.submitter.add(waiting.shift() ?? { key: '', kind: 'fix', door: 'request', twice: false });
      else if (open < 3 && waiting.length === 0 && !faultsOver && encores < plan.tasks.length)
        this.submitter.add({ key: `encore ${++encores}`, kind: 'fix', door: 'request', twice: false });
      this.submitter.tend();
      const now = `${ended} ${this.records.length} ${this.eye.count}`;
      if (now !== before) movedAt = performance.now();
      if (`${ended}` !== before.split(' ')[0]) this.progress();
      before = now;
      if (performance.now() - movedAt > stuckMs) {
        this.givenUp = `nothing was recorded for ${stuckMs} ms; unfinished: ${this.submitter.unfinished().join('; ')}`;
        return;
      }
      await pause(roundMs);
    }
  }

  /** Tasks are handed in as fast as faults come to something, so that the last faults still meet tasks. */
  private mayHandIn(left: number): boolean {
    const { plan } = this.options;
    const share = (this.records.length + 1) / Math.max(1, plan.faults);
    return plan.tasks.length - left < plan.tasks.length * share + openAtOnce;
  }

  private async chain(name: string, faults: Plan['chains'][keyof Plan['chains']], scene: Scene): Promise<void> {
    const life = this.lives.get(name);
    if (life === undefined) throw new Error(`there is no process ${name}`);
    for (const fault of faults ?? []) await this.note(fault, () => strikeProcess(fault, life, scene));
    life.disarm();
  }

  private async houseLane(scene: Scene): Promise<void> {
    for (const fault of this.options.plan.house) {
      await this.eye.until(
        () => (this.ending.signal.aborted || this.eye.count >= fault.afterEvents ? true : undefined),
        3_600_000,
      );
      await this.note(fault, () => strikeHouse(fault, scene));
      if (fault.kind === 'restore') this.submitter.afterRestore();
    }
  }

  private async note(fault: Fault, strike: () => Promise<Struck>): Promise<void> {
    let struck: Struck = { outcome: 'missed', evidence: 'the run was over before its turn came' };
    // A moment that did not come, or passed too quickly, is waited for again.
    for (let tries = 0; tries < triesMax && struck.outcome === 'missed' && !this.ending.signal.aborted; tries++)
      struck = await strike().catch((error: unknown): Struck => ({
        outcome: 'missed',
        evidence: `it could not be injected: ${error instanceof Error ? error.message : String(error)}`.slice(0, 1_000),
      }));
    const record = { fault, ...struck };
    this.records.push(record);
    this.progress(record);
  }

  private progress(last?: FaultRecord): void {
    const { ended, tasks } = this.submitter;
    this.options.onProgress({
      ended,
      submitted: tasks.length,
      records: this.records,
      ...(last === undefined ? {} : { last }),
    });
  }

  private scene(): Scene {
    return {
      house: this.house,
      eye: this.eye,
      lives: this.lives,
      patienceMs: this.options.patienceMs ?? 90_000,
      tasksEnded: () => this.submitter.ended,
      ending: this.ending.signal,
      alone: (process, during) => {
        const service = process.split('/')[0] ?? '';
        const turn = (this.turns.get(service) ?? Promise.resolve()).then(during);
        this.turns.set(
          service,
          turn.catch(() => undefined),
        );
        return turn;
      },
      outage: async (during) => {
        this.outages += 1;
        try {
          return await during();
        } finally {
          this.outages -= 1;
          this.outageEndedAt = performance.now();
        }
      },
    };
  }

  /** A service that cannot come up while a server is away ends, and is started again: that is what supervisors are for. */
  private crashed(crash: Crash): void {
    if (this.outages > 0 || performance.now() - this.outageEndedAt < 15_000) return;
    this.crashes.push(crash);
  }
}
