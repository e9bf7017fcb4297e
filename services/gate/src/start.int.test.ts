import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { TestBroker } from '../../../libs/bus/src/nats.fixture.js';

const hooks = './libs/host/src/typescript-hooks.fixture.mjs';

describe('the processes of gate and code-host', () => {
  it.each(['gate', 'code-host'] as const)(
    '%s becomes ready with a real broker and its permissions, and leaves when told',
    async (service) => {
      const broker = await TestBroker.start();
      const child = spawn(
        process.execPath,
        ['--conditions=@plumbline/source', '--import', hooks, `services/${service}/src/main.ts`],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
          env: {
            ...{
              PATH: process.env['PATH'],
              PLUMB_NATS_URL: `nats://${broker.url}`,
              PLUMB_NATS_PASSWORD: broker.passwords[service],
            },
            ...{ PLUMB_LEDGER_URL: 'http://127.0.0.1:9', PLUMB_LEDGER_TOKEN: 'token-of-tests' },
          },
        },
      );
      try {
        let log = '';
        for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
          log += chunk.toString();
          if (log.includes('"msg":"ready"') && !log.includes('"leaving"') && !child.killed) child.kill('SIGTERM');
        }
        expect(log).toContain('"msg":"ready"');
        expect(child.exitCode ?? (await once(child, 'exit'))[0]).toBe(0);
      } finally {
        child.kill('SIGKILL');
        await broker.close();
      }
    },
  );
});
