-- What payment providers tell us: an inbox, unique by the provider's id of the event. Rust side:
-- `sagas/src/inbox.rs`.
--
-- A row says that something has happened to a payment at a provider; what, is asked of the provider.
-- So the body is not kept, which would have the shopper's data in it, and neither order nor
-- repetition of deliveries can matter. Rows that are settled go after 35 days: providers repeat
-- deliveries for three days and list events of the last thirty.
CREATE TABLE process.inbox (
    store_id     uuid        NOT NULL,
    provider     text        NOT NULL CHECK (provider IN ('stripe')),
    -- The provider's id, the same in every delivery.
    event_id     text        NOT NULL CHECK (octet_length(event_id) BETWEEN 1 AND 255),
    -- Such as `payment_intent.succeeded`.
    kind         text        NOT NULL CHECK (octet_length(kind) BETWEEN 1 AND 100),
    -- Our payment that it is about; none if it is about somebody else's.
    payment_id   uuid,
    -- How it came: sent by the provider, or found in its list.
    source       text        NOT NULL CHECK (source IN ('webhook', 'list')),
    occurred_at  timestamptz NOT NULL,
    received_at  timestamptz NOT NULL,
    state        text        NOT NULL CHECK (state IN ('waiting', 'applied', 'ignored', 'parked')),
    -- When to look after it, if it waits.
    due_at       timestamptz NOT NULL,
    -- Until then somebody is at it; a crash ends the lease by itself.
    leased_until timestamptz,
    -- Tries that failed, since it came or was redriven.
    attempts     int         NOT NULL DEFAULT 0,
    -- Why it was ignored, or why the last try failed.
    note         text        CHECK (octet_length(note) <= 2000),
    settled_at   timestamptz,
    PRIMARY KEY (store_id, provider, event_id)
) WITH (fillfactor = 75);
CREATE INDEX inbox_by_due_at ON process.inbox (due_at) WHERE state = 'waiting';
CREATE INDEX inbox_open ON process.inbox (store_id, state, received_at)
    WHERE state IN ('waiting', 'parked');
CREATE INDEX inbox_by_received_at ON process.inbox (store_id, received_at);
CREATE INDEX inbox_by_settled_at ON process.inbox (settled_at) WHERE settled_at IS NOT NULL;

-- How far the lists of providers have been read, per account.
CREATE TABLE process.inbox_fills (
    store_id uuid        NOT NULL,
    provider text        NOT NULL CHECK (provider IN ('stripe')),
    -- Everything that happened before is in the inbox, or was.
    through  timestamptz NOT NULL,
    -- When to read on.
    due_at   timestamptz NOT NULL,
    PRIMARY KEY (store_id, provider)
) WITH (fillfactor = 50);

-- Writers store what arrives, on the disk before it is acknowledged; they cannot read it.
GRANT INSERT ON process.inbox TO conche_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON process.inbox, process.inbox_fills TO conche_process;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['inbox', 'inbox_fills'] LOOP
        EXECUTE format('ALTER TABLE process.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY every_store ON process.%I TO conche_writer, conche_process '
                       'USING (true) WITH CHECK (true)', name);
    END LOOP;
END $$;
