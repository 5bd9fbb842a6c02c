-- Streams that a projection cannot go on with. Rust side: `projections/src/parked.rs`.
--
-- An event that cannot be applied parks its stream in that projection: from there on the events of
-- the stream wait, everything else flows. The rows hold places only; the events are read from the
-- log again. They follow from the log and the code, so a projector may write them (docs/adr/0012).
CREATE TABLE log.parked (
    projection text COLLATE "C" NOT NULL,
    store_id   uuid             NOT NULL,
    category   text COLLATE "C" NOT NULL,
    stream_id  uuid             NOT NULL,
    -- The event that cannot be applied: the first of those that wait.
    position   bigint           NOT NULL,
    version    bigint           NOT NULL,
    -- How many wait, this one included: all of the stream from here to the checkpoint, but for
    -- those in `log.discarded`.
    events     bigint           NOT NULL CHECK (events > 0),
    -- What is wrong with it, for people.
    reason     text             NOT NULL,
    -- When it was met first.
    since      timestamptz      NOT NULL DEFAULT now(),
    -- How often it was tried.
    attempts   int              NOT NULL DEFAULT 1,
    PRIMARY KEY (store_id, projection, category, stream_id)
);

-- Events that a person took out of a projection for good: every replay leaves them out. A decision
-- and not a consequence, so it stays, and no role that may forget writes it.
CREATE TABLE log.discarded (
    projection   text COLLATE "C" NOT NULL,
    position     bigint           NOT NULL,
    store_id     uuid             NOT NULL,
    category     text COLLATE "C" NOT NULL,
    stream_id    uuid             NOT NULL,
    -- What was wrong with it; NULL if it only waited behind one that could not be applied.
    fault        text,
    -- Why it may be left out, and who said so.
    reason       text             NOT NULL,
    discarded_by text             NOT NULL,
    discarded_at timestamptz      NOT NULL DEFAULT now(),
    PRIMARY KEY (store_id, projection, position)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON log.parked TO conche_projector;
GRANT SELECT, INSERT ON log.discarded TO conche_writer;
GRANT SELECT ON log.discarded TO conche_projector;
ALTER TABLE log.parked    ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE log.discarded ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY every_store ON log.parked    TO conche_writer, conche_projector USING (true) WITH CHECK (true);
CREATE POLICY every_store ON log.discarded TO conche_writer, conche_projector USING (true) WITH CHECK (true);

-- A projection does not stand still at an event any more.
ALTER TABLE read.projection_states
    DROP COLUMN failing_position,
    DROP COLUMN failing_reason,
    DROP COLUMN failing_since,
    ADD COLUMN parked_streams bigint NOT NULL DEFAULT 0 CHECK (parked_streams >= 0),
    ADD COLUMN parked_events  bigint NOT NULL DEFAULT 0 CHECK (parked_events >= 0);
COMMENT ON TABLE read.projection_states IS
    'One row per projection: which version of its code filled the tables, and how much is parked.';
COMMENT ON COLUMN read.projection_states.parked_streams IS
    'Streams in log.parked: here for roles that may not see every store.';
COMMENT ON COLUMN read.projection_states.parked_events IS 'Events that wait in them.';
