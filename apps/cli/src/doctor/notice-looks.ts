import { homeOf } from '../system/home.js';
import { plain } from '../terminal/text.js';
import { ok, reason, warning, type Finding, type Look } from './finding.js';

/** Who is told of verdicts and ends, in a system that runs: the ledger knows which receivers it has given up. */
export const notices: Look = async ({ env }) => {
  const { systemState } = await import('../system/run-file.js');
  const state = systemState(homeOf(env));
  if (state.is !== 'running' || state.run.state !== 'up' || state.run.nats === undefined) return [];
  const { url, operator } = state.run.nats;
  const [{ requestNotices, withBus }, { noticeTargets }] = await Promise.all([
    import('../system/bus-client.js'),
    import('../report/notice-targets.js'),
  ]);
  try {
    const answer = await withBus({ url, user: operator.name, password: operator.password }, requestNotices);
    const parsed = noticeTargets.safeParse(answer);
    if (!parsed.success) return [warning('The ledger does not say who gets notices.', 'See ledger.log.')];
    return parsed.data.targets.map(({ target, due, parkedAt, why }): Finding => {
      const waiting = due === 0 ? '' : `, ${due} wait`;
      if (parkedAt === null) return ok(`notices to ${plain(target)} are delivered${waiting}`);
      return warning(
        `Notices to ${plain(target)} are parked since ${parkedAt}: ${plain(why ?? 'it kept failing')}${waiting}.`,
        'Mend the receiver, then `plumb down` and `plumb up`: parked receivers are tried again at the start of the ledger.',
      );
    });
  } catch (error) {
    return [warning(`Who gets notices cannot be looked at: ${reason(error)}.`, 'See ledger.log and nats.log.')];
  }
};
