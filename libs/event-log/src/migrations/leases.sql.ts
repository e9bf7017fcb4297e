/**
 * Leases and timers. Every decision is made on the server's clock_timestamp() after the row lock is held. Stream rows are locked
 * before lease and timer rows, as in the append; sweepers skip what is locked and so wait for nobody.
 */
export const leasesSql = `
-- Appends one event of the log's own making to a stream, whatever its version.
CREATE FUNCTION es.record(p_stream text, p_category text, p_type text, p_data json, p_meta json) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
  v_now timestamptz;
  v_version int;
  v_category text;
  v_ingest bigint;
BEGIN
  INSERT INTO es.stream AS s (stream_id, category, version) VALUES (p_stream, p_category, 1)
  ON CONFLICT (stream_id) DO UPDATE SET version = s.version + 1 RETURNING s.version, s.category INTO v_version, v_category;
  v_now := clock_timestamp();
  INSERT INTO es.event (event_id, stream_id, category, version, type, schema_version, data, meta, occurred_at, recorded_at)
  VALUES (gen_random_uuid(), p_stream, v_category, v_version, p_type, 1, p_data, coalesce(p_meta, '{}'), v_now, v_now)
  RETURNING ingest_id INTO v_ingest;
  INSERT INTO es.pending (ingest_id) VALUES (v_ingest);
END $$;

CREATE FUNCTION es.lease_fact(p_lease es.step_lease) RETURNS json LANGUAGE sql IMMUTABLE AS $$
  SELECT json_build_object('step', p_lease.step, 'holder', p_lease.holder, 'epoch', p_lease.epoch, 'ttlMs', p_lease.ttl_ms)
$$;

CREATE FUNCTION es.ms_until(p_at timestamptz) RETURNS bigint LANGUAGE sql VOLATILE AS $$
  SELECT greatest(0, ceil(extract(epoch FROM p_at - clock_timestamp()) * 1000))::bigint
$$;

-- What stands against granting this lease now; null when nothing does.
CREATE FUNCTION es.lease_obstacle(p_lease es.step_lease) RETURNS jsonb LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF p_lease.state IN ('done', 'closed') THEN
    RETURN jsonb_build_object('outcome', p_lease.state);
  ELSIF p_lease.state = 'held' AND p_lease.expires_at > clock_timestamp() THEN
    RETURN jsonb_build_object('outcome', 'held', 'holder', p_lease.holder, 'expiresInMs', es.ms_until(p_lease.expires_at));
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION es.claim(p_task text, p_step text, p_holder text, p_ttl_ms bigint, p_meta json, p_granted text, p_expired text)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
  v es.step_lease;
  v_obstacle jsonb;
BEGIN
  SELECT * INTO v FROM es.step_lease WHERE task_id = p_task AND step = p_step;
  IF NOT FOUND THEN
    RETURN jsonb_build_object('outcome', 'unknown-step');
  END IF;
  v_obstacle := es.lease_obstacle(v);
  IF v_obstacle IS NOT NULL THEN
    RETURN v_obstacle;
  END IF;
  PERFORM 1 FROM es.stream WHERE stream_id = v.stream_id FOR UPDATE;
  SELECT * INTO v FROM es.step_lease WHERE task_id = p_task AND step = p_step FOR UPDATE;
  v_obstacle := es.lease_obstacle(v);
  IF v_obstacle IS NOT NULL THEN
    RETURN v_obstacle;
  END IF;
  IF v.state = 'held' THEN
    PERFORM es.record(v.stream_id, v.category, p_expired, es.lease_fact(v), v.meta);
  END IF;
  UPDATE es.step_lease SET state = 'held', epoch = epoch + 1, holder = p_holder, ttl_ms = p_ttl_ms, meta = p_meta,
         expires_at = clock_timestamp() + make_interval(secs => p_ttl_ms / 1000.0),
         heartbeat_at = clock_timestamp(), changed_at = clock_timestamp()
   WHERE task_id = p_task AND step = p_step RETURNING * INTO v;
  PERFORM es.record(v.stream_id, v.category, p_granted, es.lease_fact(v), p_meta);
  RETURN jsonb_build_object('outcome', 'granted', 'epoch', v.epoch, 'expiresInMs', es.ms_until(v.expires_at))
         || CASE WHEN v.progress IS NULL THEN '{}' ELSE jsonb_build_object('progress', v.progress::text) END;
END $$;

CREATE FUNCTION es.heartbeat(p_task text, p_step text, p_epoch bigint, p_holder text, p_ttl_ms bigint, p_progress json)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
  v es.step_lease;
BEGIN
  SELECT * INTO v FROM es.step_lease WHERE task_id = p_task AND step = p_step FOR UPDATE;
  IF NOT FOUND OR v.epoch <> p_epoch OR v.holder IS DISTINCT FROM p_holder OR v.state IN ('open', 'done') THEN
    RETURN jsonb_build_object('outcome', 'fenced');
  ELSIF v.state = 'closed' THEN
    RETURN jsonb_build_object('outcome', 'cancelled');
  END IF;
  UPDATE es.step_lease SET ttl_ms = p_ttl_ms, heartbeat_at = clock_timestamp(),
         expires_at = clock_timestamp() + make_interval(secs => p_ttl_ms / 1000.0), progress = coalesce(p_progress, progress)
   WHERE task_id = p_task AND step = p_step RETURNING * INTO v;
  RETURN jsonb_build_object('outcome', 'ok', 'expiresInMs', es.ms_until(v.expires_at));
END $$;

CREATE FUNCTION es.release_lease(p_task text, p_step text, p_epoch bigint, p_holder text, p_meta json, p_released text)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
  v es.step_lease;
BEGIN
  PERFORM 1 FROM es.stream s JOIN es.step_lease l ON l.stream_id = s.stream_id
    WHERE l.task_id = p_task AND l.step = p_step FOR UPDATE OF s;
  SELECT * INTO v FROM es.step_lease WHERE task_id = p_task AND step = p_step FOR UPDATE;
  IF NOT FOUND OR v.state <> 'held' OR v.epoch <> p_epoch OR v.holder <> p_holder THEN
    RETURN jsonb_build_object('outcome', 'fenced');
  END IF;
  PERFORM es.record(v.stream_id, v.category, p_released, es.lease_fact(v), coalesce(p_meta, v.meta));
  UPDATE es.step_lease SET state = 'open', holder = NULL, expires_at = NULL, changed_at = clock_timestamp()
   WHERE task_id = p_task AND step = p_step;
  RETURN jsonb_build_object('outcome', 'released');
END $$;

CREATE FUNCTION es.expire_leases(p_limit int, p_expired text)
RETURNS TABLE (task_id text, step text, epoch bigint, holder text) LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
  v_now timestamptz := clock_timestamp();
  c record;
  v es.step_lease;
BEGIN
  FOR c IN SELECT l.task_id, l.step, l.stream_id FROM es.step_lease l
            WHERE l.state = 'held' AND l.expires_at <= v_now ORDER BY l.expires_at LIMIT p_limit LOOP
    PERFORM 1 FROM es.stream s WHERE s.stream_id = c.stream_id FOR UPDATE SKIP LOCKED;
    CONTINUE WHEN NOT FOUND AND EXISTS (SELECT FROM es.stream s WHERE s.stream_id = c.stream_id);
    SELECT * INTO v FROM es.step_lease l WHERE l.task_id = c.task_id AND l.step = c.step
       AND l.state = 'held' AND l.expires_at <= v_now FOR UPDATE SKIP LOCKED;
    CONTINUE WHEN NOT FOUND;
    PERFORM es.record(v.stream_id, v.category, p_expired, es.lease_fact(v), v.meta);
    UPDATE es.step_lease l SET state = 'open', holder = NULL, expires_at = NULL, changed_at = clock_timestamp()
     WHERE l.task_id = v.task_id AND l.step = v.step;
    task_id := v.task_id; step := v.step; epoch := v.epoch; holder := v.holder;
    RETURN NEXT;
  END LOOP;
END $$;

CREATE FUNCTION es.fire_timers(p_limit int, p_fired text)
RETURNS TABLE (timer_id text, stream_id text) LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
  v_now timestamptz := clock_timestamp();
  c record;
  v es.timer;
BEGIN
  FOR c IN SELECT t.timer_id, t.stream_id FROM es.timer t WHERE t.due_at <= v_now ORDER BY t.due_at LIMIT p_limit LOOP
    PERFORM 1 FROM es.stream s WHERE s.stream_id = c.stream_id FOR UPDATE SKIP LOCKED;
    CONTINUE WHEN NOT FOUND AND EXISTS (SELECT FROM es.stream s WHERE s.stream_id = c.stream_id);
    SELECT * INTO v FROM es.timer t WHERE t.timer_id = c.timer_id AND t.stream_id = c.stream_id AND t.due_at <= v_now
       FOR UPDATE SKIP LOCKED;
    CONTINUE WHEN NOT FOUND;
    DELETE FROM es.timer t WHERE t.timer_id = v.timer_id;
    PERFORM es.record(v.stream_id, v.category, p_fired,
      json_build_object('timerId', v.timer_id, 'kind', v.kind, 'data', v.data), v.meta);
    timer_id := v.timer_id; stream_id := v.stream_id;
    RETURN NEXT;
  END LOOP;
END $$;
`;
