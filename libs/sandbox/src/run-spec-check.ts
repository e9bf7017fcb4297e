import { isAbsolute, normalize } from 'node:path';
import type { RunSpec } from './sandbox.js';

const RESERVED = ['/proc', '/sys', '/dev', '/etc', '/bin', '/sbin', '/lib', '/lib64', '/usr'];

/** Throws a `TypeError` that names the field when a specification is malformed: that is a bug of the caller, never of the judged code. */
export function assertRunSpec(spec: RunSpec): void {
  if (spec.argv.length === 0 || spec.argv[0] === '') throw new TypeError('argv: expected a program');
  for (const word of spec.argv) assertNoNul('argv', word);
  assertInside('cwd', spec.cwd);
  for (const mount of spec.mounts) assertMount(mount.host, mount.inside);
  for (const [name, value] of Object.entries(spec.env)) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
      throw new TypeError(`env: ${JSON.stringify(name)} is not a variable name`);
    assertNoNul(`env ${name}`, value);
  }
  for (const [name, figure] of Object.entries(spec.limits)) {
    if (!Number.isSafeInteger(figure) || figure <= 0)
      throw new TypeError(`limits.${name}: expected a positive whole number`);
  }
  // Callers outside TypeScript exist (configuration, messages); a sandbox with a network must be impossible to ask for by accident.
  if (spec.network !== 'none') throw new TypeError("network: only 'none' is offered");
}

function assertMount(host: string, inside: string): void {
  assertNoNul('mount', host);
  if (!isAbsolute(host)) throw new TypeError(`mount ${host}: the host path must be absolute`);
  assertInside('mount', inside);
  const reserved = RESERVED.find((path) => inside === path || inside.startsWith(`${path}/`));
  if (inside === '/' || reserved !== undefined) {
    throw new TypeError(
      `mount ${inside}: ${reserved ?? '/'} belongs to the sandbox; mount elsewhere, e.g. under /work or /opt`,
    );
  }
}

function assertInside(field: string, path: string): void {
  assertNoNul(field, path);
  if (!isAbsolute(path) || (normalize(path) !== path && path !== '/') || (path !== '/' && path.endsWith('/'))) {
    throw new TypeError(`${field}: ${JSON.stringify(path)} is not a plain absolute path`);
  }
}

function assertNoNul(field: string, text: string): void {
  if (text.includes('\0')) throw new TypeError(`${field}: contains a NUL character`);
}
