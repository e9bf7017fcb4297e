import { readFileSync, statSync } from 'node:fs';
import { webhooksSchema } from '@plumbline/domain';
import { badInput } from '../failure.js';

const mend = 'Correct the file (docs/overnight.md says what it holds), or start with `--webhooks none`.';

/**
 * Checks the file that `plumb up --webhooks` names, as the ledger will. Returns a warning when others may read the secrets in it. Throws
 * CliError that names the first thing wrong; values are never quoted, for they are secrets.
 */
export function checkWebhooksFile(path: string): string | undefined {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw badInput(`The webhooks in ${path} ${code === undefined ? 'are no JSON' : `cannot be read (${code})`}.`, mend);
  }
  const issue = webhooksSchema.safeParse(value).error?.issues[0];
  if (issue !== undefined)
    throw badInput(
      `The webhooks in ${path} are wrong at ${issue.path.join('.') || 'the top'}: expected ${issue.message}.`,
      mend,
    );
  if ((statSync(path).mode & 0o077) === 0) return undefined;
  return `Others on this machine may read the secrets in ${path}; \`chmod 600\` keeps them to you.`;
}
