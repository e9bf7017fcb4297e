import { examine } from '../doctor/examine.js';
import type { Finding } from '../doctor/finding.js';
import { exitCodes } from '../failure.js';
import type { Session } from '../session.js';
import { checkout } from '../system/checkout.js';
import type { Palette } from '../terminal/palette.js';
import { columnsMax, plain, wrap } from '../terminal/text.js';

/** `plumb doctor`: what is wrong on this machine, each finding in one sentence with one on how to mend it. */
export async function doctor(session: Session): Promise<number> {
  const findings = await session.progress.step('Looking around', () => examine({ root: checkout, env: session.env }));
  const sick = findings.filter(({ state }) => state === 'broken');
  session.document({ schema: 'plumbline.doctor/1', ok: sick.length === 0, findings });
  const { palette } = session;
  const marks = { ok: palette.good('✓'), warning: palette.warn('!'), broken: palette.bad('✗') };
  for (const { what, state, mend } of findings) {
    session.say(`${marks[state]} ${wrap(plain(what), columnsMax - 2).join('\n  ')}`);
    if (mend !== undefined) session.say(`  ${palette.accent('→')} ${wrap(plain(mend), columnsMax - 4).join('\n    ')}`);
  }
  session.say();
  session.say(conclusion(findings, palette));
  return sick.length === 0 ? exitCodes.ok : exitCodes.refused;
}

/** The last line: a warning is not an illness, and not nothing either. */
export function conclusion(findings: readonly Finding[], palette: Palette): string {
  const broken = findings.filter(({ state }) => state === 'broken').length;
  const doubtful = findings.filter(({ state }) => state === 'warning').length;
  if (broken > 0) return palette.bad(`${broken} of ${findings.length} findings must be mended.`);
  if (doubtful > 0)
    return palette.warn(`Nothing is broken; ${doubtful} of ${findings.length} findings should be looked at.`);
  return palette.good('All is well.');
}
