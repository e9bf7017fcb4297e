import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { policySchema } from '@plumbline/domain';
import { parse as parseYaml } from 'yaml';
import { badInput, CliError } from '../failure.js';

/** A shipped policy by its name, or the one in a file (YAML or JSON). Throws CliError that names the first thing wrong with it. */
export function policyOf(given: string, cwd: string): unknown {
  if (['strict', 'standard', 'advisory'].includes(given)) return given;
  let value: unknown;
  try {
    value = parseYaml(readInput(given, cwd, '--policy'), { maxAliasCount: 0 });
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw badInput(
      `The policy file ${given} is neither YAML nor JSON.`,
      'Correct it, or name strict, standard or advisory.',
    );
  }
  const parsed = policySchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw badInput(
    `The policy file ${given} is no policy: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}.`,
    'Correct that field, or name strict, standard or advisory.',
  );
}

/** A text file, or stdin for `-`. Throws CliError naming the option when it cannot be read. */
export function readInput(given: string, cwd: string, option: string): string {
  try {
    return readFileSync(given === '-' ? 0 : resolve(cwd, given), 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why =
      code === 'ENOENT'
        ? 'does not exist'
        : code === 'EISDIR'
          ? 'is a directory'
          : `cannot be read (${code ?? 'unknown'})`;
    throw badInput(`${option} is ${given}, which ${why}.`, 'Give the path of a text file.');
  }
}
