-- Snapshots: the state of a long stream, so that loading it does not replay all of it.
-- Rust side: `event-store/src/snapshot.rs`. A snapshot is a cache: it may be deleted at any time.

-- One per stream, the newest.
CREATE TABLE log.snapshots (
    store_id  uuid             NOT NULL,
    category  text COLLATE "C" NOT NULL,
    stream_id uuid             NOT NULL,
    -- Version and position of the last event in `state`.
    version   bigint           NOT NULL CHECK (version > 0),
    position  bigint           NOT NULL CHECK (position > 0),
    -- SHA-256 of the schema under which the state was written, the stream, the version and the
    -- state: a reader of another schema, or of a damaged or misplaced row, replays instead.
    digest    bytea            NOT NULL,
    -- JSON of the aggregate.
    state     bytea            NOT NULL,
    PRIMARY KEY (store_id, category, stream_id)
) WITH (fillfactor = 75);

-- Keeps a snapshot. An older process must not put back an older one: among snapshots of one schema
-- the higher version stays, and another schema's takes over only from the same version on.
CREATE FUNCTION log.save_snapshot(
    store uuid, kind text, stream uuid, at_version bigint, at_position bigint, digest bytea, state bytea
) RETURNS void LANGUAGE sql VOLATILE SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO log.snapshots AS s (store_id, category, stream_id, version, position, digest, state)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (store_id, category, stream_id) DO UPDATE
       SET version = excluded.version, position = excluded.position, digest = excluded.digest,
           state = excluded.state
     WHERE s.version <= excluded.version
$$;

REVOKE ALL ON FUNCTION log.save_snapshot FROM PUBLIC;
GRANT EXECUTE ON FUNCTION log.save_snapshot TO conche_writer;
GRANT SELECT, INSERT, UPDATE ON log.snapshots TO conche_writer;
ALTER TABLE log.snapshots ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY every_store ON log.snapshots TO conche_writer USING (true) WITH CHECK (true);
