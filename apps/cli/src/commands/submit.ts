import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseIntake } from '@plumbline/domain';
import { badInput, exitCodes } from '../failure.js';
import { taskOfSubmission } from '../ledger/follow.js';
import type { Session } from '../session.js';
import { busLogin, cloudEvent, publishIntake, requestIntake, withBus } from '../system/bus-client.js';
import { openLedger } from '../system/connect.js';
import { policyOf, readInput } from '../system/input-file.js';
import { assertCommit, localRepository } from '../system/local-repository.js';
import { parseIssue } from '../system/issue.js';
import { followToVerdict } from './watch.js';

export interface SubmitOptions {
  readonly repo: string;
  readonly base: string;
  readonly issue: string;
  readonly policy?: string;
  readonly priority?: string;
  readonly publish?: string;
  readonly key?: string;
  readonly wait?: boolean;
}

/** `plumb submit`: hands over an issue, or with `--batch` many. */
export async function submit(
  session: Session,
  _args: string[],
  given: Partial<SubmitOptions> & BatchOptions,
): Promise<number> {
  const { batch, parallel, repo, base, issue } = given;
  if (batch !== undefined) {
    const { submitBatch } = await import('./submit-batch.js');
    return submitBatch(session, batch, parallel === undefined ? {} : { parallel });
  }
  const missing = Object.entries({ repo, base, issue }).flatMap(([name, value]) =>
    value === undefined ? [`--${name}`] : [],
  );
  if (repo === undefined || base === undefined || issue === undefined)
    throw badInput(`An issue needs ${missing.join(' and ')}.`, 'Give it, or many issues with --batch FILE.');
  if (parallel !== undefined) throw badInput('--parallel is for a batch.', 'Leave it out, or give --batch FILE.');
  return submitOne(session, { ...given, repo, base, issue });
}

interface BatchOptions {
  readonly batch?: string;
  readonly parallel?: number;
}

/** Hands over one issue; with `--wait` follows the task and exits with its verdict. */
async function submitOne(session: Session, options: SubmitOptions): Promise<number> {
  const data = submissionOf(options, session.cwd);
  // The same door as everywhere: what is wrong is said before anything is sent.
  const parsed = parseIntake('submit', data);
  if (!parsed.ok) throw badInput(parsed.refusal.message, 'Correct it and submit again.');
  const { url } = data.repository;
  if (url.startsWith('/')) assertCommit(url, options.base, '--base');
  const event = cloudEvent('submit', data);
  const login = busLogin(session, 'user');
  const ledger = options.wait === true ? openLedger(session) : undefined;
  const after = ledger === undefined ? 0 : (await ledger.log({ after: 0, limit: 1, waitMs: 0 })).head;
  const answer = await session.progress.step('Submitting', () =>
    withBus(login, async (nc) => {
      const asked = await requestIntake(nc, 'submit', data);
      if (asked.outcome === 'nobody') await publishIntake(nc, 'submit', event);
      return asked;
    }),
  );
  if (answer.outcome === 'nobody') {
    session.note(
      'No scheduler answers just now; the submission waits in the intake stream and is taken up when one is back.',
    );
  }
  if (ledger === undefined) return announce(session, event, answer.outcome === 'accepted' ? answer.taskId : undefined);
  const taskId =
    answer.outcome === 'accepted'
      ? answer.taskId
      : await session.progress.step('Waiting for the scheduler', () =>
          taskOfSubmission(ledger, String(event['id']), { after, signal: session.signal }),
        );
  session.say(`Task ${session.palette.bold(taskId)}`);
  return followToVerdict(session, ledger, taskId, { justSubmitted: true });
}

function announce(session: Session, event: Record<string, unknown>, taskId: string | undefined): number {
  const accepted = taskId !== undefined;
  session.say(
    accepted ? `Accepted as task ${session.palette.bold(taskId)}` : `Published as event ${String(event['id'])}`,
  );
  session.say(
    session.palette.dim(accepted ? `  plumb watch ${taskId.slice(0, 8)}` : '  plumb list shows it once it is taken up'),
  );
  session.document({ schema: 'plumbline.submit/1', accepted, eventId: event['id'], ...(accepted ? { taskId } : {}) });
  return exitCodes.ok;
}

/** The submission that the options ask for, not checked yet. Throws CliError for files that cannot be read. */
export function submissionOf(
  options: SubmitOptions,
  cwd: string,
): Record<string, unknown> & { repository: { url: string; base: string } } {
  return {
    repository: { url: repositoryUrl(options.repo, cwd), base: options.base },
    issue: parseIssue(readInput(options.issue, cwd, '--issue')),
    ...(options.policy === undefined ? {} : { policy: policyOf(options.policy, cwd) }),
    ...(options.priority === undefined ? {} : { priority: options.priority }),
    ...(options.publish === undefined ? {} : { publish: options.publish }),
    // A request that is answered too late and a second try are the same task only under the same key.
    idempotencyKey: options.key ?? randomUUID(),
  };
}

/** A directory becomes the top folder of its repository; whatever names a remote stays as it is. */
function repositoryUrl(given: string, cwd: string): string {
  const path = resolve(cwd, given);
  if (existsSync(path)) return localRepository(path);
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(given) || /^[^/]+@[^/:]+:/.test(given)) return given;
  throw badInput(
    `--repo is ${JSON.stringify(given)}, which is neither a directory here nor a URL.`,
    'Give a directory or an address such as https://HOST/NAME.git.',
  );
}
