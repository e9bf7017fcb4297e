import { statfsSync } from 'node:fs';
import { holderOf } from '../house.js';
import { injected, missed, skipped, type ProcessNemesis, type Scene, type Struck } from '../nemesis.js';
import type { ProcessFault } from '../plan.js';
import type { ProcessLife } from '../process-life.js';
import { stepEndings } from '../log-eye.js';

const skewShownMs = 1_800_000;
const skewedForMs = 3_000;

/**
 * A module that is loaded before the service and shifts what `Date` says. Timers and `performance` go on as they are: what is wrong on a
 * machine with a wrong clock is the date, too.
 */
export function skewModule(skewMs: number): string {
  const source = `
    const Real = Date; const skew = ${skewMs};
    globalThis.Date = class Date extends Real {
      constructor(...args) { if (args.length === 0) super(Real.now() + skew); else super(...args); }
      static now() { return Real.now() + skew; }
    };`;
  return `data:text/javascript,${encodeURIComponent(source)}`;
}

/** A life with a clock that is an hour off; seen in the time of its own log lines. */
export const skew: ProcessNemesis<'skew'> = async (fault, life, { house, eye, patienceMs, ending }) => {
  const from = eye.count;
  await life.begin({ NODE_OPTIONS: `--import=${skewModule(fault.skewMs)}` });
  try {
    const line = await house.system
      .child(life.name)
      .line('a line of its log', ({ msg }) => msg === 'ready', patienceMs)
      .catch(() => undefined);
    if (line === undefined) return missed('it did not come up');
    const off = Date.parse(String(line['time'])) - Date.now();
    if (Math.abs(off) < skewShownMs) return missed(`its clock was only ${off} ms off`);
    const until = performance.now() + skewedForMs;
    await eye.until(
      () => (ending.aborted || (performance.now() > until && eye.count > from) ? true : undefined),
      10_000,
    );
    return injected(
      `its log lines were ${Math.round(off / 60_000)} minutes off while ${eye.count - from} events were recorded`,
    );
  } finally {
    await life.begin({});
  }
};

/** A life on a full disk, until a step of it has failed for that. */
export const diskFull: ProcessNemesis<'disk-full'> = (fault, life, scene) =>
  scene.alone(life.name, () => fillDisk(fault, life, scene));

async function fillDisk(
  fault: ProcessFault<'disk-full'>,
  life: ProcessLife,
  { house, eye, patienceMs, ending }: Scene,
): Promise<Struck> {
  const disk = house.disks[fault.id % Math.max(1, house.disks.length)];
  if (disk === undefined) return skipped(house.whyNoDisks ?? 'there is no small file system');
  const from = eye.count;
  const holder = holderOf(life.name);
  await life.begin({ PLUMB_WORK_DIR: disk });
  try {
    // Undone after the first step that failed: a worker that stays on a full disk takes every try of a step, and fails them all.
    const failed = await eye.until(() => {
      if (ending.aborted) return false;
      return eye.find(
        from,
        ({ streamId, type, data }) =>
          stepEndings.has(type) &&
          wantOfSpace.has(String(data['code'])) &&
          eye.holderOf(streamId, data['step']) === holder,
      );
    }, patienceMs);
    if (failed === undefined || failed === false) return missed('no step of it failed');
    const { step, code, detail } = failed.data as { step: string; code: string; detail: string };
    const { bavail } = statfsSync(disk);
    return injected(`${step} ended with ${code} (${detail.slice(0, 80)}), ${bavail} blocks were free`);
  } finally {
    await life.begin({});
  }
}

/** How a step fails that cannot write: as a fault of the machine. */
const wantOfSpace: ReadonlySet<string> = new Set(['WORKSPACE_SETUP', 'GATE_ERROR', 'REPOSITORY_UNREACHABLE']);
