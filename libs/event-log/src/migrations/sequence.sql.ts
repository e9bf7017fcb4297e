/**
 * Commit-then-number. The head row is locked first, so the next statement's snapshot sees every deletion of a sequencer that ran
 * before: two at once are safe. Only committed events are visible here, so a late commit gets a later number and none is skipped.
 *
 * Nested loops are forced: the two thousand events at hand are always reached by their key, whatever the statistics say.
 */
export const sequenceSql = `
CREATE FUNCTION es.field(p_value text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT int4send(octet_length(p_value)) || convert_to(p_value, 'UTF8')
$$;

CREATE FUNCTION es.instant(p_at timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

CREATE FUNCTION es.sequence(p_limit int, OUT o_count int, OUT o_pos bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
  r record;
  v_pos bigint;
  v_hash bytea;
  v_ids bigint[] := '{}';
  v_hashes bytea[] := '{}';
BEGIN
  o_count := 0;
  IF NOT EXISTS (SELECT FROM es.pending) THEN
    SELECT h.pos INTO o_pos FROM es.log_head h;
    RETURN;
  END IF;
  SELECT h.pos, h.chain_hash INTO v_pos, v_hash FROM es.log_head h FOR UPDATE;
  o_pos := v_pos;
  FOR r IN
    WITH taken AS (
      DELETE FROM es.pending WHERE ingest_id IN (SELECT p.ingest_id FROM es.pending p ORDER BY p.ingest_id LIMIT p_limit)
      RETURNING ingest_id)
    SELECT e.ingest_id,
           es.field(e.event_id::text) || es.field(e.stream_id) || es.field(e.category) || es.field(e.version::text)
           || es.field(e.type) || es.field(e.schema_version::text) || es.field(e.data::text) || es.field(e.meta::text)
           || es.field(es.instant(e.occurred_at)) || es.field(es.instant(e.recorded_at)) AS fields
      FROM taken t JOIN es.event e ON e.ingest_id = t.ingest_id ORDER BY e.ingest_id
  LOOP
    o_pos := o_pos + 1;
    o_count := o_count + 1;
    v_hash := sha256(v_hash || es.field(o_pos::text) || r.fields);
    v_ids[o_count] := r.ingest_id;
    v_hashes[o_count] := v_hash;
  END LOOP;
  INSERT INTO es.log (pos, ingest_id, chain_hash, sequenced_at)
  SELECT v_pos + u.n, u.id, u.hash, clock_timestamp() FROM unnest(v_ids, v_hashes) WITH ORDINALITY AS u(id, hash, n);
  UPDATE es.log_head SET pos = o_pos, chain_hash = v_hash;
END $$;
`;
