-- Work of the processes: what is to be done next, and when. Rust side: `sagas/src/runner.rs`.
--
-- Nothing here is the truth: a process is its event stream. A row says that somebody should look
-- at a stream at `due_at`; losing all rows loses only the wake-ups, and the tail of the log makes
-- them anew from position 0 (delete the checkpoint `saga`).
CREATE TABLE process.work (
    store_id     uuid        NOT NULL,
    -- Which process: `checkout` or `order`.
    process      text        NOT NULL CHECK (process IN ('checkout', 'order')),
    -- Stream of that process.
    id           uuid        NOT NULL,
    due_at       timestamptz NOT NULL,
    -- Until then somebody is at work on it; a crash ends the lease by itself.
    leased_until timestamptz,
    -- Counts wake-ups, so that a worker that ends does not remove one that came meanwhile.
    generation   bigint      NOT NULL DEFAULT 1,
    -- Failures in a row.
    attempts     int         NOT NULL DEFAULT 0,
    last_error   text,
    PRIMARY KEY (store_id, process, id)
) WITH (fillfactor = 75);
CREATE INDEX work_by_due_at ON process.work (due_at);

-- The last order number given out per store. The guard against double numbers is the unique key
-- in the append; this only says where to try next. Numbers are skipped when a place is refused.
CREATE TABLE process.order_numbers (
    store_id uuid   PRIMARY KEY,
    last     bigint NOT NULL CHECK (last > 0)
) WITH (fillfactor = 50);

GRANT SELECT, INSERT, UPDATE, DELETE ON process.work TO conche_writer;
GRANT SELECT, INSERT, UPDATE ON process.order_numbers TO conche_writer;

-- Writers serve every store by design; readers have no business here.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['work', 'order_numbers'] LOOP
        EXECUTE format('ALTER TABLE process.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY every_store ON process.%I TO conche_writer '
                       'USING (true) WITH CHECK (true)', name);
        EXECUTE format('CREATE POLICY own_store ON process.%I FOR SELECT TO conche_reader USING '
                       '(store_id = nullif(current_setting(''app.store'', true), '''')::uuid)', name);
    END LOOP;
END $$;
