import { hostname } from 'node:os';
import type { ServiceName } from '@plumbline/domain';
import { parseFailpoints, type ArmedFailpoint } from '@plumbline/failpoint';
import { z } from 'zod';
import { envInteger, envUrl, parseEnv, readSecretFiles, type Env, type ParsedEnv } from './env.js';

/** What every service is told, whichever it is. */
export interface HostConfig {
  readonly nats: { readonly url: string; readonly user: string; readonly password: string };
  /** Port 0 takes a free one; the `ready` line says which. */
  readonly http: { readonly host: string; readonly port: number };
  readonly logLevel: LogLevel;
  /** Tells replicas apart. */
  readonly instance: string;
  /** Who holds a lease: `<service>/<instance>`. */
  readonly holder: string;
  /** Root of an OTLP/HTTP collector; absent: spans are handed on but not exported. */
  readonly otlpEndpoint?: string;
  /** Where this process is to die or to stop; none in a system that works for somebody. */
  readonly failpoints: readonly ArmedFailpoint[];
}

export const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

const envFailpoints = z.string().transform((text, context) => {
  try {
    return parseFailpoints(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : String(error) });
    return z.NEVER;
  }
});

const hostSchema = (service: ServiceName) =>
  z
    .object({
      PLUMB_NATS_URL: envUrl(['nats:', 'tls:'], 'nats://127.0.0.1:4222').refine(
        (url) => URL.parse(url)?.password === '',
        'it holds a password; give that as PLUMB_NATS_PASSWORD or PLUMB_NATS_PASSWORD_FILE',
      ),
      PLUMB_NATS_USER: z.string().default(service),
      PLUMB_NATS_PASSWORD: z.string('expected the password of the NATS user, or PLUMB_NATS_PASSWORD_FILE instead'),
      PLUMB_HTTP_HOST: z.string().default('127.0.0.1'),
      PLUMB_HTTP_PORT: envInteger({ min: 0, max: 65_535 }).default(0),
      PLUMB_LOG_LEVEL: z.enum(logLevels, `expected one of ${logLevels.join(', ')}`).default('info'),
      PLUMB_INSTANCE: z
        .string()
        .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,149}$/, 'expected 1-150 of A-Z a-z 0-9 . _ -')
        .default(() => defaultInstance()),
      OTEL_EXPORTER_OTLP_ENDPOINT: envUrl(['http:', 'https:'], 'http://127.0.0.1:4318').optional(),
      PLUMB_FAILPOINTS: envFailpoints.default([]),
    })
    .transform((env): HostConfig => ({
      nats: { url: env.PLUMB_NATS_URL, user: env.PLUMB_NATS_USER, password: env.PLUMB_NATS_PASSWORD },
      http: { host: env.PLUMB_HTTP_HOST, port: env.PLUMB_HTTP_PORT },
      logLevel: env.PLUMB_LOG_LEVEL,
      instance: env.PLUMB_INSTANCE,
      holder: `${service}/${env.PLUMB_INSTANCE}`,
      failpoints: env.PLUMB_FAILPOINTS,
      ...(env.OTEL_EXPORTER_OTLP_ENDPOINT === undefined ? {} : { otlpEndpoint: env.OTEL_EXPORTER_OTLP_ENDPOINT }),
    }));

/** A host name may hold what an instance name must not. */
const defaultInstance = (): string =>
  `${
    hostname()
      .replace(/[^A-Za-z0-9._-]/g, '-')
      .replace(/^[._-]+/, '') || 'host'
  }-${process.pid}`.slice(-150);

/** Both halves of a service's configuration, and the values that must never be written anywhere. */
export interface Configured<Own> {
  readonly host: HostConfig;
  readonly own: Own;
  readonly secrets: readonly string[];
}

/** Reads the configuration of a service; all problems of both halves at once. */
export function configure<Own>(service: ServiceName, own: z.ZodType<Own>, given: Env): ParsedEnv<Configured<Own>> {
  const { env, problems } = readSecretFiles(given);
  const host = parseEnv(hostSchema(service), env);
  const rest = parseEnv(own, env);
  if (!host.ok) problems.push(...host.problems);
  if (!rest.ok) problems.push(...rest.problems);
  if (!host.ok || !rest.ok || problems.length > 0) return { ok: false, problems };
  return { ok: true, config: { host: host.config, own: rest.config, secrets: secretsOf(env) } };
}

/** Values of PLUMB_ variables that are secrets by their name, and the passwords inside PLUMB_ URLs. */
export function secretsOf(env: Env): string[] {
  const found = Object.entries(env).flatMap(([name, value]) => {
    if (value === undefined || !name.startsWith('PLUMB_')) return [];
    if (/_(PASSWORD|TOKEN|SECRET|KEY)$/.test(name)) return [value];
    const password = name.endsWith('_URL') ? (URL.parse(value)?.password ?? '') : '';
    return password === '' ? [] : [password, decodeURIComponent(password)];
  });
  return [...new Set(found)];
}
