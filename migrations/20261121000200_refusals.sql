-- The journal of refused commands: who tried what, and why it was not done.
-- Rust side: `event-store/src/refusals.rs`. It is beside the log and not part of it: entries are
-- written after the answer and may be missing after a crash or in a flood. It holds no bodies, no
-- names and no texts that clients wrote, but for the id they gave their request.

CREATE TABLE log.refusals (
    -- In the order they were written; with holes.
    id             bigint           GENERATED ALWAYS AS IDENTITY,
    store_id       uuid             NOT NULL,
    refused_at     timestamptz      NOT NULL,
    actor_kind     text COLLATE "C" NOT NULL,
    actor_id       uuid             NOT NULL,
    -- Id of the operation in the API's document, such as `checkouts_begin`.
    operation      text COLLATE "C" NOT NULL,
    code           text COLLATE "C" NOT NULL,
    status         smallint         NOT NULL,
    request_id     text COLLATE "C" NOT NULL,
    correlation_id uuid             NOT NULL,
    -- What it was tried on.
    path           text COLLATE "C" NOT NULL,
    PRIMARY KEY (store_id, id)
);
CREATE INDEX refusals_by_age ON log.refusals (id);

-- Drops all but the newest 1,000,000 entries, and those older than 35 days by the time of the last
-- append (a clock that is ahead for a moment must not cost the journal). Returns how many went.
-- The owner calls it every minute. The writer writes 10,000 in a second at most, so the table
-- stays below 1,600,000 rows, some 400 MB.
CREATE FUNCTION log.prune_refusals() RETURNS bigint LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept_rows CONSTANT bigint := 1000000;
    kept_days CONSTANT int := 35;
    newest    bigint;
    pruned    bigint;
BEGIN
    SELECT max(id) INTO newest FROM log.refusals;
    DELETE FROM log.refusals r WHERE r.id <= newest - kept_rows;
    GET DIAGNOSTICS pruned = ROW_COUNT;
    DELETE FROM log.refusals r
     WHERE r.id < coalesce((SELECT y.id FROM log.refusals y, log.head h
                             WHERE y.refused_at >= least(now(), h.recorded_at) - make_interval(days => kept_days)
                             ORDER BY y.id LIMIT 1), newest + 1);
    GET DIAGNOSTICS newest = ROW_COUNT;
    RETURN pruned + newest;
END $$;

-- Whoever serves may add entries and not change them; whoever reads sees those of its store.
REVOKE ALL ON FUNCTION log.prune_refusals FROM PUBLIC;
GRANT INSERT ON log.refusals TO conche_writer;
GRANT SELECT ON log.refusals TO conche_reader;
ALTER TABLE log.refusals ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY every_store ON log.refusals TO conche_writer, conche_projector USING (true) WITH CHECK (true);
CREATE POLICY own_store ON log.refusals FOR SELECT TO conche_reader
    USING (store_id = nullif(current_setting('app.store', true), '')::uuid);
