import type { MigrationInterface, QueryRunner } from 'typeorm';
import { appendSql } from './append.sql.js';
import { artifactsSql } from './artifacts.sql.js';
import { leasesSql } from './leases.sql.js';
import { functionPrivilegesSql, tablePrivilegesSql } from './privileges.sql.js';
import { ownerRole, writerRole } from './roles.js';
import { sequenceSql } from './sequence.sql.js';
import { appendOnlySql, tablesSql } from './tables.sql.js';

/** The first schema of the event log: tables owned by one role, functions by another, and nobody who can rewrite an event. */
export class CreateEventLog1795219200000 implements MigrationInterface {
  readonly name = 'CreateEventLog1795219200000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`SET LOCAL ROLE ${ownerRole}`);
    await runner.query(tablesSql);
    await runner.query(appendOnlySql);
    await runner.query(tablePrivilegesSql);
    await runner.query(`GRANT CREATE ON SCHEMA es TO ${writerRole}`);
    await runner.query(`SET LOCAL ROLE ${writerRole}`);
    await runner.query(sequenceSql);
    await runner.query(appendSql);
    await runner.query(leasesSql);
    await runner.query(artifactsSql);
    await runner.query(functionPrivilegesSql);
    await runner.query(`SET LOCAL ROLE ${ownerRole}`);
    await runner.query(`REVOKE CREATE ON SCHEMA es FROM ${writerRole}`);
    await runner.query('RESET ROLE');
  }

  /** Events are never thrown away: going back means restoring a backup into another database. */
  async down(): Promise<void> {
    throw new Error('the event log cannot be migrated down: restore a backup into another database instead');
  }
}
