-- A role for the work of the processes, whose sessions do not wait for the disk
-- (`event-store/src/pool.rs`; why that loses nothing: docs/adr/0012). So it must not be able to
-- store anything that is the truth: it cannot append.
--
-- Whoever migrates makes the role and becomes a member, as with the others. An owner who may not
-- make roles needs an administrator first: CREATE ROLE conche_process NOLOGIN; GRANT it to the owner.
DO $$
DECLARE
    tries int := 0;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'conche_process') THEN
        BEGIN
            CREATE ROLE conche_process NOLOGIN NOSUPERUSER NOBYPASSRLS;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            -- Another database of this cluster is being migrated.
            NULL;
        END;
    END IF;
    WHILE NOT pg_catalog.pg_has_role('conche_process', 'USAGE') AND tries < 5 LOOP
        BEGIN
            GRANT conche_process TO CURRENT_USER;
            EXIT;
        EXCEPTION WHEN internal_error OR unique_violation THEN
            tries := tries + 1;
            PERFORM pg_sleep(0.05);
        END;
    END LOOP;
END $$;

GRANT USAGE ON SCHEMA log, process TO conche_process;
GRANT SELECT ON log.head, log.events, log.checkpoints TO conche_process;
GRANT INSERT, UPDATE ON log.checkpoints TO conche_process;
GRANT SELECT, INSERT, UPDATE, DELETE ON process.work TO conche_process;
GRANT SELECT, INSERT, UPDATE ON process.order_numbers TO conche_process;
-- Processes serve every store. Writers keep their rights on these tables for as long as programs of
-- the last version may run beside this one.
CREATE POLICY every_store_to_process ON log.events FOR SELECT TO conche_process USING (true);
CREATE POLICY every_store_to_process ON process.work TO conche_process USING (true) WITH CHECK (true);
CREATE POLICY every_store_to_process ON process.order_numbers TO conche_process USING (true) WITH CHECK (true);

-- A wake-up is known by where in the log it came from, and no longer by a count: a count begins
-- anew when its row is lost or removed, and a worker that took the row before would then put away
-- a wake-up it has not seen.
COMMENT ON COLUMN process.work.generation IS
    'Position of the log up to which events have woken it. A worker that ends does not remove a row that was woken since.';
