import { randomUUID } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AppendRequest } from '@plumbline/domain';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FactSpool } from './fact-spool.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'plumb-spool-'))));
afterEach(() => rmSync(folder, { recursive: true }));
const file = (): string => join(folder, 'facts.jsonl');

const fact = (note: string, commandId: string = randomUUID()): AppendRequest => ({
  commandId,
  streams: [{ streamId: 'node-n1', events: [{ type: 'model.unreachable', data: { note } }] }],
});

async function drained(spool: FactSpool): Promise<AppendRequest[]> {
  const all: AppendRequest[] = [];
  for (let next = spool.oldest; next !== undefined; next = spool.oldest) {
    all.push(next);
    await spool.settle(next.commandId);
  }
  return all;
}

describe('FactSpool', () => {
  it('keeps facts in order over a crash, the same command each time, until they are settled', async () => {
    const facts = ['one', 'two', 'three ü\n"'].map((note) => fact(note));
    const first = await FactSpool.open(folder);
    for (const each of facts) await first.spool.add(each);
    await first.spool.settle(facts[0]?.commandId ?? '');
    // No close: the process is gone.
    const second = await FactSpool.open(folder);
    expect(second.setAside).toBe(0);
    expect(second.spool.pending).toBe(2);
    expect(await drained(second.spool)).toEqual(facts.slice(1));
    expect(statSync(file()).size).toBe(0);
    await Promise.all([first.spool.close(), second.spool.close()]);
  });

  it('is on disk, and readable by nobody else, when add resolves', async () => {
    const { spool } = await FactSpool.open(join(folder, 'deep', 'er'));
    await spool.add(fact('x'));
    expect(readFileSync(join(folder, 'deep', 'er', 'facts.jsonl'), 'utf8')).toMatch(/"note":"x".*\n$/);
    expect(statSync(join(folder, 'deep', 'er', 'facts.jsonl')).mode & 0o777).toBe(0o600);
    await spool.close();
  });

  it('forgets a line that a crash cut off, and goes on behind the last whole one', async () => {
    const { spool } = await FactSpool.open(folder);
    await spool.add(fact('whole'));
    await spool.close();
    const wholeBytes = statSync(file()).size;
    appendFileSync(file(), JSON.stringify({ fact: fact('cut ü') }).slice(0, -20));
    const again = await FactSpool.open(folder);
    expect([again.setAside, again.spool.pending]).toEqual([0, 1]);
    expect(statSync(file()).size).toBe(wholeBytes);
    await again.spool.add(fact('next'));
    await again.spool.close();
    const last = await FactSpool.open(folder);
    expect([last.setAside, last.spool.pending]).toEqual([0, 2]);
    await last.spool.close();
  });

  it('sets aside lines that cannot be read, and keeps the others', async () => {
    const good = fact('good');
    const lines = ['garbage', '{"fact":{"commandId":"no"}}', JSON.stringify({ fact: good }), '', '\u0000\u0000', '{}'];
    writeFileSync(file(), Buffer.concat([Buffer.from([0xff, 0xfe, 0x0a]), Buffer.from(`${lines.join('\n')}\n`)]));
    const sizeBytes = statSync(file()).size;
    const { spool, setAside } = await FactSpool.open(folder);
    expect(setAside).toBe(5);
    expect(statSync(file()).size).toBe(sizeBytes);
    expect(await drained(spool)).toEqual([good]);
    await spool.close();
    expect(readFileSync(join(folder, 'facts-set-aside.jsonl'), 'utf8')).toContain('garbage');
  });

  it('sets aside what the ledger never takes, with the reason', async () => {
    const { spool } = await FactSpool.open(folder);
    const bad = fact('bad');
    await spool.add(bad);
    await spool.setAside(bad, 'not yours');
    expect(spool.pending).toBe(0);
    await spool.close();
    expect(JSON.parse(readFileSync(join(folder, 'facts-set-aside.jsonl'), 'utf8'))).toEqual({
      why: 'not yours',
      fact: bad,
    });
    const again = await FactSpool.open(folder);
    expect(again.spool.pending).toBe(0);
    await again.spool.close();
  });

  it('rejects what it cannot write, and counts it as not there', async () => {
    const { spool } = await FactSpool.open(folder);
    await spool.add(fact('kept'));
    await spool.close();
    await expect(spool.add(fact('lost'))).rejects.toThrow();
    expect(spool.pending).toBe(1);
    expect(existsSync(join(folder, 'facts-set-aside.jsonl'))).toBe(false);
  });

  it('holds after any history of adds, settlements and crashes at any byte exactly what was added and not settled', async () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('add' as const), note: fc.string({ unit: 'binary' }) }),
      fc.record({ do: fc.constant('settle' as const), nth: fc.nat(20) }),
      fc.record({ do: fc.constant('crash' as const), torn: fc.nat(60) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        rmSync(file(), { force: true });
        let { spool } = await FactSpool.open(folder);
        let expected: AppendRequest[] = [];
        for (const each of steps) {
          if (each.do === 'add') {
            const added = fact(each.note);
            await spool.add(added);
            expected.push(added);
          } else if (each.do === 'settle') {
            const settled = expected[each.nth % Math.max(1, expected.length)];
            if (settled === undefined) continue;
            await spool.settle(settled.commandId);
            expected = expected.filter(({ commandId }) => commandId !== settled.commandId);
          } else {
            await spool.close();
            const torn = JSON.stringify({ fact: fact('never promised') }).slice(0, each.torn);
            appendFileSync(file(), torn);
            const reopened = await FactSpool.open(folder);
            expect(reopened.setAside).toBe(0);
            spool = reopened.spool;
          }
          expect(spool.pending).toBe(expected.length);
          expect(spool.oldest).toEqual(expected[0]);
        }
        await spool.close();
        const { spool: last } = await FactSpool.open(folder);
        expect(await drained(last)).toEqual(expected);
        await last.close();
      }),
      { seed: 5, numRuns: 60 },
    );
  });

  it('sends again, and loses nothing, when a settlement did not reach the disk', async () => {
    const { spool } = await FactSpool.open(folder);
    const facts = [fact('a'), fact('b')];
    for (const each of facts) await spool.add(each);
    const sizeBytes = statSync(file()).size;
    await spool.settle(facts[0]?.commandId ?? '');
    await spool.close();
    truncateSync(file(), sizeBytes);
    const again = await FactSpool.open(folder);
    expect(await drained(again.spool)).toEqual(facts);
    await again.spool.close();
  });
});
