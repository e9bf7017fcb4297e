import { readFileSync } from 'node:fs';
import { CliError } from '../failure.js';

/**
 * The secret in a variable, or in the file that `<name>_FILE` names, without the line ends at its end; undefined when neither is set (empty
 * counts as not set). Throws CliError for a file that cannot be read and for a secret given both ways.
 */
export function secretFrom(
  env: NodeJS.ProcessEnv,
  name: 'PLUMB_API_TOKEN' | 'PLUMB_NATS_PASSWORD',
): string | undefined {
  const inFile = `${name}_FILE`;
  const value = env[name] ?? '';
  const path = env[inFile] ?? '';
  if (path === '') return value === '' ? undefined : value;
  if (value !== '') throw new CliError(`${name} and ${inFile} are both set.`, 'Keep one of them.');
  try {
    const text = readFileSync(path, 'utf8').replace(/[\r\n]+$/, '');
    return text === '' ? undefined : text;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CliError(
      `${inFile} names ${path}, which cannot be read (${code ?? 'unreadable'}).`,
      'Correct the path or its permissions.',
      { cause: error },
    );
  }
}
