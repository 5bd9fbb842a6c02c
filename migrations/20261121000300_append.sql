-- A faster `log.append`: fewer and narrower index entries, fewer passes, less work under the lock.
-- Rust side: `event-store/src/append.rs`, unchanged. What was measured: ADR 0009.
--
-- Needs the log for itself while it runs, for as long as it takes to index `log.streams`, the events
-- and the command records once (some seconds per million).

-- 1. Indexes -----------------------------------------------------------------------------------
-- Events are no longer indexed by category (`event-store/src/read.rs`). Only readers that follow the
-- log from a position used that index, and nearly every event they pass over on the way is a recent
-- one. Reading along the positions costs such a reader a second per million events it has fallen
-- behind; the index cost every append 11 % of its processor time and 6 % of its write-ahead log
-- (measured at 250 units a call).
DROP INDEX log.events_by_category;

-- Most comparisons in an index on (store, category, stream) go through two equal columns, one of
-- them a text, to reach the one that differs. The store stays in front, as in every key.
ALTER TABLE log.streams DROP CONSTRAINT streams_pkey, ADD PRIMARY KEY (store_id, stream_id, category);

-- It had to contain the time of recording, so it kept no id from being used twice in two calls;
-- `log.attach_partition` now puts an index on each partition that does.
ALTER TABLE log.commands DROP CONSTRAINT commands_pkey;

-- 2. Command records by periods of five weeks ---------------------------------------------------
-- Where the period of the last look begins and ends: within it a partition's own unique index finds
-- a repeated command, so that `log.append` looks ids up in earlier partitions only. If these two
-- are out of date it looks everywhere.
ALTER TABLE log.head
    ADD COLUMN period_from  timestamptz NOT NULL DEFAULT '-infinity',
    ADD COLUMN period_until timestamptz NOT NULL DEFAULT '-infinity';

-- One partition of `log.<parent>` from `lower` (included) to `upper` (not included), with the
-- unique index of its own that a partitioned table cannot have.
-- Row-level security is forced on it too: nobody has rights on it, and nobody gets around the
-- parent's policies by naming it. Its own policy is for the owner's `pg_dump --enable-row-security`,
-- which reads partitions by name and without it would find them empty, and not say so.
CREATE OR REPLACE FUNCTION log.attach_partition(parent text, part text, lower text, upper text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE TABLE log.%I (LIKE log.%I INCLUDING ALL)', part, parent);
    PERFORM log.index_partition(parent, part);
    EXECUTE format('ALTER TABLE log.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', part);
    EXECUTE format('CREATE POLICY every_store ON log.%I TO conche_writer, conche_projector USING (true)', part);
    EXECUTE format('ALTER TABLE log.%I ATTACH PARTITION log.%I FOR VALUES FROM (%L) TO (%L)',
                   parent, part, lower, upper);
END $$;

-- Events: the safety net under `log.streams`, which is the arbiter. Streams are read with it too.
-- Commands: the arbiter within its period, see `log.append`.
CREATE FUNCTION log.index_partition(parent text, part text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF parent = 'events' THEN
        EXECUTE format('CREATE UNIQUE INDEX %I ON log.%I (store_id, stream_id, version, category)',
                       part || '_by_stream', part);
    ELSE
        EXECUTE format('CREATE UNIQUE INDEX %I ON log.%I (store_id, command_id)', part || '_once', part);
    END IF;
END $$;

-- The partitions of command records. A function, because only the catalogue knows their bounds.
CREATE FUNCTION log.command_periods() RETURNS TABLE (part text, lower timestamptz, upper timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.relname::text, b.bounds[1]::timestamptz, b.bounds[2]::timestamptz
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid,
           regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''(.*)''\) TO \(''(.*)''\)') b(bounds)
     WHERE i.inhparent = 'log.commands'::regclass
$$;

-- Makes the partitions that the next appends need: events for the current and the next
-- 10,000,000 positions, commands for the current period and a whole spare one. Harmless to call
-- again. The owner calls it when the program starts and then every minute. A partition is made as a
-- table of its own and then attached, because ATTACH does not stop concurrent appends and reads.
--
-- Command records are kept for five weeks, so with periods of five weeks there is one earlier
-- period to look ids up in, and with weeks there were six. A row lives ten weeks at most, not six.
-- The spare period is not only for longer sleep: while a partitioned table has a single partition,
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

-- Drops partitions of command records that ended more than 35 days ago, also by the time of the
-- last append: a clock that is ahead for a moment must not cost the records of this week. After
-- that a repeated command id is a new command. Returns how many partitions went. Waits at most 2 s
-- for readers (it needs the table for itself for a moment); the next call tries again.
CREATE OR REPLACE FUNCTION log.drop_expired_commands() RETURNS int LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET lock_timeout = '2s' AS $$
DECLARE
    kept    CONSTANT interval := '35 days';
    part    text;
    dropped int := 0;
BEGIN
    FOR part IN
        SELECT p.part FROM log.head h, log.command_periods() p
         WHERE p.upper + kept <= least(now(), h.recorded_at)
    LOOP
        EXECUTE format('DROP TABLE log.%I', part);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;

-- What is there gets the new indexes; weeks that never held a row make room for periods. (Not: hold
-- no row that the owner can see, for an owner may be under row-level security himself.)
DO $$
DECLARE
    part record;
BEGIN
    FOR part IN
        SELECT p.relname AS parent, c.relname AS name, pg_relation_size(c.oid) = 0 AS unused
          FROM pg_catalog.pg_inherits i
          JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
          JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relkind = 'r'
         WHERE p.oid IN ('log.events'::regclass, 'log.commands'::regclass)
    LOOP
        IF part.parent = 'commands' AND part.unused THEN
            EXECUTE format('DROP TABLE log.%I', part.name);
        ELSE
            EXECUTE format('DROP INDEX IF EXISTS log.%I', part.name || '_by_stream');
            PERFORM log.index_partition(part.parent, part.name);
        END IF;
    END LOOP;
END $$;
SELECT log.ensure_partitions();

-- 3. Append -------------------------------------------------------------------------------------
-- Units whose command was carried out before, by an earlier call or an earlier unit of this one.
CREATE FUNCTION log.repeated_units(
    u_store uuid[], u_command uuid[], u_fingerprint bytea[]
) RETURNS jsonb LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_agg(jsonb_build_object('unit', u.unit, 'code',
               CASE WHEN u.fingerprint = coalesce(c.fingerprint, u.first) THEN 'ES002' ELSE 'ES003' END)
               ORDER BY u.unit)
      FROM (SELECT i.*, first_value(i.fingerprint) OVER same AS first, row_number() OVER same AS nth
              FROM unnest(u_store, u_command, u_fingerprint)
                   WITH ORDINALITY i(store, command, fingerprint, unit)
            WINDOW same AS (PARTITION BY i.store, i.command ORDER BY i.unit)) u
      LEFT JOIN LATERAL (SELECT c.fingerprint FROM log.commands c
                          WHERE c.store_id = u.store AND c.command_id = u.command LIMIT 1) c ON true
     WHERE c.fingerprint IS NOT NULL OR u.nth > 1
$$;

-- Units whose stream is not at the version the first of them expects. `s_unit` names one unit of
-- each stream, `s_from` the version the stream must be at.
DROP FUNCTION log.stale_units;
CREATE FUNCTION log.stale_units(
    u_store uuid[], u_category text[], u_stream uuid[], s_unit int[], s_from bigint[]
) RETURNS jsonb LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_agg(jsonb_build_object('unit', u.unit, 'code', 'ES001',
                                        'current', coalesce(st.version, 0)) ORDER BY u.unit)
      FROM unnest(s_unit, s_from) s(unit, from_version)
      LEFT JOIN log.streams st ON st.store_id = u_store[s.unit]
            AND st.category = u_category[s.unit] AND st.stream_id = u_stream[s.unit]
      JOIN unnest(u_store, u_category, u_stream) WITH ORDINALITY u(store, category, stream, unit)
        ON (u.store, u.category, u.stream) = (u_store[s.unit], u_category[s.unit], u_stream[s.unit])
     WHERE coalesce(st.version, 0) <> s.from_version
$$;

-- Appends the events of one or more units, all or nothing, and returns the first position.
--
-- A unit (u_*) is one decision on one stream: the version it was decided on, the command that
-- asked for it and the metadata all its events carry. Events (e_*) stand in the order of their
-- units and name theirs by ordinal; every unit has at least one. Keys (k_*) likewise. Units of
-- one stream may follow each other if each expects the version the one before it leaves behind.
--
-- Notes for whoever changes this:
-- * What the arguments alone can tell is found out before the lock is taken.
-- * The update of `log.head` comes first of all that touches a table. It serialises appends, so
--   nothing below can race or deadlock, and because each later statement of a VOLATILE function
--   takes a fresh snapshot, all of them see what the previous append committed. In *one* statement
--   with the lock they would not.
-- * The advisory lock in front of it is only a queue: it is handed over in order, after the commit,
--   so nobody chases the newest version of a contended row (measured: 8 % more appends with 8
--   clients, 20 % with 32).
-- * Plans must not depend on statistics (a table is empty when the first plan is made): joins go
--   from the arrays into an index, and a unit's columns are reached by subscript, which is O(1)
--   on array variables of plpgsql.
-- * Commands and streams are written without asking first, because asking costs as much as
--   writing; a unique index that objects undoes the block, and then it is asked who was in the way.
--   Nothing but these indexes can raise `unique_violation` there, as triggers do not exist.
-- * Never call this inside a transaction that waits for a client: the lock is held to its end.
CREATE OR REPLACE FUNCTION log.append(
    u_store uuid[], u_category text[], u_stream uuid[], u_expected bigint[],
    u_command uuid[], u_fingerprint bytea[], u_metadata bytea[],
    k_unit int[], k_claim boolean[], k_scope text[], k_key text[],
    e_unit int[], e_type text[], e_schema_version smallint[], e_id uuid[], e_payload bytea[]
) RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET jit = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_seqscan = off AS $$
DECLARE
    units      CONSTANT int := cardinality(u_store);
    single     boolean;      -- one event per unit
    apart      boolean;      -- one unit per stream
    in_order   boolean;
    u_before   int[];        -- events in front of each unit, and of the one that would come next
    s_unit     int[];        -- the streams: the last unit of each, and the version before the first
    s_from     bigint[];
    base       bigint;       -- position before the first event
    at         timestamptz;
    at_bytes   bytea;
    known      timestamptz;  -- from here on a unique index finds repeated commands
    inserted   int;
    updated    int := 0;
    broken     jsonb;
    losers     jsonb;
BEGIN
    SELECT cardinality(e_unit) = units AND bool_and(i.unit = i.n), count(DISTINCT i.stream) = units
      INTO STRICT single, apart
      FROM unnest(e_unit, u_stream) WITH ORDINALITY i(unit, stream, n);
    IF single THEN
        u_before := 0 || e_unit;
    ELSE
        SELECT 0 || array_agg(e.last ORDER BY e.unit),
               bool_and(e.last - e.first + 1 = e.events
                        AND e_unit[e.first - 1] IS NOT DISTINCT FROM nullif(e.unit - 1, 0))
          INTO u_before, in_order
          FROM (SELECT e.unit, min(e.n)::int AS first, max(e.n)::int AS last, count(*) AS events
                  FROM unnest(e_unit) WITH ORDINALITY e(unit, n)
                 GROUP BY e.unit) e;
        IF in_order IS NOT TRUE OR cardinality(u_before) <> units + 1 THEN
            RAISE EXCEPTION 'every unit of an append needs an event, and events the order of units';
        END IF;
    END IF;
    IF apart THEN
        s_unit := CASE WHEN single THEN e_unit ELSE ARRAY(SELECT generate_series(1, units)) END;
        s_from := u_expected;
    ELSE
        -- Units of one stream must form a chain.
        SELECT array_agg(c.unit) FILTER (WHERE c.is_last), array_agg(c.first) FILTER (WHERE c.is_last),
               jsonb_agg(jsonb_build_object('unit', c.unit, 'code', 'ES001', 'current', c.current)
                         ORDER BY c.unit) FILTER (WHERE c.expected <> c.current)
          INTO s_unit, s_from, broken
          FROM (SELECT i.unit::int AS unit, i.expected, min(i.expected) OVER stream AS first,
                       i.unit = max(i.unit) OVER stream AS is_last,
                       (min(i.expected) OVER stream
                        + sum(u_before[i.unit + 1] - u_before[i.unit]) OVER (stream ORDER BY i.unit)
                        - (u_before[i.unit + 1] - u_before[i.unit]))::bigint AS current
                  FROM unnest(u_store, u_category, u_stream, u_expected)
                       WITH ORDINALITY i(store, category, stream, expected, unit)
                WINDOW stream AS (PARTITION BY i.stream, i.store, i.category)) c;
    END IF;

    PERFORM pg_advisory_xact_lock(20261120, 1);
    UPDATE log.head h
       SET position = h.position + cardinality(e_unit),
           recorded_at = greatest(h.recorded_at, clock_timestamp())
    RETURNING h.position - cardinality(e_unit), h.recorded_at,
              CASE WHEN h.recorded_at < h.period_until THEN h.period_from ELSE 'infinity' END
      INTO STRICT base, at, known;

    IF broken IS NOT NULL
       OR EXISTS (SELECT FROM log.commands c WHERE c.command_id = ANY (u_command) AND c.recorded_at < known)
    THEN
        losers := coalesce(log.repeated_units(u_store, u_command, u_fingerprint), broken);
        IF losers IS NOT NULL THEN PERFORM log.refuse(losers); END IF;
    END IF;

    BEGIN
        INSERT INTO log.commands (store_id, command_id, recorded_at, fingerprint, category, stream_id,
                                  version, position)
        SELECT u.store, u.command, at, u.fingerprint, u_category[u.unit], u.stream,
               u.expected + u_before[u.unit + 1] - u_before[u.unit], base + u_before[u.unit + 1]
          FROM unnest(u_store, u_command, u_fingerprint, u_stream, u_expected)
               WITH ORDINALITY u(store, command, fingerprint, stream, expected, unit);
        -- Move the streams: new ones by INSERT, known ones by UPDATE (an upsert would invent streams).
        INSERT INTO log.streams (store_id, category, stream_id, version, position)
        SELECT u_store[s.unit], u_category[s.unit], u_stream[s.unit],
               u_expected[s.unit] + u_before[s.unit + 1] - u_before[s.unit], base + u_before[s.unit + 1]
          FROM unnest(s_unit, s_from) s(unit, from_version)
         WHERE s.from_version = 0;
        GET DIAGNOSTICS inserted = ROW_COUNT;
        IF inserted < cardinality(s_unit) THEN
            UPDATE log.streams st
               SET version = u_expected[s.unit] + u_before[s.unit + 1] - u_before[s.unit],
                   position = base + u_before[s.unit + 1]
              FROM unnest(s_unit, s_from) s(unit, from_version)
             WHERE s.from_version > 0 AND st.store_id = u_store[s.unit] AND st.category = u_category[s.unit]
               AND st.stream_id = u_stream[s.unit] AND st.version = s.from_version;
            GET DIAGNOSTICS updated = ROW_COUNT;
        END IF;
        IF inserted + updated <> cardinality(s_unit) THEN RAISE unique_violation; END IF;
    EXCEPTION WHEN unique_violation THEN
        losers := coalesce(log.repeated_units(u_store, u_command, u_fingerprint),
                           log.stale_units(u_store, u_category, u_stream, s_unit, s_from));
        IF losers IS NULL THEN RAISE; END IF;
        PERFORM log.refuse(losers);
    END;

    IF cardinality(k_unit) > 0 THEN
        losers := log.change_keys(u_store, u_category, u_stream, k_unit, k_claim, k_scope, k_key);
        IF losers IS NOT NULL THEN PERFORM log.refuse(losers); END IF;
    END IF;

    -- Leaf hash: SHA-256 over 0x00 and the fields in this order; integers big-endian, times as
    -- microseconds since 1970, texts and bytes after their length in 4 bytes.
    at_bytes := int8send((extract(epoch FROM at) * 1000000)::bigint);
    INSERT INTO log.events (position, recorded_at, store_id, category, stream_id, version, event_id,
                            event_type, schema_version, payload, metadata, leaf_hash)
    SELECT base + e.n, at, u_store[e.unit], u_category[e.unit], u_stream[e.unit],
           u_expected[e.unit] + e.n - u_before[e.unit], e.id, e.type, e.schema_version, e.payload,
           u_metadata[e.unit],
           sha256('\x00'::bytea || int8send(base + e.n) || at_bytes || uuid_send(u_store[e.unit])
               || int4send(octet_length(u_category[e.unit])) || convert_to(u_category[e.unit], 'UTF8')
               || uuid_send(u_stream[e.unit]) || int8send(u_expected[e.unit] + e.n - u_before[e.unit])
               || uuid_send(e.id) || int4send(octet_length(e.type)) || convert_to(e.type, 'UTF8')
               || int2send(e.schema_version) || int4send(octet_length(e.payload)) || e.payload
               || int4send(octet_length(u_metadata[e.unit])) || u_metadata[e.unit])
      FROM unnest(e_unit, e_type, e_schema_version, e_id, e_payload)
           WITH ORDINALITY e(unit, type, schema_version, id, payload, n);
    RETURN base + 1;
END $$;

REVOKE ALL ON FUNCTION log.index_partition, log.command_periods, log.repeated_units, log.stale_units
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION log.repeated_units, log.stale_units TO conche_writer;

SELECT log.ensure_partitions();
