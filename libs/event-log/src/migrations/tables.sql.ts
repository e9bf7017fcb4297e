/** Tables of schema `es`. Run as the owner role. Text keys compare bytewise, so a new libc cannot corrupt their indexes. */
export const tablesSql = `
CREATE TABLE es.stream (
  stream_id text COLLATE "C" PRIMARY KEY,
  category  text COLLATE "C" NOT NULL,
  version   int  NOT NULL CHECK (version >= 1)
) WITH (fillfactor = 70);

CREATE TABLE es.event (
  ingest_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  event_id       uuid NOT NULL UNIQUE,
  stream_id      text COLLATE "C" NOT NULL,
  category       text COLLATE "C" NOT NULL,
  version        int  NOT NULL CHECK (version >= 1),
  type           text COLLATE "C" NOT NULL,
  schema_version int  NOT NULL CHECK (schema_version >= 1),
  data           json NOT NULL,
  meta           json NOT NULL,
  occurred_at    timestamptz NOT NULL,
  recorded_at    timestamptz NOT NULL,
  UNIQUE (stream_id, version)
);

-- A queue, not a cursor: an event waits here, committed, until the sequencer numbers it.
CREATE TABLE es.pending (ingest_id bigint PRIMARY KEY) WITH (
  autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_cost_delay = 0);

CREATE TABLE es.log (
  pos          bigint PRIMARY KEY CHECK (pos >= 1),
  ingest_id    bigint NOT NULL UNIQUE,
  chain_hash   bytea  NOT NULL CHECK (octet_length(chain_hash) = 32),
  sequenced_at timestamptz NOT NULL
);

CREATE TABLE es.log_head (
  singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  epoch      uuid   NOT NULL,
  pos        bigint NOT NULL,
  chain_hash bytea  NOT NULL
) WITH (fillfactor = 10);

CREATE TABLE es.command_result (
  command_id   uuid PRIMARY KEY,
  request_hash bytea NOT NULL,
  recorded_at  timestamptz NOT NULL
);

CREATE TABLE es.step_lease (
  task_id    text COLLATE "C" NOT NULL,
  step       text COLLATE "C" NOT NULL,
  stream_id  text COLLATE "C" NOT NULL,
  category   text COLLATE "C" NOT NULL,
  state      text NOT NULL CHECK (state IN ('open', 'held', 'done', 'closed')),
  epoch      bigint NOT NULL DEFAULT 0,
  holder     text,
  ttl_ms     bigint,
  expires_at timestamptz,
  heartbeat_at timestamptz,
  progress   json,
  meta       json,
  changed_at timestamptz NOT NULL,
  PRIMARY KEY (task_id, step),
  CHECK (state <> 'held' OR (holder IS NOT NULL AND ttl_ms IS NOT NULL AND expires_at IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX step_lease_expiry ON es.step_lease (expires_at) WHERE state = 'held';
CREATE INDEX step_lease_open ON es.step_lease (changed_at) WHERE state = 'open';

CREATE TABLE es.timer (
  timer_id  text COLLATE "C" PRIMARY KEY,
  stream_id text COLLATE "C" NOT NULL,
  category  text COLLATE "C" NOT NULL,
  kind      text NOT NULL,
  due_at    timestamptz NOT NULL,
  data      json NOT NULL,
  meta      json NOT NULL
);
CREATE INDEX timer_due ON es.timer (due_at);
CREATE INDEX timer_stream ON es.timer (stream_id);

CREATE TABLE es.checkpoint (
  projector  text COLLATE "C" NOT NULL,
  generation text COLLATE "C" NOT NULL CHECK (generation IN ('live', 'next')),
  version    int    NOT NULL,
  pos        bigint NOT NULL,
  log_epoch  uuid   NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (projector, generation)
) WITH (fillfactor = 50);

CREATE TABLE es.parked (
  projector  text COLLATE "C" NOT NULL,
  generation text COLLATE "C" NOT NULL,
  pos        bigint NOT NULL,
  stream_id  text COLLATE "C" NOT NULL,
  error      text,
  attempts   int NOT NULL,
  parked_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (projector, generation, pos)
);
CREATE INDEX parked_stream ON es.parked (projector, generation, stream_id, pos);

CREATE TABLE es.artifact (
  digest       text COLLATE "C" PRIMARY KEY CHECK (digest ~ '^[0-9a-f]{64}$'),
  content_id   uuid NOT NULL UNIQUE,
  media_type   text NOT NULL,
  size_bytes   bigint NOT NULL CHECK (size_bytes >= 0),
  stored_bytes bigint NOT NULL,
  encoding     text NOT NULL CHECK (encoding IN ('zstd', 'gzip')),
  chunks       int NOT NULL,
  created_at   timestamptz NOT NULL,
  pruned_at    timestamptz
);

CREATE TABLE es.artifact_chunk (
  content_id uuid  NOT NULL,
  seq        int   NOT NULL,
  bytes      bytea NOT NULL CHECK (octet_length(bytes) <= 1048576),
  PRIMARY KEY (content_id, seq)
);
-- Chunks are compressed already; a second compression would only cost time.
ALTER TABLE es.artifact_chunk ALTER COLUMN bytes SET STORAGE EXTERNAL;

INSERT INTO es.log_head (epoch, pos, chain_hash) VALUES (gen_random_uuid(), 0, decode(repeat('00', 32), 'hex'));
`;

/** Refuses every change of recorded events, for superusers and replication roles too, unless the trigger itself is disabled. */
export const appendOnlySql = `
CREATE FUNCTION es.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'es.% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON es.event FOR EACH STATEMENT EXECUTE FUNCTION es.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON es.log FOR EACH STATEMENT EXECUTE FUNCTION es.refuse_change();
ALTER TABLE es.event ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE es.log ENABLE ALWAYS TRIGGER append_only;
`;
