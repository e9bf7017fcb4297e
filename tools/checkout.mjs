/** Where things are in this checkout, and which Node runs it. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const inRoot = (...parts) => join(root, ...parts);

/** What set-up found, one `name path` per line; `./plumb` reads it to know whether set-up is needed. */
export const readyStamp = inRoot('.tools', 'ready');
export const buildStamp = inRoot('.tools', 'built');
export const lockStamp = inRoot('node_modules', '.plumbline-lock');

const NODE_MAJOR_MIN = 22;

/** The Node that runs the project: the one in node_modules when it runs here, else the current one if new enough. */
export function projectNode() {
  const bundled = inRoot('node_modules', `node-${process.platform}-${process.arch}`, 'bin', 'node');
  if (existsSync(bundled)) {
    try {
      return { path: bundled, version: execFileSync(bundled, ['--version'], { encoding: 'utf8' }).trim() };
    } catch {
      // Built for another C library (Alpine): the current Node may still do.
    }
  }
  if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR_MIN)
    return { path: process.execPath, version: process.version };
  const wanted = readFileSync(inRoot('.nvmrc'), 'utf8').trim();
  throw new SetupError(
    `Node ${process.version} is too old to run this project and node_modules has no Node for ${process.platform}-${process.arch}: ` +
      `install Node ${wanted} (or any from ${NODE_MAJOR_MIN}) and run this again.`,
  );
}

/** The environment of everything we start: our Node and our binaries first. */
export function projectEnv(node) {
  return {
    ...process.env,
    PATH: [dirname(node.path), inRoot('node_modules', '.bin'), process.env.PATH ?? ''].join(delimiter),
  };
}

/** Set-up cannot go on. The message is the one sentence the user needs; `output` is what the failing command said. */
export class SetupError extends Error {
  constructor(message, output = '') {
    super(message);
    this.name = 'SetupError';
    this.output = output;
  }
}
