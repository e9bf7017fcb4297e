import type { OfferedModel } from '@plumbline/domain';
import { describe, expect, it } from 'vitest';
import type { EndpointFinding } from './endpoint-probe.js';
import { ModelWatch } from './model-watch.js';

const model = (name: string, endpoint = 'http://127.0.0.1:1'): OfferedModel => ({
  name,
  family: 'f',
  tier: 1,
  runtime: 'llamacpp',
  endpoint,
  pool: 'host',
  bytes: 1,
  slots: 1,
  seats: ['coder'],
});
const serves = (...names: string[]): EndpointFinding => ({ outcome: 'serves', names });

describe('ModelWatch', () => {
  it('tells a model by its own name, and asks an endpoint once for all its models', async () => {
    const asked: string[] = [];
    const watch = new ModelWatch([model('a'), model('b'), model('c', 'http://127.0.0.1:2')], (endpoint) => {
      asked.push(endpoint);
      return Promise.resolve(endpoint.endsWith('1') ? serves('a') : serves());
    });
    const findings = await watch.round();
    expect(asked).toEqual(['http://127.0.0.1:1', 'http://127.0.0.1:2']);
    expect(findings.map(({ state }) => state)).toEqual(['ready', 'not-served', 'not-served']);
    expect(findings[1]?.why).toBe(
      'http://127.0.0.1:1 serves "a", not b; start the server with that alias, or offer it by its own name',
    );
    expect(findings[2]?.why).toContain('serves no model, not c');
  });

  it('reports changes only, and again until they are recorded', async () => {
    let answer: EndpointFinding = serves('a');
    const watch = new ModelWatch([model('a')], () => Promise.resolve(answer));
    const states = async (): Promise<string[]> => watch.changed(await watch.round()).map(({ state }) => state);
    expect(await states()).toEqual(['ready']);
    expect(await states()).toEqual(['ready']);
    watch.recorded(await watch.round());
    expect(await states()).toEqual([]);
    answer = { outcome: 'unreachable', why: 'gone' };
    expect(await states()).toEqual(['unreachable']);
    watch.recorded(await watch.round());
    answer = { outcome: 'unreachable', why: 'gone for another reason' };
    expect(await states()).toEqual([]);
    answer = { outcome: 'loading', why: 'coming' };
    expect(await states()).toEqual(['loading']);
  });

  it('keeps what strangers say short and printable', async () => {
    const watch = new ModelWatch([model('a')], () => Promise.resolve(serves(`x\u001b[31m\n${'y'.repeat(5_000)}`)));
    const [finding] = await watch.round();
    expect(finding?.why.length).toBeLessThanOrEqual(500);
    expect(finding?.why).not.toMatch(/\p{C}/u);
    const loud = new ModelWatch([model('a')], () =>
      Promise.resolve({ outcome: 'unreachable', why: `\u0000${'z'.repeat(9_000)}` }),
    );
    const [other] = await loud.round();
    expect(other?.why).toMatch(/^ z{499}$/);
  });
});
