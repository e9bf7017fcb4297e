import type { ToolDefinition } from '@plumbline/model';
import { z } from 'zod';
import { decline } from './decline.js';
import { listDir } from './list-dir.js';
import { readFile } from './read-file.js';
import { run } from './run.js';
import { search } from './search.js';
import { strReplace } from './str-replace.js';
import { submit } from './submit.js';
import type { Tool } from './tool.js';
import { writeFile } from './write-file.js';

/** Every tool, in the order offered. The order is frozen over a run: servers cache by prefix. */
export const tools = [readFile, search, listDir, strReplace, writeFile, run, submit, decline] as readonly Tool[];

/**
 * The tools as the model is told of them. Lengths are checked here but not offered: servers turn a schema into a grammar, and a long
 * bound into that many rules, or into a refusal (llama.cpp limits repetitions).
 */
export const toolDefinitions: readonly ToolDefinition[] = tools.map(({ name, description, parameters }) => {
  const { $schema: _, ...schema } = z.toJSONSchema(parameters, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      delete jsonSchema.minLength;
      delete jsonSchema.maxLength;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
    },
  });
  return { name, description, parameters: schema };
});
