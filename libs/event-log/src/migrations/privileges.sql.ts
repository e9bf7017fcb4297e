import { ledgerGroup, ownerRole, writerRole } from './roles.js';

/** Who may do what. Run as the owner, after the tables and before the functions. */
export const tablePrivilegesSql = `
GRANT USAGE ON SCHEMA es TO ${writerRole}, ${ledgerGroup};
GRANT SELECT ON es.stream, es.event, es.pending, es.log, es.log_head, es.command_result, es.step_lease, es.timer,
  es.checkpoint, es.parked, es.artifact, es.artifact_chunk TO ${ledgerGroup}, ${writerRole};
-- Even the owner's own right to write facts is gone: only the functions, running as the writer, can append.
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON es.event, es.log FROM ${ownerRole};
GRANT INSERT ON es.event, es.log, es.command_result TO ${writerRole};
GRANT INSERT, DELETE ON es.pending TO ${writerRole};
GRANT UPDATE ON es.log_head TO ${writerRole};
GRANT INSERT, UPDATE, DELETE ON es.stream, es.step_lease, es.timer TO ${writerRole};
GRANT INSERT, UPDATE ON es.artifact TO ${writerRole};
GRANT DELETE ON es.artifact_chunk TO ${writerRole};
-- Upload chunks are worthless until es.finish_artifact names them; checkpoints and parked events can be rebuilt.
GRANT INSERT ON es.artifact_chunk TO ${ledgerGroup};
GRANT INSERT, UPDATE, DELETE ON es.checkpoint, es.parked TO ${ledgerGroup};
`;

/** Run as the writer, which owns the functions: the ledger may call the doors and not what lies behind them. */
export const functionPrivilegesSql = `
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA es FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
  es.append(uuid[], text[], int[], text[], text[], int[], int[], int[], int[], uuid[], text[], int[], text[], text[], timestamptz[], jsonb),
  es.claim(text, text, text, bigint, json, text, text),
  es.heartbeat(text, text, bigint, text, bigint, json),
  es.release_lease(text, text, bigint, text, json, text),
  es.expire_leases(int, text),
  es.fire_timers(int, text),
  es.sequence(int),
  es.instant(timestamptz),
  es.finish_artifact(text, uuid, text, bigint, bigint, text, int),
  es.prune_artifacts(text[])
TO ${ledgerGroup};
`;
