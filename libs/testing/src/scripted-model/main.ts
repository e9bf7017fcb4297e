import { parseArgs } from 'node:util';
import { loadScenarios, ScenarioError } from './scenario.js';
import { startScriptedModel } from './server.js';

const USAGE = 'usage: main.js --scenario FILE|DIR [--port 0] [--host 127.0.0.1]';

/**
 * Runs the server until SIGTERM or SIGINT; one JSON line on stdout once it listens. Exit code 2 for bad arguments or
 * scenarios.
 */
async function main(): Promise<void> {
  const { scenario, port, host } = readArguments();
  const server = await startScriptedModel({ scenarios: loadScenarios(scenario), port, host });
  process.stdout.write(`${JSON.stringify({ url: server.url, scenarios: server.scenarios })}\n`);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void server.stop());
}

function readArguments(): { scenario: string; port: number; host: string } {
  const { values } = parseArgs({
    options: {
      scenario: { type: 'string' },
      port: { type: 'string', default: '0' },
      host: { type: 'string', default: '127.0.0.1' },
    },
  });
  const port = Number(values.port);
  if (values.scenario === undefined) throw new TypeError('--scenario is missing');
  if (!/^\d+$/.test(values.port) || port > 65_535) throw new TypeError(`--port is ${values.port}; expected 0 to 65535`);
  return { scenario: values.scenario, port, host: values.host };
}

main().catch((error: unknown) => {
  const mistake = error instanceof ScenarioError || error instanceof TypeError;
  process.stderr.write(mistake ? `${error.message}\n${USAGE}\n` : `${String(error)}\n`);
  process.exitCode = mistake ? 2 : 1;
});
