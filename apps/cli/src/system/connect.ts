import { LedgerApi } from '../ledger/ledger-api.js';
import { CliError } from '../failure.js';
import type { Session } from '../session.js';
import { homeOf } from './home.js';
import { systemState, type RunFile } from './run-file.js';
import { secretFrom } from './secret.js';

/** The running system of this home. Throws CliError, one sentence each, when there is none, it is gone, or it is not up yet. */
export function runningSystem(env: NodeJS.ProcessEnv): RunFile {
  const home = homeOf(env);
  const state = systemState(home);
  if (state.is === 'absent') {
    throw new CliError(
      `No Plumbline system is up (nothing runs in ${home.folder}).`,
      'Start one with `plumb up`, or set PLUMB_HOME to the one you mean.',
      { retry: 'later' },
    );
  }
  if (state.is === 'stale') {
    throw new CliError(
      `The system in ${home.folder} is gone: it ended without being stopped.`,
      'Run `plumb up`; it mends what was left and starts again.',
      { retry: 'later' },
    );
  }
  return state.run;
}

/** The ledger of PLUMB_API_URL (with PLUMB_API_TOKEN), else that of the running system. */
export function openLedger(session: Session): LedgerApi {
  const { env, signal } = session;
  const url = env['PLUMB_API_URL'] ?? '';
  if (url !== '') {
    if (!URL.canParse(url))
      throw new CliError('PLUMB_API_URL is not a URL.', 'Set it to http://HOST:PORT, or unset it.');
    return new LedgerApi({ url, token: secretFrom(env, 'PLUMB_API_TOKEN') ?? '', signal });
  }
  const { api, state } = runningSystem(env);
  if (api !== undefined && state === 'up') return new LedgerApi({ ...api, signal });
  throw new CliError(`The system is just ${state === 'up' ? 'coming up' : state}.`, 'Wait a moment and try again.', {
    retry: 'later',
  });
}
