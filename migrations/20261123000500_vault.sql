-- The vault: keys of persons and secrets of stores, each sealed under a master key that is not in
-- the database. Rust side: `vault/`.
--
-- A role of its own, which may do nothing else, and which nobody else can stand in for: whoever may
-- append or read the log cannot read the keys to what is sealed in it. Leave this schema out of
-- backups of the log that outlive an erasure (`pg_dump --exclude-schema=vault`), and back it up
-- apart.
--
-- Whoever migrates makes the role and becomes a member, as with the others. An owner who may not
-- make roles needs an administrator first: CREATE ROLE conche_vault NOLOGIN; GRANT it to the owner.
DO $$
DECLARE
    tries int := 0;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'conche_vault') THEN
        BEGIN
            CREATE ROLE conche_vault NOLOGIN NOSUPERUSER NOBYPASSRLS;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            -- Another database of this cluster is being migrated.
            NULL;
        END;
    END IF;
    WHILE NOT pg_catalog.pg_has_role('conche_vault', 'USAGE') AND tries < 5 LOOP
        BEGIN
            GRANT conche_vault TO CURRENT_USER;
            EXIT;
        EXCEPTION WHEN internal_error OR unique_violation THEN
            tries := tries + 1;
            PERFORM pg_sleep(0.05);
        END;
    END LOOP;
END $$;

CREATE SCHEMA vault;
GRANT USAGE ON SCHEMA vault TO conche_vault;

CREATE TABLE vault.person_keys (
    store_id   uuid        NOT NULL,
    person_id  uuid        NOT NULL,
    -- Which master key it is sealed under, and the key so sealed. Both go when the person is
    -- erased; the row stays, so that no new key is made for them.
    master_key text,
    wrapped    bytea       CHECK (octet_length(wrapped) <= 256),
    made_at    timestamptz NOT NULL DEFAULT now(),
    erased_at  timestamptz,
    PRIMARY KEY (store_id, person_id),
    CHECK ((master_key IS NULL) = (wrapped IS NULL))
);

CREATE TABLE vault.store_secrets (
    store_id   uuid        NOT NULL,
    -- Such as `stripe.api_key`.
    name       text        NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 100),
    master_key text        NOT NULL,
    sealed     bytea       NOT NULL CHECK (octet_length(sealed) <= 17 * 1024),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (store_id, name)
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['person_keys', 'store_secrets'] LOOP
        EXECUTE format('ALTER TABLE vault.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY every_store ON vault.%I TO conche_vault '
                       'USING (true) WITH CHECK (true)', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON vault.%I TO conche_vault', name);
    END LOOP;
END $$;
