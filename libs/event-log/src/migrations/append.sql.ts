/**
 * The append. One call commits a group of independent batches; a bad batch is undone inside the call and never harms its
 * neighbours. Callers guarantee that no two batches of a call touch the same stream, command, task or timer.
 *
 * Locks are taken in one global order (streams, leases, commands, timers; each by key), so two calls cannot deadlock. The stream lock
 * precedes the drawing of ingest ids, so ingest order equals version order within a stream.
 *
 * Sequential scans and JIT are off because a plan cached while the tables were still empty would otherwise scan them for ever.
 */
export const appendSql = `
CREATE FUNCTION es.append(
  p_command uuid[], p_hash text[],
  p_s_batch int[], p_s_id text[], p_s_category text[], p_s_expected int[], p_s_count int[],
  p_e_stream int[], p_e_offset int[], p_e_id uuid[], p_e_type text[], p_e_schema int[],
  p_e_data text[], p_e_meta text[], p_e_occurred timestamptz[],
  p_extras jsonb,
  OUT o_base int[], OUT o_bad jsonb)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
  r record;
  v_now timestamptz;
  v_category text[];
BEGIN
  o_bad := '{}';

  -- Lock, create and advance every stream in one pass in key order.
  WITH input AS (
    SELECT u.* FROM unnest(p_s_id, p_s_category, p_s_count) WITH ORDINALITY AS u(id, category, n, ix)
  ), locked AS (
    INSERT INTO es.stream AS s (stream_id, category, version)
    SELECT i.id, i.category, i.n FROM input i ORDER BY i.id COLLATE "C"
    ON CONFLICT (stream_id) DO UPDATE SET version = s.version + excluded.version
    RETURNING s.stream_id, s.category, s.version
  )
  SELECT array_agg(l.version - i.n ORDER BY i.ix), array_agg(l.category ORDER BY i.ix)
    INTO o_base, v_category
    FROM input i JOIN locked l ON l.stream_id = i.id;

  -- A command that was recorded before is answered from the record, whatever has happened since.
  FOR r IN
    SELECT u.ix, c.request_hash = decode(u.hash, 'hex') AS same
      FROM unnest(p_command, p_hash) WITH ORDINALITY AS u(id, hash, ix)
      JOIN es.command_result c ON c.command_id = u.id
  LOOP
    IF r.same THEN
      o_bad := o_bad || jsonb_build_object(r.ix, jsonb_build_object('outcome', 'appended', 'streams', (
        SELECT coalesce(jsonb_agg(jsonb_build_object('streamId', p_s_id[d.s], 'firstVersion', d.first, 'lastVersion', d.last) ORDER BY d.s), '[]')
          FROM (SELECT u.s, min(e.version) AS first, max(e.version) AS last
                  FROM unnest(p_e_id, p_e_stream) AS u(id, s) JOIN es.event e ON e.event_id = u.id
                 WHERE p_s_batch[u.s] = r.ix GROUP BY u.s) d)));
    ELSE
      o_bad := o_bad || jsonb_build_object(r.ix, jsonb_build_object('outcome', 'command-reused'));
    END IF;
  END LOOP;

  IF p_extras IS NOT NULL THEN
    o_bad := es.append_fences(p_extras, o_bad);
  END IF;

  FOR r IN
    SELECT u.batch, u.ix, u.id, u.expected, u.category
      FROM unnest(p_s_batch, p_s_id, p_s_expected, p_s_category) WITH ORDINALITY AS u(batch, id, expected, category, ix)
     WHERE u.expected <> o_base[u.ix] OR u.category <> v_category[u.ix] ORDER BY u.ix
  LOOP
    CONTINUE WHEN o_bad ? r.batch::text;
    IF r.category <> v_category[r.ix] THEN
      o_bad := o_bad || jsonb_build_object(r.batch, jsonb_build_object(
        'outcome', 'category-mismatch', 'streamId', r.id, 'expected', r.category, 'actual', v_category[r.ix]));
    ELSE
      o_bad := o_bad || jsonb_build_object(r.batch, jsonb_build_object(
        'outcome', 'wrong-expected-version', 'streamId', r.id, 'expected', r.expected, 'actual', o_base[r.ix]));
    END IF;
  END LOOP;

  IF o_bad <> '{}' THEN
    DELETE FROM es.stream s USING unnest(p_s_batch, p_s_id, o_base) AS u(batch, id, base)
     WHERE o_bad ? u.batch::text AND u.base = 0 AND s.stream_id = u.id;
    UPDATE es.stream s SET version = u.base FROM unnest(p_s_batch, p_s_id, o_base) AS u(batch, id, base)
     WHERE o_bad ? u.batch::text AND u.base > 0 AND s.stream_id = u.id;
  END IF;

  v_now := clock_timestamp();
  INSERT INTO es.command_result (command_id, request_hash, recorded_at)
  SELECT u.id, decode(u.hash, 'hex'), v_now FROM unnest(p_command, p_hash) WITH ORDINALITY AS u(id, hash, ix)
   WHERE NOT o_bad ? u.ix::text ORDER BY u.id;

  WITH inserted AS (
    INSERT INTO es.event (event_id, stream_id, category, version, type, schema_version, data, meta, occurred_at, recorded_at)
    SELECT u.id, p_s_id[u.s], p_s_category[u.s], o_base[u.s] + u.off, u.type, u.schema, u.data::json, u.meta::json,
           coalesce(u.occurred, v_now), v_now
      FROM unnest(p_e_stream, p_e_offset, p_e_id, p_e_type, p_e_schema, p_e_data, p_e_meta, p_e_occurred)
           WITH ORDINALITY AS u(s, off, id, type, schema, data, meta, occurred, ord)
     WHERE NOT o_bad ? p_s_batch[u.s]::text ORDER BY u.ord
    RETURNING ingest_id
  )
  INSERT INTO es.pending (ingest_id) SELECT ingest_id FROM inserted;

  IF p_extras IS NOT NULL THEN
    PERFORM es.append_effects(p_extras, o_bad, v_now);
  END IF;
END $$;

-- Locks every lease row the group touches, in key order, then refuses the batches whose fence does not hold.
CREATE FUNCTION es.append_fences(p_extras jsonb, p_bad jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
  r record;
  v_bad jsonb := p_bad;
BEGIN
  PERFORM 1 FROM es.step_lease l
   WHERE l.task_id IN (SELECT x->>'task' FROM jsonb_array_elements(p_extras->'fences' || (p_extras->'closes') || (p_extras->'opens')) x)
   ORDER BY l.task_id, l.step FOR UPDATE;
  FOR r IN
    SELECT f.*, l.state AS now_state, l.epoch AS now_epoch
      FROM jsonb_to_recordset(p_extras->'fences') AS f(b int, task text, step text, epoch bigint)
      LEFT JOIN es.step_lease l ON l.task_id = f.task AND l.step = f.step
     WHERE l.state IS DISTINCT FROM 'held' OR l.epoch <> f.epoch
  LOOP
    CONTINUE WHEN v_bad ? r.b::text;
    v_bad := v_bad || jsonb_build_object(r.b, jsonb_build_object(
      'outcome', 'fenced', 'taskId', r.task, 'step', r.step, 'epoch', r.epoch,
      'current', CASE WHEN r.now_state IS NOT NULL THEN jsonb_build_object('state', r.now_state, 'epoch', r.now_epoch) END));
  END LOOP;
  RETURN v_bad;
END $$;

-- Releases, closes and opens steps, then cancels and sets timers, for every batch that was not refused.
CREATE FUNCTION es.append_effects(p_extras jsonb, p_bad jsonb, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
  UPDATE es.step_lease l SET state = 'done', changed_at = p_now
    FROM jsonb_to_recordset(p_extras->'fences') AS f(b int, task text, step text, release boolean)
   WHERE f.release AND NOT p_bad ? f.b::text AND l.task_id = f.task AND l.step = f.step;
  UPDATE es.step_lease l SET state = 'closed', changed_at = p_now
    FROM jsonb_to_recordset(p_extras->'closes') AS c(b int, task text, step text)
   WHERE NOT p_bad ? c.b::text AND l.task_id = c.task AND (c.step = '*' OR l.step = c.step) AND l.state IN ('open', 'held');
  -- A step that was done or closed opens again with its epoch kept, so no old holder can ever match.
  INSERT INTO es.step_lease AS l (task_id, step, stream_id, category, state, changed_at)
  SELECT o.task, o.step, o.stream, o.category, 'open', p_now
    FROM jsonb_to_recordset(p_extras->'opens') AS o(b int, task text, step text, stream text, category text)
   WHERE NOT p_bad ? o.b::text ORDER BY o.task COLLATE "C", o.step COLLATE "C"
  ON CONFLICT (task_id, step) DO UPDATE SET state = 'open', holder = NULL, expires_at = NULL, progress = NULL, changed_at = p_now
   WHERE l.state IN ('done', 'closed');

  PERFORM 1 FROM es.timer t
   WHERE t.timer_id IN (SELECT c.timer FROM jsonb_to_recordset(p_extras->'cancels') AS c(b int, timer text))
      OR t.stream_id IN (SELECT c.stream FROM jsonb_to_recordset(p_extras->'cancelStreams') AS c(b int, stream text))
   ORDER BY t.timer_id FOR UPDATE;
  DELETE FROM es.timer t USING jsonb_to_recordset(p_extras->'cancels') AS c(b int, timer text)
   WHERE NOT p_bad ? c.b::text AND t.timer_id = c.timer;
  DELETE FROM es.timer t USING jsonb_to_recordset(p_extras->'cancelStreams') AS c(b int, stream text)
   WHERE NOT p_bad ? c.b::text AND t.stream_id = c.stream;
  INSERT INTO es.timer (timer_id, stream_id, category, kind, due_at, data, meta)
  SELECT s.timer, s.stream, s.category, s.kind, clock_timestamp() + make_interval(secs => s.due / 1000.0), s.data::json, s.meta::json
    FROM jsonb_to_recordset(p_extras->'sets')
         AS s(b int, timer text, stream text, category text, kind text, due float8, data text, meta text)
   WHERE NOT p_bad ? s.b::text ORDER BY s.timer COLLATE "C"
  ON CONFLICT (timer_id) DO UPDATE SET stream_id = excluded.stream_id, category = excluded.category, kind = excluded.kind,
    due_at = excluded.due_at, data = excluded.data, meta = excluded.meta;
END $$;
`;
