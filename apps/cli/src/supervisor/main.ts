import { supervisorInputSchema, type SupervisorMessage } from './protocol.js';
import { planOf, supervise } from './supervise.js';

/** The process behind `plumb up`. Its stdout is supervisor.log; whoever started it hears the start over the process's channel. */
async function main(): Promise<number> {
  const input = supervisorInputSchema.parse(JSON.parse(process.argv[2] ?? 'null'));
  const stop = new AbortController();
  const kill = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => (stop.signal.aborted ? kill : stop).abort());
  }
  const tell = (message: SupervisorMessage): void => {
    process.stdout.write(`${JSON.stringify({ at: new Date().toISOString(), ...message })}\n`);
    // Whoever started us may be gone; the system goes on.
    if (process.connected) process.send?.(message, undefined, undefined, () => {});
  };
  const wasUp = await supervise(planOf(input, process.env), tell, { stop: stop.signal, kill: kill.signal });
  if (process.connected) process.disconnect();
  return wasUp ? 0 : 1;
}

process.exitCode = await main();
