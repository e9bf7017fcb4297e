/** Artifacts are written by the ledger role in one transaction; finishing and pruning are functions because they update rows. */
export const artifactsSql = `
-- True when this upload became the artifact; false when the content was stored already (the caller rolls its chunks back).
CREATE FUNCTION es.finish_artifact(p_digest text, p_content uuid, p_media_type text, p_size bigint, p_stored bigint, p_encoding text, p_chunks int)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO es.artifact AS a (digest, content_id, media_type, size_bytes, stored_bytes, encoding, chunks, created_at)
  VALUES (p_digest, p_content, p_media_type, p_size, p_stored, p_encoding, p_chunks, clock_timestamp())
  ON CONFLICT (digest) DO UPDATE SET content_id = excluded.content_id, stored_bytes = excluded.stored_bytes,
    encoding = excluded.encoding, chunks = excluded.chunks, pruned_at = NULL
   WHERE a.pruned_at IS NOT NULL;
  RETURN FOUND;
END $$;

CREATE FUNCTION es.prune_artifacts(p_digests text[]) RETURNS TABLE (digest text, stored_bytes bigint)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH pruned AS (
    UPDATE es.artifact a SET pruned_at = clock_timestamp()
     WHERE a.digest IN (SELECT x.digest FROM es.artifact x WHERE x.digest = ANY (p_digests) AND x.pruned_at IS NULL ORDER BY x.digest FOR UPDATE)
    RETURNING a.digest, a.content_id, a.stored_bytes
  ), gone AS (
    DELETE FROM es.artifact_chunk c USING pruned p WHERE c.content_id = p.content_id
  )
  SELECT p.digest, p.stored_bytes FROM pruned p
$$;
`;
