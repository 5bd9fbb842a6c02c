-- Rebuilding read models: tables are filled without their secondary indexes, what a rebuild replaces
-- is kept together with how far it was, and views follow the tables they show.
-- Rust side: `projections/src/rebuild/`.

-- 1. State ------------------------------------------------------------------------------------
ALTER TABLE read.projection_states
    ADD COLUMN kept_version  int,
    ADD COLUMN kept_position bigint,
    ADD COLUMN kept_at       timestamptz,
    ADD CHECK ((kept_version IS NULL) = (kept_position IS NULL)
           AND (kept_version IS NULL) = (kept_at IS NULL));
COMMENT ON COLUMN read.projection_states.kept_version IS
    'Version of the code that filled the tables in schema read_old_<name>; NULL if none are kept.';
COMMENT ON COLUMN read.projection_states.kept_position IS
    'Last position that had taken effect in them.';
COMMENT ON COLUMN read.projection_states.kept_at IS
    'When a rebuild took them out of service.';

-- 2. Copies of tables -------------------------------------------------------------------------
-- An empty copy of a read model table in another schema, with the same names of constraints, and
-- without the other indexes: filling a table and then indexing it takes half as long.
CREATE FUNCTION read.copy_table(name text, into_schema text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    original regclass := format('read.%I', name)::regclass;
    part     record;
BEGIN
    EXECUTE format('CREATE TABLE %I.%I (LIKE read.%I INCLUDING ALL EXCLUDING INDEXES)',
                   into_schema, name, name);
    FOR part IN SELECT c.conname, pg_get_constraintdef(c.oid) AS definition FROM pg_constraint c
                 WHERE c.conrelid = original AND c.contype IN ('p', 'u') LOOP
        EXECUTE format('ALTER TABLE %I.%I ADD CONSTRAINT %I %s',
                       into_schema, name, part.conname, part.definition);
    END LOOP;
    -- LIKE copies the comments of columns, not the table's own.
    EXECUTE format('COMMENT ON TABLE %I.%I IS %L',
                   into_schema, name, obj_description(original, 'pg_class'));
    PERFORM read.protect(into_schema, name);
END $$;

-- The indexes that `read.copy_table` has left out, under the same names.
CREATE FUNCTION read.copy_indexes(name text, into_schema text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part record;
BEGIN
    FOR part IN SELECT pg_get_indexdef(i.indexrelid) AS definition FROM pg_index i
                 WHERE i.indrelid = format('read.%I', name)::regclass
                   AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid) LOOP
        EXECUTE regexp_replace(part.definition, ' ON read\.', format(' ON %I.', into_schema));
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION read.copy_shape(name text, into_schema text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM read.copy_table(name, into_schema);
    PERFORM read.copy_indexes(name, into_schema);
END $$;

-- What a table is like: columns, constraints and indexes, without the name of its schema. Two
-- tables with equal shapes can take each other's place.
CREATE FUNCTION read.shape(in_schema text, name text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(line, E'\n' ORDER BY line) FROM (
        SELECT format('column %s %s %s %s %s %s', row_number() OVER (ORDER BY a.attnum), a.attname,
                      format_type(a.atttypid, a.atttypmod), a.attcollation, a.attnotnull,
                      pg_get_expr(d.adbin, d.adrelid)) AS line
          FROM pg_attribute a
          LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE a.attrelid = to_regclass(format('%I.%I', in_schema, name))
           AND a.attnum > 0 AND NOT a.attisdropped
         UNION ALL
        SELECT format('constraint %s %s', c.conname, pg_get_constraintdef(c.oid)) FROM pg_constraint c
         WHERE c.conrelid = to_regclass(format('%I.%I', in_schema, name))
         UNION ALL
        SELECT regexp_replace(pg_get_indexdef(i.indexrelid), ' ON \S+ ', ' ON ') FROM pg_index i
         WHERE i.indrelid = to_regclass(format('%I.%I', in_schema, name))) lines
$$;

-- 3. Differences ------------------------------------------------------------------------------
-- Compares a read model table with the table of its name in another schema, by primary key: rows
-- that only one of them has, rows that differ, and examples, at most `examples_max` of each kind of
-- which there are some among the first thousand times as many differences.
CREATE FUNCTION read.compare(
    name text, other text, examples_max int,
    OUT live_only bigint, OUT rebuilt_only bigint, OUT changed bigint, OUT examples jsonb
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    keys  text;
    first text;
    pairs text;
BEGIN
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.nth), min(quote_ident(a.attname))
      INTO keys, first
      FROM pg_constraint c, unnest(c.conkey) WITH ORDINALITY k(attnum, nth), pg_attribute a
     WHERE c.conrelid = format('read.%I', name)::regclass AND c.contype = 'p'
       AND a.attrelid = c.conrelid AND a.attnum = k.attnum;
    IF keys IS NULL THEN
        RAISE EXCEPTION 'read model table % has no primary key', name;
    END IF;
    pairs := format('read.%1$I l FULL JOIN %2$I.%1$I r USING (%3$s) '
                    'WHERE ROW(l.*) IS DISTINCT FROM ROW(r.*)', name, other, keys);
    EXECUTE format('SELECT count(*) FILTER (WHERE r.%1$s IS NULL), '
                   'count(*) FILTER (WHERE l.%1$s IS NULL), '
                   'count(*) FILTER (WHERE l.%1$s IS NOT NULL AND r.%1$s IS NOT NULL) FROM %2$s',
                   first, pairs)
       INTO live_only, rebuilt_only, changed;
    examples := '[]';
    IF live_only + rebuilt_only + changed > 0 THEN
        EXECUTE format(
            'SELECT coalesce(jsonb_agg(jsonb_build_object(''live'', live, ''rebuilt'', rebuilt)), ''[]'')
               FROM (SELECT live, rebuilt, row_number() OVER (PARTITION BY live IS NULL, rebuilt IS NULL) AS nth
                       FROM (SELECT CASE WHEN l.%1$s IS NOT NULL THEN to_jsonb(l) END AS live,
                                    CASE WHEN r.%1$s IS NOT NULL THEN to_jsonb(r) END AS rebuilt
                               FROM %2$s LIMIT $1 * 1000) AS found) AS numbered
              WHERE nth <= $1', first, pairs)
           INTO examples USING examples_max;
    END IF;
END $$;

-- 4. The swap ---------------------------------------------------------------------------------
-- Moves the tables of schema `incoming` into `read`, and those they replace into `outgoing`, which
-- is made anew. Views that show the tables by name show the new ones afterwards: a view is bound to
-- the table it was made on and would go on showing that. All or nothing, and under locks that no
-- reader passes, so no reader sees old and new tables together.
CREATE FUNCTION read.swap(incoming text, outgoing text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    names text[];
    part  text;
    show  record;
    shown text[] := '{}';
BEGIN
    SELECT array_agg(c.relname ORDER BY c.relname) INTO names
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = incoming AND c.relkind = 'r';
    EXECUTE 'LOCK TABLE '
         || (SELECT string_agg(format('read.%I', t), ', ') FROM unnest(names) t)
         || ' IN ACCESS EXCLUSIVE MODE';
    FOR show IN SELECT DISTINCT v.oid, v.oid::regclass::text AS name, v.reloptions AS options
                  FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid
                  JOIN pg_class v ON v.oid = w.ev_class
                 WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
                   AND v.relkind = 'v'
                   AND d.refobjid IN (SELECT format('read.%I', t)::regclass FROM unnest(names) t) LOOP
        shown := shown || format('CREATE OR REPLACE VIEW %s%s AS %s', show.name,
            coalesce(' WITH (' || array_to_string(show.options, ', ') || ')', ''),
            pg_get_viewdef(show.oid));
    END LOOP;
    EXECUTE format('DROP SCHEMA IF EXISTS %1$I CASCADE', outgoing);
    EXECUTE format('CREATE SCHEMA %I', outgoing);
    FOREACH part IN ARRAY names LOOP
        EXECUTE format('ALTER TABLE read.%I SET SCHEMA %I', part, outgoing);
        EXECUTE format('ALTER TABLE %I.%I SET SCHEMA read', incoming, part);
    END LOOP;
    FOREACH part IN ARRAY shown LOOP
        EXECUTE part;
    END LOOP;
    EXECUTE format('DROP SCHEMA %I', incoming);
END $$;

-- The way back: what `read.swap` has moved to `kept` serves again, and what serves is kept there.
CREATE FUNCTION read.swap_back(kept text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    back text := kept || '_returns';
BEGIN
    EXECUTE format('ALTER SCHEMA %I RENAME TO %I', kept, back);
    PERFORM read.swap(back, kept);
END $$;

-- 5. What is parked ---------------------------------------------------------------------------
-- Belongs to the tables it is left out of, and so is kept with them.
CREATE TABLE log.kept_parked (LIKE log.parked INCLUDING ALL);
GRANT SELECT, INSERT, UPDATE, DELETE ON log.kept_parked TO conche_projector;
ALTER TABLE log.kept_parked ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY every_store ON log.kept_parked TO conche_projector USING (true) WITH CHECK (true);

-- Copies what a projection has parked, in place of what was kept before.
CREATE FUNCTION read.keep_parked(whose text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM log.kept_parked k WHERE k.projection = whose;
    INSERT INTO log.kept_parked SELECT * FROM log.parked p WHERE p.projection = whose;
END $$;

-- What was kept is parked again, and what is parked is kept.
CREATE FUNCTION read.exchange_parked(whose text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept log.kept_parked[];
BEGIN
    SELECT array_agg(k) INTO kept FROM log.kept_parked k WHERE k.projection = whose;
    PERFORM read.keep_parked(whose);
    DELETE FROM log.parked p WHERE p.projection = whose;
    INSERT INTO log.parked SELECT * FROM unnest(kept);
    UPDATE read.projection_states s
       SET (parked_streams, parked_events) =
           (SELECT count(*), coalesce(sum(p.events), 0) FROM log.parked p WHERE p.projection = whose)
     WHERE s.name = whose;
END $$;

REVOKE ALL ON FUNCTION read.copy_table, read.copy_indexes, read.shape, read.compare, read.swap,
    read.swap_back, read.keep_parked, read.exchange_parked FROM PUBLIC;
GRANT EXECUTE ON FUNCTION read.compare, read.keep_parked, read.exchange_parked TO conche_projector;
