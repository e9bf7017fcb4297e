import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { dockerAnswers } from './docker-engine.js';
import { startTestPostgres } from './test-postgres.js';

it.skipIf(await dockerAnswers())('goes on with what was there when it was backed up, at the same address', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'plumb-test-backup-'));
  const postgres = await startTestPostgres();
  try {
    const { admin } = await postgres.createDatabase();
    const count = async (): Promise<string | undefined> =>
      (await admin.query<{ n: string }>('SELECT count(*) AS n FROM kept')).rows[0]?.n;
    await admin.query('CREATE TABLE kept (n int)');
    await admin.query('INSERT INTO kept VALUES (1)');
    await postgres.backUp(join(folder, 'backup'));
    await admin.query('INSERT INTO kept VALUES (2)');
    await postgres.restart();
    expect(await count()).toBe('2');
    await postgres.restore(join(folder, 'backup'));
    expect(await count()).toBe('1');
    await postgres.restore(join(folder, 'backup'));
    expect(await count()).toBe('1');
    await admin.end();
  } finally {
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});
