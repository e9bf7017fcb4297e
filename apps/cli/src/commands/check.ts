import { resolve } from 'node:path';
import { issueSchema, resolvePolicy, type Submission } from '@plumbline/domain';
import { checkLines, exitCodeOfVerdict } from '../check/check-text.js';
import { judge } from '../check/local-gate.js';
import { badInput } from '../failure.js';
import type { Session } from '../session.js';
import { assertCommit, localRepository } from '../system/local-repository.js';
import { parseIssue } from '../system/issue.js';
import { policyOf, readInput } from '../system/input-file.js';

export interface CheckOptions {
  readonly repo: string;
  readonly base: string;
  readonly head: string;
  readonly issue?: string;
  readonly policy: string;
  readonly format: 'text' | 'json';
}

/** `plumb check`: the whole gate on a change of a repository here, with no services; exits with the verdict. */
export async function check(session: Session, _args: string[], options: CheckOptions): Promise<number> {
  const asJson = session.json || options.format === 'json';
  const repo = localRepository(resolve(session.cwd, options.repo));
  assertCommit(repo, options.base, '--base');
  if (options.head !== 'WORKTREE') assertCommit(repo, options.head, '--head');
  const document = await session.progress.step('Judging', () =>
    judge({
      repo,
      base: options.base,
      head: options.head,
      issue: options.issue === undefined ? null : issueIn(readInput(options.issue, session.cwd, '--issue')),
      policy: resolvePolicy(policyOf(options.policy, session.cwd) as Submission['policy']),
      signal: session.signal,
      onStart: () => {},
    }),
  );
  if (session.json) session.document(document);
  else if (asJson) session.say(JSON.stringify(document, null, 2));
  else for (const line of checkLines(document, session.palette)) session.say(line);
  return exitCodeOfVerdict(document.verdict);
}

function issueIn(text: string): { title: string; body: string } {
  const parsed = issueSchema.safeParse(parseIssue(text));
  if (parsed.success) return { title: parsed.data.title, body: parsed.data.body };
  const problem = parsed.error.issues[0];
  throw badInput(
    `--issue: ${problem?.path.join('.') ?? 'it'} ${problem?.message ?? 'cannot be used'}.`,
    'Give a file whose first line is the title of the issue.',
  );
}
