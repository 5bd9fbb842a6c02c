-- Events are no longer indexed by category. Rust side: `event-store/src/read.rs`.
--
-- Only readers that follow the log from a position used that index, and nearly every event they
-- pass over on the way is a recent one. Reading along the positions costs such a reader a second
-- per million events it has fallen behind; the index cost every append 11 % of its processor time
-- and 6 % of its write-ahead log (measured at 250 units a call).
DROP INDEX log.events_by_category;

-- As before, but with a whole spare period of command records, as there is a spare partition of
-- events. That is not only for longer sleep: while a partitioned table has a single partition,
-- PostgreSQL plans as if that were the table, and the look-up of command ids in earlier periods,
-- of which there are none yet, searched the present one (measured: 10 % of an append).
CREATE OR REPLACE FUNCTION log.ensure_partitions() RETURNS int LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET lock_timeout = '5s' AS $$
DECLARE
    events_per_partition CONSTANT bigint := 10000000;
    period CONSTANT interval := '35 days';
    last_position bigint;
    at     timestamptz;
    edge   timestamptz;
    part   text;
    made   int := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('log.ensure_partitions', 0));
    SELECT h.position, greatest(now(), h.recorded_at) INTO STRICT last_position, at FROM log.head h;
    FOR i IN last_position / events_per_partition .. last_position / events_per_partition + 1 LOOP
        part := 'events_' || lpad(i::text, 6, '0');
        IF to_regclass('log.' || part) IS NULL THEN
            PERFORM log.attach_partition('events', part,
                (i * events_per_partition + 1)::text, ((i + 1) * events_per_partition + 1)::text);
            made := made + 1;
        END IF;
    END LOOP;
    SELECT greatest(max(p.upper), date_trunc('week', at)) INTO edge FROM log.command_periods() p;
    WHILE edge <= at + period LOOP
        PERFORM log.attach_partition('commands', 'commands_' || to_char(edge, 'YYYYMMDD'),
                                     edge::text, (edge + period)::text);
        edge := edge + period;
        made := made + 1;
    END LOOP;
    UPDATE log.head h
       SET period_from = p.lower, period_until = p.upper
      FROM log.command_periods() p
     WHERE p.lower <= at AND at < p.upper AND (h.period_from, h.period_until) <> (p.lower, p.upper);
    RETURN made;
END $$;
SELECT log.ensure_partitions();
