import { build, dependencies, disk, git, node } from './checkout-looks.js';
import { broken, reason, type Finding, type Look, type Place } from './finding.js';
import { notices } from './notice-looks.js';
import { nats, postgres, sandbox } from './server-looks.js';
import { system } from './system-looks.js';

const looks: readonly (readonly [string, Look])[] = [
  ['node', node],
  ['dependencies', dependencies],
  ['build', build],
  ['postgres', postgres],
  ['nats-server', nats],
  ['bubblewrap', sandbox],
  ['git', git],
  ['disk', disk],
  ['system', system],
  ['notices', notices],
];

/** Looks at everything, in order. A look that cannot be done is a finding itself; nothing here throws. */
export async function examine(place: Place): Promise<Finding[]> {
  const findings = await Promise.all(
    looks.map(async ([name, look]) => look(place).catch((error: unknown) => [failed(name, error)])),
  );
  return findings.flat();
}

function failed(name: string, error: unknown): Finding {
  if ((error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND') {
    const missing = /Cannot find (?:package|module) '([^']+)'/.exec(reason(error))?.[1] ?? 'a package';
    return broken(
      `${name} cannot be looked at: ${missing} is not installed or not built.`,
      'Run `npm run setup` in the checkout.',
    );
  }
  return broken(`${name} cannot be looked at: ${reason(error)}.`, 'Run `plumb doctor --debug` and mend what it says.');
}
