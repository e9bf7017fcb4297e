import { parseArgs } from 'node:util';
import { failpointNames } from '@plumbline/failpoint';
import { faultKindNames } from './plan.js';

export interface Options {
  seed: string;
  faults?: number;
  tasks: number;
  only?: string;
  json: boolean;
  list: boolean;
  keep: boolean;
}

export const usage = `npm run faults -- [--seed N] [--faults K] [--tasks M] [--only NAME] [--json] [--list] [--keep]

  --seed N     the schedule: the same seed gives the same one (default 1)
  --faults K   how many faults (default: every kind, and every service at every failpoint of its own, once)
  --tasks M    how many tasks (default 24)
  --only NAME  one kind of fault, or one failpoint
  --list       the kinds and failpoints, and the schedule of this seed; nothing is started
  --json       one document plumbline.faults/1 on standard output
  --keep       keep the folder with logs, states and the origin

exit codes: 0 everything held, 1 something did not, 2 usage, 3 could not tell (a fault that was asked for did not happen)`;

const tasksMax = 5_000;
const faultsMax = 20_000;

/** Reads the command line; a string is what is wrong with it. */
export function parseOptions(args: readonly string[]): Options | string {
  let values: Partial<Record<string, string | boolean>>;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        ...{
          seed: { type: 'string' },
          faults: { type: 'string' },
          tasks: { type: 'string' },
          only: { type: 'string' },
        },
        ...{ json: { type: 'boolean' }, list: { type: 'boolean' }, keep: { type: 'boolean' } },
      },
    }));
  } catch (error) {
    return (error as Error).message;
  }
  const faults = whole('--faults', values['faults'], faultsMax);
  const tasks = whole('--tasks', values['tasks'], tasksMax);
  if (typeof faults === 'string') return faults;
  if (typeof tasks === 'string') return tasks;
  const { only, seed = '1' } = values;
  if (typeof only === 'string' && ![...faultKindNames, ...failpointNames].includes(only as never))
    return `--only: got ${JSON.stringify(only)}, expected a kind of fault (${faultKindNames.join(', ')}) or a failpoint (${failpointNames.join(', ')})`;
  return {
    ...{ seed: String(seed), tasks: tasks ?? 24 },
    ...(faults === undefined ? {} : { faults }),
    ...(typeof only === 'string' ? { only } : {}),
    ...{ json: values['json'] === true, list: values['list'] === true, keep: values['keep'] === true },
  };
}

function whole(name: string, text: string | boolean | undefined, max: number): number | string | undefined {
  if (text === undefined) return undefined;
  const value = /^\d{1,6}$/.test(String(text)) ? Number(text) : NaN;
  return value >= 1 && value <= max
    ? value
    : `${name}: got ${JSON.stringify(text)}, expected a whole number from 1 to ${max}`;
}
