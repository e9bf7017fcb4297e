import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestBroker } from '../../../libs/bus/src/nats.fixture.js';
import { ServiceUnderTest } from '../../../libs/host/src/service-under-test.fixture.js';
import { reviewerMetrics } from './metrics.js';

const main = new URL('./main.ts', import.meta.url).href;
let broker: TestBroker;

beforeAll(async () => {
  broker = await TestBroker.start();
  await broker.ledger();
});
afterAll(() => broker.close());

describe('the reviewer as a service', () => {
  it('starts, says what it does, and leaves when asked', async () => {
    const reviewer = new ServiceUnderTest(main, {
      PLUMB_NATS_URL: `nats://${broker.url}`,
      PLUMB_NATS_PASSWORD: broker.passwords.reviewer,
      PLUMB_LEDGER_URL: 'http://127.0.0.1:1/',
      PLUMB_LEDGER_TOKEN: 'token-of-the-ledger',
      PLUMB_CONCURRENCY: '2',
    });
    const url = await reviewer.ready();
    const report = (await (await fetch(`${url}/ready`)).json()) as { checks: Record<string, { detail: string }> };
    expect(report.checks['steps']?.detail).toBe('0 steps in hand');
    const page = await (await fetch(`${url}/metrics`)).text();
    for (const { name } of reviewerMetrics) expect(page).toContain(`# TYPE ${name} `);
    reviewer.signal('SIGTERM');
    expect(await reviewer.exit).toBe(0);
    expect(reviewer.stderr).toBe('');
  });
});
