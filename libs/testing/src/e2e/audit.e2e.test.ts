import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sampleFolder } from './sample-origin.js';
import { WholeSystem } from './whole-system.js';

let whole: WholeSystem;

beforeAll(async () => {
  whole = await WholeSystem.start();
}, 120_000);
afterAll(() => whole?.stop());

interface Said {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs `plumb audit` as a person would, told where the ledger is by the environment alone. */
function audit(...more: string[]): Promise<Said> {
  const entry = join(sampleFolder, '../dist/main.js');
  const env = {
    PATH: process.env['PATH'],
    PLUMB_HOME: join(whole.folder, 'home'),
    PLUMB_API_URL: whole.system.ledgerUrl,
    PLUMB_API_TOKEN: whole.system.apiToken,
  };
  return new Promise((resolve) => {
    execFile(process.execPath, [entry, 'audit', ...more], { env, timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
    });
  });
}

/** Changes a row as only a superuser can, who switches the trigger off that refuses it. */
async function tamper(change: string, values: unknown[]): Promise<void> {
  const { admin } = whole.system.database;
  await expect(admin.query(change, values)).rejects.toThrow(/append-only/);
  await admin.query('ALTER TABLE es.event DISABLE TRIGGER append_only');
  const { rowCount } = await admin.query(change, values);
  await admin.query('ALTER TABLE es.event ENABLE ALWAYS TRIGGER append_only');
  expect(rowCount).toBe(1);
}

describe('plumb audit', () => {
  it('says ok after a run, and names the one event of which a superuser changed one byte', async () => {
    const taskId = await whole.submit('fix');
    await whole.event(taskId, 'task.closed', { timeoutMs: 90_000 });
    const verdict = await whole.event(taskId, 'verdict.reached');
    const sound = await audit();
    expect([sound.code, sound.stderr]).toEqual([0, expect.any(String)]);
    expect(sound.stdout).toMatch(/chain unbroken/);

    const { rows } = await whole.system.database.admin.query<{ ingest_id: string; data: string }>(
      `SELECT e.ingest_id, e.data::text AS data FROM es.event e JOIN es.log l ON l.ingest_id = e.ingest_id WHERE l.pos = $1`,
      [verdict.pos],
    );
    const original = rows[0]?.data ?? '';
    const forged = original.replace('"GO"', '"G0"');
    expect(Buffer.byteLength(forged)).toBe(Buffer.byteLength(original));
    expect(forged).not.toBe(original);
    const change = 'UPDATE es.event SET data = $1::json WHERE ingest_id = $2';
    await tamper(change, [forged, rows[0]?.ingest_id]);

    const found = await audit();
    expect([found.code, found.stdout]).toEqual([1, expect.stringContaining(`first bad position is ${verdict.pos}:`)]);
    const document = JSON.parse((await audit('--json')).stdout) as { ok: boolean; firstBad?: { position: number } };
    expect(document).toMatchObject({ ok: false, firstBad: { position: verdict.pos } });

    await tamper(change, [original, rows[0]?.ingest_id]);
    expect((await audit()).code).toBe(0);
  }, 150_000);
});
