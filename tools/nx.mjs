/** Runs nx on the project's Node, without daemon, screens or stored results: what ran is what is true now. */
import { spawnSync } from 'node:child_process';
import { pathToFileURL } from 'node:url';
import { inRoot, projectEnv, projectNode, root } from './checkout.mjs';

/** The command line and environment that run nx with `args`. */
export function nxCommand(args) {
  const node = projectNode();
  const quiet = { NX_TUI: 'false', NX_DAEMON: 'false', NX_SKIP_NX_CACHE: 'true', NX_NO_CLOUD: 'true' };
  return {
    command: node.path,
    args: [inRoot('node_modules', 'nx', 'dist', 'bin', 'nx.js'), ...args],
    env: { ...projectEnv(node), ...quiet },
  };
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { command, args, env } = nxCommand(process.argv.slice(2));
  process.exitCode = spawnSync(command, args, { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] }).status ?? 1;
}
