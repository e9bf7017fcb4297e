import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { Home } from './home.js';
import { readJson, writePrivateJson } from './private-file.js';

const portSchema = z.int().min(1).max(65_535);

const modelSchema = z.object({ url: z.string(), name: z.string().optional() });

/** What a system keeps from one start to the next. `asked` ports were named by a person and are never silently replaced. */
export const settingsSchema = z.object({
  model: modelSchema.optional(),
  /** Who reviews, when that is not the model that codes. */
  reviewer: modelSchema.optional(),
  /** The file with the webhooks, by its absolute path; its secrets stay there. */
  webhooks: z.string().optional(),
  ports: z
    .partialRecord(z.enum(['api', 'nats', 'postgres']), z.object({ port: portSchema, asked: z.boolean() }))
    .default({}),
});
export type Settings = z.infer<typeof settingsSchema>;
export type PortName = keyof Settings['ports'];
export const portNames: readonly PortName[] = ['api', 'nats', 'postgres'];

/** The settings of a home; the defaults when there are none or they cannot be read. */
export function readSettings(home: Home): Settings {
  const parsed = settingsSchema.safeParse(readJson(home.settingsFile));
  return parsed.success ? parsed.data : { ports: {} };
}

/** Replaces the settings. */
export function writeSettings(home: Home, settings: Settings): void {
  writePrivateJson(home.settingsFile, settings);
}

const secretsSchema = z.record(z.string(), z.string().min(16));

/** The passwords of a home by name, made on first use and kept: the database was made with one of them. */
export function secretsOf(home: Home, names: readonly string[]): Record<string, string> {
  const parsed = secretsSchema.safeParse(readJson(home.secretsFile));
  const known = parsed.success ? parsed.data : {};
  const missing = names.filter((name) => known[name] === undefined);
  if (missing.length === 0) return known;
  const secrets = { ...known };
  // Letters and digits only: no place they end up in (URLs, configuration, SQL, environment) has to escape them.
  for (const name of missing) secrets[name] = randomBytes(24).toString('hex');
  writePrivateJson(home.secretsFile, secrets);
  return secrets;
}
