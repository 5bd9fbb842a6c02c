-- The event log: roles, schemas, tables, and the one function that appends.
-- Rust side: `event-store/`. Invariants and reasons: ARCHITECTURE.md, "The log".

-- 1. Roles ------------------------------------------------------------------------------------
-- Every pool of the program takes one of these with `SET ROLE`; none owns anything, none bypasses
-- row-level security. Roles belong to the cluster and not to the database, so two databases may
-- be migrated at once: whoever loses that race finds the role made, which is all it wants.
-- (An advisory lock would not help: those are per database.)
DO $$
DECLARE
    role_name text;
    tries     int;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['conche_writer', 'conche_projector', 'conche_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS', role_name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
        -- Whoever migrates must be a member. A superuser counts as one, and an administrator may
        -- have seen to it for an owner who may not grant. Two concurrent GRANTs may collide on the
        -- catalogue row ("tuple concurrently updated"), hence the tries.
        tries := 0;
        WHILE NOT pg_catalog.pg_has_role(role_name, 'USAGE') AND tries < 5 LOOP
            BEGIN
                EXECUTE format('GRANT %I TO CURRENT_USER', role_name);
                EXIT;
            EXCEPTION WHEN internal_error OR unique_violation THEN
                tries := tries + 1;
                PERFORM pg_sleep(0.05);
            END;
        END LOOP;
    END LOOP;
END $$;

-- 2. Schemas ----------------------------------------------------------------------------------
CREATE SCHEMA log;
CREATE SCHEMA read;
CREATE SCHEMA process;
COMMENT ON SCHEMA log IS 'The event log: the truth.';
COMMENT ON SCHEMA read IS 'Read models: computed from the log, can be dropped and rebuilt.';
COMMENT ON SCHEMA process IS 'Work of sagas: timers and outstanding calls.';
GRANT USAGE ON SCHEMA log     TO conche_writer, conche_projector, conche_reader;
GRANT USAGE ON SCHEMA read    TO conche_projector, conche_reader;
GRANT USAGE ON SCHEMA process TO conche_writer;

-- 3. Tables -----------------------------------------------------------------------------------
-- One row: the last position given out. Updating it is the lock that orders all appends.
-- Low fillfactor: the row is updated by every append, and a HOT update needs room in its page.
CREATE TABLE log.head (
    singleton   boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    position    bigint      NOT NULL CHECK (position >= 0),
    -- Time of the last append. Never goes back, even if the machine's clock does.
    recorded_at timestamptz NOT NULL
) WITH (fillfactor = 10);
INSERT INTO log.head (position, recorded_at) VALUES (0, 'epoch');

-- Current version of every stream: the arbiter of optimistic concurrency.
CREATE TABLE log.streams (
    store_id  uuid             NOT NULL,
    category  text COLLATE "C" NOT NULL,
    stream_id uuid             NOT NULL,
    version   bigint           NOT NULL CHECK (version > 0),
    -- Position of the stream's last event.
    position  bigint           NOT NULL,
    PRIMARY KEY (store_id, category, stream_id)
) WITH (fillfactor = 75);

-- The events. Positions are dense and in commit order: 1, 2, 3, … without a hole.
-- `payload` and `metadata` hold JSON as the exact bytes that were hashed (`jsonb` changes bytes).
CREATE TABLE log.events (
    position       bigint           NOT NULL PRIMARY KEY,
    version        bigint           NOT NULL,
    recorded_at    timestamptz      NOT NULL,
    store_id       uuid             NOT NULL,
    stream_id      uuid             NOT NULL,
    event_id       uuid             NOT NULL,
    schema_version smallint         NOT NULL,
    category       text COLLATE "C" NOT NULL,
    event_type     text COLLATE "C" NOT NULL,
    payload        bytea            NOT NULL,
    metadata       bytea            NOT NULL,
    -- SHA-256; what it covers is written in `log.append`.
    leaf_hash      bytea            NOT NULL
) PARTITION BY RANGE (position);
-- All events of one category in order: sagas and projections read with this.
CREATE INDEX events_by_category ON log.events (category, position);

-- One row per command that made events, so that a repeat gets the first answer.
-- A partitioned primary key must contain the partition key, so PostgreSQL cannot itself promise
-- that a command id is unique across weeks. `log.append` looks it up in every partition while it
-- holds the lock on `log.head`; no other append runs meanwhile, so the look-up cannot race.
CREATE TABLE log.commands (
    store_id    uuid             NOT NULL,
    command_id  uuid             NOT NULL,
    recorded_at timestamptz      NOT NULL,
    fingerprint bytea            NOT NULL,
    category    text COLLATE "C" NOT NULL,
    stream_id   uuid             NOT NULL,
    -- Version and position of the last event the command made.
    version     bigint           NOT NULL,
    position    bigint           NOT NULL,
    PRIMARY KEY (store_id, command_id, recorded_at)
) PARTITION BY RANGE (recorded_at);

-- Values that only one stream of a store may hold: SKUs, slugs, e-mail addresses.
CREATE TABLE log.unique_keys (
    store_id  uuid             NOT NULL,
    scope     text COLLATE "C" NOT NULL,
    key       text COLLATE "C" NOT NULL,
    category  text COLLATE "C" NOT NULL,
    stream_id uuid             NOT NULL,
    PRIMARY KEY (store_id, scope, key)
);

-- How far each reader has come. Moved in the transaction that does what the events ask for.
CREATE TABLE log.checkpoints (
    name       text        PRIMARY KEY,
    position   bigint      NOT NULL DEFAULT 0 CHECK (position >= 0),
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 10);

-- For people: the same events with readable JSON. Runs with the rights of whoever asks.
CREATE VIEW log.events_json WITH (security_invoker = true) AS
SELECT position, recorded_at, store_id, category, stream_id, version, event_type, schema_version,
       event_id, convert_from(payload, 'UTF8')::jsonb AS payload,
       convert_from(metadata, 'UTF8')::jsonb AS metadata, encode(leaf_hash, 'hex') AS leaf_hash
  FROM log.events;

-- 4. Partitions ahead of need -----------------------------------------------------------------
-- Makes the partitions that the next appends need: events for the current and the next
-- 10,000,000 positions, commands for this week and the next two. Harmless to call again.
-- The owner calls it when the program starts and then hourly. A partition is made as a table of
-- its own and then attached, because ATTACH does not stop concurrent appends and reads.
CREATE FUNCTION log.ensure_partitions() RETURNS int LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s' AS $$
DECLARE
    events_per_partition CONSTANT bigint := 10000000;
    last_position bigint;
    first_week    date;
    part          text;
    made          int := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('log.ensure_partitions', 0));
    SELECT h.position, date_trunc('week', greatest(now(), h.recorded_at), 'UTC') AT TIME ZONE 'UTC'
      INTO last_position, first_week FROM log.head h;
    FOR i IN last_position / events_per_partition .. last_position / events_per_partition + 1 LOOP
        part := 'events_' || lpad(i::text, 6, '0');
        IF to_regclass('log.' || part) IS NULL THEN
            PERFORM log.attach_partition('events', part,
                (i * events_per_partition + 1)::text, ((i + 1) * events_per_partition + 1)::text);
            -- The safety net under `log.streams`, which is the arbiter.
            EXECUTE format('CREATE UNIQUE INDEX %I ON log.%I (store_id, category, stream_id, version)',
                           part || '_by_stream', part);
            made := made + 1;
        END IF;
    END LOOP;
    FOR week IN 0 .. 2 LOOP
        part := 'commands_' || to_char(first_week + 7 * week, 'YYYYMMDD');
        IF to_regclass('log.' || part) IS NULL THEN
            PERFORM log.attach_partition('commands', part,
                (first_week + 7 * week) || ' 00:00:00+00', (first_week + 7 * (week + 1)) || ' 00:00:00+00');
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END $$;

-- One partition of `log.<parent>` from `lower` (included) to `upper` (not included).
-- Row-level security is forced on it too: nobody has rights on it, and nobody gets around the
-- parent's policies by naming it. Its own policy is for the owner's `pg_dump --enable-row-security`,
-- which reads partitions by name and without it would find them empty, and not say so.
CREATE FUNCTION log.attach_partition(parent text, part text, lower text, upper text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE TABLE log.%I (LIKE log.%I INCLUDING ALL)', part, parent);
    EXECUTE format('ALTER TABLE log.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', part);
    EXECUTE format('CREATE POLICY every_store ON log.%I TO conche_writer, conche_projector USING (true)', part);
    EXECUTE format('ALTER TABLE log.%I ATTACH PARTITION log.%I FOR VALUES FROM (%L) TO (%L)',
                   parent, part, lower, upper);
END $$;

-- Drops whole weeks of command records that ended more than 35 days ago, also by the time of the
-- last append: a clock that is ahead for a moment must not cost the records of this week. After
-- that a repeated command id is a new command. Returns how many partitions went. Waits at most 2 s
-- for readers (it needs the table for itself for a moment); the next call tries again.
CREATE FUNCTION log.drop_expired_commands() RETURNS int LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s' AS $$
DECLARE
    kept_days CONSTANT int := 35;
    part      text;
    dropped   int := 0;
BEGIN
    FOR part IN
        SELECT c.relname FROM log.head h, pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'log.commands'::regclass
           AND to_date(right(c.relname, 8), 'YYYYMMDD') + 7 + kept_days
               <= (least(now(), h.recorded_at) AT TIME ZONE 'UTC')::date
    LOOP
        EXECUTE format('DROP TABLE log.%I', part);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;

-- 5. Append -----------------------------------------------------------------------------------
-- Raises what speaks against one or more units. SQLSTATE is that of the first:
--   ES001 the stream is not at the expected version ("current" says where it is)
--   ES002 this command has been carried out already
--   ES003 this command id was used for another command
--   ES004 another stream holds a key ("scope", "key")
-- DETAIL is a JSON array, one object {"unit", "code", …} per losing unit, counted from 1, so that
-- a caller can answer the losers and send the others again.
CREATE FUNCTION log.refuse(losers jsonb) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = losers -> 0 ->> 'code', MESSAGE = 'append refused',
                          DETAIL = losers::text;
END $$;

-- Units of a batch whose stream did not move: called after `log.streams` was written, where only
-- the winners carry their new position.
CREATE FUNCTION log.stale_units(
    u_store uuid[], u_category text[], u_stream uuid[], s_unit int[], s_position bigint[]
) RETURNS jsonb LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_agg(jsonb_build_object('unit', u.unit, 'code', 'ES001',
                                        'current', coalesce(st.version, 0)) ORDER BY u.unit)
      FROM unnest(s_unit, s_position) s(unit, position)
      LEFT JOIN log.streams st ON st.store_id = u_store[s.unit]
            AND st.category = u_category[s.unit] AND st.stream_id = u_stream[s.unit]
      JOIN unnest(u_store, u_category, u_stream) WITH ORDINALITY u(store, category, stream, unit)
        ON (u.store, u.category, u.stream) = (u_store[s.unit], u_category[s.unit], u_stream[s.unit])
     WHERE st.position IS DISTINCT FROM s.position
$$;

-- Releases and claims in the order given. Returns the claims that another stream stands against.
-- Row by row: later entries must see earlier ones, and most appends have none.
CREATE FUNCTION log.change_keys(
    u_store uuid[], u_category text[], u_stream uuid[],
    k_unit int[], k_claim boolean[], k_scope text[], k_key text[]
) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    losers jsonb;
BEGIN
    FOR i IN 1 .. cardinality(k_unit) LOOP
        IF NOT k_claim[i] THEN
            DELETE FROM log.unique_keys k
             WHERE k.store_id = u_store[k_unit[i]] AND k.scope = k_scope[i] AND k.key = k_key[i]
               AND k.category = u_category[k_unit[i]] AND k.stream_id = u_stream[k_unit[i]];
            CONTINUE;
        END IF;
        INSERT INTO log.unique_keys (store_id, scope, key, category, stream_id)
        VALUES (u_store[k_unit[i]], k_scope[i], k_key[i], u_category[k_unit[i]], u_stream[k_unit[i]])
        ON CONFLICT DO NOTHING;
        IF NOT FOUND AND NOT EXISTS (
            SELECT FROM log.unique_keys k
             WHERE k.store_id = u_store[k_unit[i]] AND k.scope = k_scope[i] AND k.key = k_key[i]
               AND k.category = u_category[k_unit[i]] AND k.stream_id = u_stream[k_unit[i]])
        THEN
            losers := coalesce(losers, '[]') || jsonb_build_object('unit', k_unit[i],
                'code', 'ES004', 'scope', k_scope[i], 'key', k_key[i]);
        END IF;
    END LOOP;
    RETURN losers;
END $$;

-- Appends the events of one or more units, all or nothing, and returns the first position.
--
-- A unit (u_*) is one decision on one stream: the version it was decided on, the command that
-- asked for it and the metadata all its events carry. Events (e_*) stand in the order of their
-- units and name theirs by ordinal; every unit has at least one. Keys (k_*) likewise. Units of
-- one stream may follow each other if each expects the version the one before it leaves behind.
--
-- Notes for whoever changes this:
-- * The update of `log.head` comes first. It serialises appends, so nothing below can race or
--   deadlock, and because each later statement of a VOLATILE function takes a fresh snapshot,
--   all of them see what the previous append committed. In *one* statement with the lock they
--   would not.
-- * The advisory lock in front of it is only a queue: it is handed over in order, after the commit,
--   so nobody chases the newest version of a contended row (measured: 8 % more appends with 8
--   clients, 20 % with 32).
-- * Plans must not depend on statistics (a table is empty when the first plan is made): joins go
--   from the arrays into an index, and a unit's columns are reached by subscript, which is O(1)
--   on array variables of plpgsql.
-- * Never call this inside a transaction that waits for a client: the lock is held to its end.
CREATE FUNCTION log.append(
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
    base       bigint;       -- position before the first event
    at         timestamptz;
    e_version  bigint[];
    s_unit     int[];        -- the streams: a unit of each, version before, version and position after
    s_from     bigint[];
    s_to       bigint[];
    s_position bigint[];
    inserted   int;
    updated    int;
    losers     jsonb;
BEGIN
    PERFORM pg_advisory_xact_lock(20261120, 1);
    UPDATE log.head h
       SET position = h.position + cardinality(e_unit),
           recorded_at = greatest(h.recorded_at, clock_timestamp())
    RETURNING h.position - cardinality(e_unit), h.recorded_at INTO STRICT base, at;

    -- Commands carried out before, by an earlier call or an earlier unit of this one.
    SELECT jsonb_agg(jsonb_build_object('unit', u.unit, 'code',
               CASE WHEN u.fingerprint = coalesce(c.fingerprint, u.first) THEN 'ES002' ELSE 'ES003' END)
               ORDER BY u.unit)
      INTO losers
      FROM (SELECT i.*, first_value(i.fingerprint) OVER same AS first, row_number() OVER same AS nth
              FROM unnest(u_store, u_command, u_fingerprint)
                   WITH ORDINALITY i(store, command, fingerprint, unit)
            WINDOW same AS (PARTITION BY i.store, i.command ORDER BY i.unit)) u
      LEFT JOIN LATERAL (SELECT c.fingerprint FROM log.commands c
                          WHERE c.store_id = u.store AND c.command_id = u.command
                            AND c.recorded_at <= at LIMIT 1) c ON true
     WHERE c.fingerprint IS NOT NULL OR u.nth > 1;
    IF losers IS NOT NULL THEN PERFORM log.refuse(losers); END IF;

    -- The version of each event; units of one stream must form a chain.
    SELECT array_agg(v.version ORDER BY v.n),
           jsonb_agg(jsonb_build_object('unit', v.unit, 'code', 'ES001', 'current', v.version - v.nth))
               FILTER (WHERE v.nth = 1 AND u_expected[v.unit] + v.nth <> v.version)
      INTO e_version, losers
      FROM (SELECT e.n, e.unit, row_number() OVER (PARTITION BY e.unit ORDER BY e.n) AS nth,
                   min(u_expected[e.unit]) OVER (PARTITION BY u_store[e.unit], u_category[e.unit], u_stream[e.unit])
                   + row_number() OVER (PARTITION BY u_store[e.unit], u_category[e.unit], u_stream[e.unit]
                                        ORDER BY e.n) AS version
              FROM unnest(e_unit) WITH ORDINALITY e(unit, n)) v;
    IF losers IS NOT NULL THEN PERFORM log.refuse(losers); END IF;

    -- Move the streams: new ones by INSERT, known ones by UPDATE (an upsert would invent streams).
    SELECT array_agg(s.unit), array_agg(s.from_version), array_agg(s.to_version), array_agg(base + s.n)
      INTO s_unit, s_from, s_to, s_position
      FROM (SELECT min(e.unit) AS unit, min(e_version[e.n]) - 1 AS from_version,
                   max(e_version[e.n]) AS to_version, max(e.n) AS n
              FROM unnest(e_unit) WITH ORDINALITY e(unit, n)
             GROUP BY u_store[e.unit], u_category[e.unit], u_stream[e.unit]) s;
    INSERT INTO log.streams (store_id, category, stream_id, version, position)
    SELECT u_store[s.unit], u_category[s.unit], u_stream[s.unit], s.to_version, s.position
      FROM unnest(s_unit, s_from, s_to, s_position) s(unit, from_version, to_version, position)
     WHERE s.from_version = 0
        ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS inserted = ROW_COUNT;
    UPDATE log.streams st
       SET version = s.to_version, position = s.position
      FROM unnest(s_unit, s_from, s_to, s_position) s(unit, from_version, to_version, position)
     WHERE s.from_version > 0 AND st.store_id = u_store[s.unit] AND st.category = u_category[s.unit]
       AND st.stream_id = u_stream[s.unit] AND st.version = s.from_version;
    GET DIAGNOSTICS updated = ROW_COUNT;
    IF inserted + updated <> cardinality(s_unit) THEN
        PERFORM log.refuse(log.stale_units(u_store, u_category, u_stream, s_unit, s_position));
    END IF;

    IF cardinality(k_unit) > 0 THEN
        losers := log.change_keys(u_store, u_category, u_stream, k_unit, k_claim, k_scope, k_key);
        IF losers IS NOT NULL THEN PERFORM log.refuse(losers); END IF;
    END IF;

    -- Leaf hash: SHA-256 over 0x00 and the fields in this order; integers big-endian, times as
    -- microseconds since 1970, texts and bytes after their length in 4 bytes.
    INSERT INTO log.events (position, recorded_at, store_id, category, stream_id, version, event_id,
                            event_type, schema_version, payload, metadata, leaf_hash)
    SELECT base + e.n, at, u_store[e.unit], u_category[e.unit], u_stream[e.unit], e_version[e.n], e.id,
           e.type, e.schema_version, e.payload, u_metadata[e.unit],
           sha256('\x00'::bytea || int8send(base + e.n)
               || int8send((extract(epoch FROM at) * 1000000)::bigint) || uuid_send(u_store[e.unit])
               || int4send(octet_length(u_category[e.unit])) || convert_to(u_category[e.unit], 'UTF8')
               || uuid_send(u_stream[e.unit]) || int8send(e_version[e.n]) || uuid_send(e.id)
               || int4send(octet_length(e.type)) || convert_to(e.type, 'UTF8') || int2send(e.schema_version)
               || int4send(octet_length(e.payload)) || e.payload
               || int4send(octet_length(u_metadata[e.unit])) || u_metadata[e.unit])
      FROM unnest(e_unit, e_type, e_schema_version, e_id, e_payload)
           WITH ORDINALITY e(unit, type, schema_version, id, payload, n);

    INSERT INTO log.commands (store_id, command_id, recorded_at, fingerprint, category, stream_id,
                              version, position)
    SELECT u_store[e.unit], u_command[e.unit], at, u_fingerprint[e.unit], u_category[e.unit],
           u_stream[e.unit], max(e_version[e.n]), base + max(e.n)
      FROM unnest(e_unit) WITH ORDINALITY e(unit, n)
     GROUP BY e.unit;
    GET DIAGNOSTICS inserted = ROW_COUNT;
    IF inserted <> cardinality(u_store) THEN
        RAISE EXCEPTION 'every unit of an append needs an event';
    END IF;
    RETURN base + 1;
END $$;

-- 6. Rights -----------------------------------------------------------------------------------
-- Append-only by grants: no serving role may UPDATE, DELETE or TRUNCATE events or command records.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA log FROM PUBLIC;
GRANT EXECUTE ON FUNCTION log.append, log.refuse, log.stale_units, log.change_keys TO conche_writer;

GRANT SELECT ON log.head, log.streams, log.events, log.events_json, log.commands, log.unique_keys,
                log.checkpoints TO conche_writer, conche_projector, conche_reader;
GRANT UPDATE (position, recorded_at) ON log.head TO conche_writer;
GRANT INSERT, UPDATE (version, position) ON log.streams TO conche_writer;
GRANT INSERT ON log.events, log.commands TO conche_writer;
GRANT INSERT, DELETE ON log.unique_keys TO conche_writer;
GRANT INSERT, UPDATE, DELETE ON log.checkpoints TO conche_writer, conche_projector;

-- Writers and projectors serve every store; a reader sees the store its transaction has set with
-- `set_config('app.store', …, true)`, and nothing if it has set none. After such a transaction the
-- setting is '' and not NULL, hence `nullif`.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['streams', 'events', 'commands', 'unique_keys'] LOOP
        EXECUTE format('ALTER TABLE log.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY every_store ON log.%I TO conche_writer, conche_projector '
                       'USING (true) WITH CHECK (true)', name);
        EXECUTE format('CREATE POLICY own_store ON log.%I FOR SELECT TO conche_reader USING '
                       '(store_id = nullif(current_setting(''app.store'', true), '''')::uuid)', name);
    END LOOP;
END $$;

SELECT log.ensure_partitions();
