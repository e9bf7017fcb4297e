import type { MigrationInterface, QueryRunner } from 'typeorm';
import { ledgerGroup, ownerRole, writerRole } from './roles.js';

const columnsSql = `
ALTER TABLE es.log_head
  -- Where this log lives; null until somebody looked for the first time.
  ADD COLUMN origin text,
  ADD COLUMN epoch_number int NOT NULL DEFAULT 1,
  ADD COLUMN epoch_why text,
  -- Every lease epoch granted from now on is above this one.
  ADD COLUMN lease_floor bigint NOT NULL DEFAULT 0;
`;

/**
 * An epoch is one numbering of the log. A log that was restored, copied or failed over may lack its last events and will give their
 * positions to others, so whoever kept a position of the old numbering has to learn that it means nothing any more.
 *
 * The head's trigger compares where the log was last written with where it is now, in the transaction that numbers: however the log came
 * here, nothing is numbered under the old epoch. Leases are compared again at each grant, since a step may be given out before anything is
 * numbered. The cluster's identifier is new after initdb, the timeline after a promotion or a recovery to a point in time, the database's
 * or the table's oid after a restore of a dump into an old cluster.
 */
const functionsSql = `
CREATE FUNCTION es.origin() RETURNS text LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_system text := 'unknown';
BEGIN
  -- Readable to everybody unless an administrator took that away; what is left still tells a restored dump and a promotion.
  IF has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') THEN
    SELECT c.system_identifier::text INTO v_system FROM pg_control_system() c;
  END IF;
  RETURN format('cluster %s, timeline %s, database %s, table %s', v_system,
    ltrim(left(pg_walfile_name(pg_current_wal_insert_lsn()), 8), '0'),
    (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()), 'es.log_head'::regclass::oid);
END $$;

CREATE FUNCTION es.guard_epoch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_origin text := es.origin();
BEGIN
  IF NEW.epoch = OLD.epoch AND OLD.origin <> v_origin THEN
    NEW.epoch := gen_random_uuid();
    NEW.epoch_why := format('the log was written at %s and is now at %s', OLD.origin, v_origin);
  END IF;
  NEW.origin := v_origin;
  IF NEW.epoch <> OLD.epoch THEN
    NEW.epoch_number := OLD.epoch_number + 1;
    -- At random, because the same backup may be restored twice, and each time other leases are lost with what came after it.
    NEW.lease_floor := greatest(OLD.lease_floor, (SELECT coalesce(max(l.epoch), 0) FROM es.step_lease l))
                       + 1 + floor(random() * 1099511627776)::bigint;
    PERFORM es.record('log', 'log', 'log.epoch-started', json_build_object(
      'epoch', NEW.epoch, 'number', NEW.epoch_number, 'previousEpoch', OLD.epoch, 'afterPosition', OLD.pos,
      'chainHash', encode(OLD.chain_hash, 'hex'), 'why', coalesce(NEW.epoch_why, 'not said')), '{"actor":"ledger"}');
  END IF;
  RETURN NEW;
END $$;

-- True when this look started a new epoch.
CREATE FUNCTION es.keep_epoch() RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_before es.log_head;
  v_after uuid;
BEGIN
  IF (SELECT h.origin = es.origin() FROM es.log_head h) THEN
    RETURN false;
  END IF;
  SELECT * INTO v_before FROM es.log_head FOR UPDATE;
  UPDATE es.log_head SET pos = pos RETURNING epoch INTO v_after;
  RETURN v_after <> v_before.epoch;
END $$;

-- True when this call started it; false when the log is not in the expected epoch (any more).
CREATE FUNCTION es.start_epoch(p_expected uuid, p_why text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE es.log_head SET epoch = gen_random_uuid(), epoch_why = left(p_why, 1000) WHERE epoch = p_expected;
  RETURN FOUND;
END $$;

CREATE FUNCTION es.raise_lease_epoch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM es.keep_epoch();
  SELECT greatest(NEW.epoch, h.lease_floor + 1) INTO NEW.epoch FROM es.log_head h;
  RETURN NEW;
END $$;

REVOKE EXECUTE ON FUNCTION es.origin(), es.guard_epoch(), es.keep_epoch(), es.start_epoch(uuid, text), es.raise_lease_epoch() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION es.keep_epoch(), es.start_epoch(uuid, text) TO ${ledgerGroup};
-- Only to attach the triggers; firing them takes no right.
GRANT EXECUTE ON FUNCTION es.guard_epoch(), es.raise_lease_epoch() TO ${ownerRole};
`;

const triggersSql = `
CREATE TRIGGER guard_epoch BEFORE UPDATE ON es.log_head FOR EACH ROW EXECUTE FUNCTION es.guard_epoch();
CREATE TRIGGER raise_lease_epoch BEFORE UPDATE ON es.step_lease FOR EACH ROW WHEN (NEW.epoch <> OLD.epoch)
  EXECUTE FUNCTION es.raise_lease_epoch();
ALTER TABLE es.log_head ENABLE ALWAYS TRIGGER guard_epoch;
ALTER TABLE es.step_lease ENABLE ALWAYS TRIGGER raise_lease_epoch;
`;

/** Lets a log notice that it was restored, copied or failed over, and fence whoever worked for what was lost. */
export class LogEpochs1795312800000 implements MigrationInterface {
  readonly name = 'LogEpochs1795312800000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`SET LOCAL ROLE ${ownerRole}`);
    await runner.query(columnsSql);
    await runner.query(`GRANT CREATE ON SCHEMA es TO ${writerRole}`);
    await runner.query(`SET LOCAL ROLE ${writerRole}`);
    await runner.query(functionsSql);
    await runner.query(`SET LOCAL ROLE ${ownerRole}`);
    await runner.query(triggersSql);
    await runner.query(`REVOKE CREATE ON SCHEMA es FROM ${writerRole}`);
    await runner.query('RESET ROLE');
  }

  /** Events are never thrown away: going back means restoring a backup into another database. */
  async down(): Promise<void> {
    throw new Error('the event log cannot be migrated down: restore a backup into another database instead');
  }
}
