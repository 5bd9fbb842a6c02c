-- Read models: tables computed from the log by `projections/`. Rebuildable at any time with
-- `conche rebuild <name>`; every column is a function of the events. What a table means to an
-- analyst stands in its COMMENT. Names are unqualified in the queries: a rebuild fills copies of
-- the same tables in another schema.
--
-- Text that is compared by range has COLLATE "C": with row-level security only operators that
-- cannot leak (=, <, > of text, numbers, times, uuids) may use an index, so there is neither LIKE
-- nor full-text search here.

-- 1. Helpers ----------------------------------------------------------------------------------
-- Row-level security and grants of one read model table: the projector writes every store, a
-- reader sees the store that its transaction has set with `set_config('app.store', …, true)`.
CREATE FUNCTION read.protect(in_schema text, name text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('ALTER TABLE %I.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY',
                   in_schema, name);
    EXECUTE format('CREATE POLICY every_store ON %I.%I TO conche_projector '
                   'USING (true) WITH CHECK (true)', in_schema, name);
    EXECUTE format('CREATE POLICY own_store ON %I.%I FOR SELECT TO conche_reader USING '
                   '(store_id = nullif(current_setting(''app.store'', true), '''')::uuid)',
                   in_schema, name);
    EXECUTE format('GRANT SELECT ON %I.%I TO conche_reader', in_schema, name);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I.%I TO conche_projector',
                   in_schema, name);
END $$;

-- An empty copy of a read model table in another schema, with the same names of indexes and
-- constraints, so that the copy can take the original's place.
CREATE FUNCTION read.copy_shape(name text, into_schema text) RETURNS void LANGUAGE plpgsql
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
    FOR part IN SELECT pg_get_indexdef(i.indexrelid) AS definition FROM pg_index i
                 WHERE i.indrelid = original
                   AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid) LOOP
        EXECUTE regexp_replace(part.definition, ' ON read\.', format(' ON %I.', into_schema));
    END LOOP;
    -- LIKE copies the comments of columns, not the table's own.
    EXECUTE format('COMMENT ON TABLE %I.%I IS %L',
                   into_schema, name, obj_description(original, 'pg_class'));
    PERFORM read.protect(into_schema, name);
END $$;
REVOKE ALL ON FUNCTION read.protect, read.copy_shape FROM PUBLIC;

-- 2. State of the projections -----------------------------------------------------------------
CREATE TABLE read.projection_states (
    name             text        PRIMARY KEY,
    version          int         NOT NULL,
    failing_position bigint,
    failing_reason   text,
    failing_since    timestamptz,
    CHECK ((failing_position IS NULL) = (failing_reason IS NULL))
);
COMMENT ON TABLE read.projection_states IS
    'One row per projection: which version of its code filled the tables, and where it stands still.';
COMMENT ON COLUMN read.projection_states.version IS
    'Version of the code that filled the tables; another one asks for a rebuild.';
COMMENT ON COLUMN read.projection_states.failing_position IS
    'Position of the event that cannot be applied; NULL while all is well.';
GRANT SELECT ON read.projection_states TO conche_reader, conche_projector;
GRANT INSERT, UPDATE, DELETE ON read.projection_states TO conche_projector;

-- 3. catalog ----------------------------------------------------------------------------------
CREATE TABLE read.catalog_products (
    store_id     uuid        NOT NULL,
    product_id   uuid        NOT NULL,
    handle       text        COLLATE "C" NOT NULL,
    title        text        NOT NULL,
    title_folded text        COLLATE "C" NOT NULL GENERATED ALWAYS AS (lower(title)) STORED,
    description  text        NOT NULL,
    vendor       text        NOT NULL,
    product_type text        NOT NULL,
    tags         text[]      NOT NULL,
    options      text[]      NOT NULL,
    status       text        COLLATE "C" NOT NULL CHECK (status IN ('draft', 'active', 'archived')),
    published_at timestamptz,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    version      bigint      NOT NULL,
    PRIMARY KEY (store_id, product_id)
);
CREATE INDEX catalog_products_newest ON read.catalog_products (store_id, created_at DESC, product_id DESC);
CREATE INDEX catalog_products_by_title ON read.catalog_products (store_id, title_folded, product_id);
CREATE INDEX catalog_products_by_handle ON read.catalog_products (store_id, handle);
CREATE INDEX catalog_products_by_status ON read.catalog_products (store_id, status, created_at DESC, product_id DESC);
CREATE INDEX catalog_products_by_vendor ON read.catalog_products (store_id, vendor, created_at DESC, product_id DESC);
COMMENT ON TABLE read.catalog_products IS 'Products of a store as they are now. One row per product.';
COMMENT ON COLUMN read.catalog_products.handle IS 'Name in URLs, unique in the store.';
COMMENT ON COLUMN read.catalog_products.title_folded IS 'Title in lower case: the order of lists by title.';
COMMENT ON COLUMN read.catalog_products.description IS 'HTML as the merchant gave it, not sanitised.';
COMMENT ON COLUMN read.catalog_products.options IS 'What the variants differ in, such as Size.';
COMMENT ON COLUMN read.catalog_products.status IS 'draft: hidden; active: on show; archived: out of the range.';
COMMENT ON COLUMN read.catalog_products.published_at IS 'Since when it is on show; NULL while it is not.';
COMMENT ON COLUMN read.catalog_products.created_at IS 'Business time of the creation.';
COMMENT ON COLUMN read.catalog_products.updated_at IS 'When the last change was recorded.';
COMMENT ON COLUMN read.catalog_products.version IS 'Version of the product''s event stream.';

CREATE TABLE read.catalog_variants (
    store_id         uuid   NOT NULL,
    variant_id       uuid   NOT NULL,
    product_id       uuid   NOT NULL,
    sku              text   COLLATE "C",
    barcode          text,
    title            text   NOT NULL,
    option_values    text[] NOT NULL,
    weight_g         bigint,
    price_minor      bigint,
    currency         text   COLLATE "C",
    compare_at_minor bigint,
    position         int    NOT NULL,
    PRIMARY KEY (store_id, variant_id)
);
CREATE INDEX catalog_variants_by_product ON read.catalog_variants (store_id, product_id, position);
CREATE INDEX catalog_variants_by_sku ON read.catalog_variants (store_id, sku);
COMMENT ON TABLE read.catalog_variants IS 'What can be bought: variants of products with their price now.';
COMMENT ON COLUMN read.catalog_variants.weight_g IS 'Weight in grams, if known.';
COMMENT ON COLUMN read.catalog_variants.price_minor IS 'Price of one unit in minor units; NULL before the first price.';
COMMENT ON COLUMN read.catalog_variants.currency IS 'ISO 4217 code of both prices.';
COMMENT ON COLUMN read.catalog_variants.compare_at_minor IS 'Former price, shown struck through.';
COMMENT ON COLUMN read.catalog_variants.position IS 'Place among the variants of the product, from 1.';

CREATE TABLE read.catalog_product_terms (
    store_id   uuid NOT NULL,
    kind       text COLLATE "C" NOT NULL CHECK (kind IN ('word', 'tag')),
    term       text COLLATE "C" NOT NULL,
    product_id uuid NOT NULL,
    PRIMARY KEY (store_id, kind, term, product_id)
);
CREATE INDEX catalog_product_terms_by_product ON read.catalog_product_terms (store_id, product_id);
COMMENT ON TABLE read.catalog_product_terms IS 'What a product is found by: its words, and its tags.';
COMMENT ON COLUMN read.catalog_product_terms.kind IS 'word: of title, handle, vendor, kind, SKU, tags; tag: a whole tag.';
COMMENT ON COLUMN read.catalog_product_terms.term IS 'In lower case.';

CREATE TABLE read.catalog_stock_items (
    store_id   uuid        NOT NULL,
    variant_id uuid        NOT NULL,
    version    bigint      NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (store_id, variant_id)
);
COMMENT ON TABLE read.catalog_stock_items IS 'Variants that have or had stock; their quantities are in catalog_stock_levels.';
COMMENT ON COLUMN read.catalog_stock_items.version IS 'Version of the stock''s event stream.';
COMMENT ON COLUMN read.catalog_stock_items.updated_at IS 'When the last change was recorded.';

CREATE TABLE read.catalog_stock_levels (
    store_id   uuid   NOT NULL,
    variant_id uuid   NOT NULL,
    location   text   COLLATE "C" NOT NULL,
    on_hand    bigint NOT NULL,
    reserved   bigint NOT NULL,
    allocated  bigint NOT NULL,
    available  bigint NOT NULL GENERATED ALWAYS AS (on_hand - reserved - allocated) STORED,
    PRIMARY KEY (store_id, variant_id, location)
);
COMMENT ON TABLE read.catalog_stock_levels IS 'Units of a variant at a place.';
COMMENT ON COLUMN read.catalog_stock_levels.location IS 'Code of the place.';
COMMENT ON COLUMN read.catalog_stock_levels.on_hand IS 'Units that are there.';
COMMENT ON COLUMN read.catalog_stock_levels.reserved IS 'Of these, held for checkouts that are under way.';
COMMENT ON COLUMN read.catalog_stock_levels.allocated IS 'Of these, belonging to orders.';
COMMENT ON COLUMN read.catalog_stock_levels.available IS 'Of these, free to be sold.';

-- 4. orders -----------------------------------------------------------------------------------
CREATE TABLE read.order_summaries (
    store_id           uuid        NOT NULL,
    order_id           uuid        NOT NULL,
    number             text        COLLATE "C" NOT NULL,
    status             text        COLLATE "C" NOT NULL
        CHECK (status IN ('placed', 'confirmed', 'paid', 'cancelling', 'cancelled')),
    financial_status   text        COLLATE "C" NOT NULL
        CHECK (financial_status IN ('authorised', 'paid', 'partially_refunded', 'refunded', 'voided')),
    total_minor        bigint      NOT NULL,
    captured_minor     bigint      NOT NULL,
    refunded_minor     bigint      NOT NULL,
    currency           text        COLLATE "C" NOT NULL,
    item_count         bigint      NOT NULL,
    customer_reference text        COLLATE "C",
    country            text,
    channel            text        COLLATE "C" NOT NULL,
    checkout_id        uuid        NOT NULL,
    payment_id         uuid        NOT NULL,
    placed_at          timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    version            bigint      NOT NULL,
    PRIMARY KEY (store_id, order_id)
);
CREATE INDEX order_summaries_newest ON read.order_summaries (store_id, placed_at DESC, order_id DESC);
CREATE INDEX order_summaries_by_status ON read.order_summaries (store_id, status, placed_at DESC, order_id DESC);
CREATE INDEX order_summaries_by_financial_status ON read.order_summaries (store_id, financial_status, placed_at DESC, order_id DESC);
CREATE INDEX order_summaries_by_customer ON read.order_summaries (store_id, customer_reference, placed_at DESC, order_id DESC);
CREATE INDEX order_summaries_by_number ON read.order_summaries (store_id, number);
CREATE INDEX order_summaries_by_checkout ON read.order_summaries (store_id, checkout_id);
COMMENT ON TABLE read.order_summaries IS 'Orders as they are now. One row per order.';
COMMENT ON COLUMN read.order_summaries.number IS 'Number for people, unique in the store.';
COMMENT ON COLUMN read.order_summaries.status IS 'placed, confirmed (stock allocated), paid, cancelling, cancelled.';
COMMENT ON COLUMN read.order_summaries.financial_status IS 'authorised, paid, partially_refunded, refunded, voided (cancelled before money was taken).';
COMMENT ON COLUMN read.order_summaries.total_minor IS 'Lines and charges, in minor units of the currency.';
COMMENT ON COLUMN read.order_summaries.captured_minor IS 'Money taken.';
COMMENT ON COLUMN read.order_summaries.refunded_minor IS 'Money given back.';
COMMENT ON COLUMN read.order_summaries.item_count IS 'Units of all lines.';
COMMENT ON COLUMN read.order_summaries.customer_reference IS 'The merchant''s own reference; NULL for a guest.';
COMMENT ON COLUMN read.order_summaries.checkout_id IS 'The checkout it came from; key of order_timeline and order_payments.';
COMMENT ON COLUMN read.order_summaries.placed_at IS 'Business time; for a taken-over order that of the other system.';
COMMENT ON COLUMN read.order_summaries.updated_at IS 'When the last change was recorded.';
COMMENT ON COLUMN read.order_summaries.version IS 'Version of the order''s event stream.';

CREATE TABLE read.order_lines (
    store_id         uuid   NOT NULL,
    order_id         uuid   NOT NULL,
    position         int    NOT NULL,
    line_id          uuid   NOT NULL,
    product_id       uuid   NOT NULL,
    variant_id       uuid   NOT NULL,
    sku              text   COLLATE "C",
    title            text   NOT NULL,
    quantity         bigint NOT NULL,
    unit_price_minor bigint NOT NULL,
    currency         text   COLLATE "C" NOT NULL,
    total_minor      bigint NOT NULL GENERATED ALWAYS AS (quantity * unit_price_minor) STORED,
    PRIMARY KEY (store_id, order_id, position)
);
CREATE INDEX order_lines_by_sku ON read.order_lines (store_id, sku, order_id);
COMMENT ON TABLE read.order_lines IS 'Products of an order, as they were when it was placed.';
COMMENT ON COLUMN read.order_lines.position IS 'Place in the order, from 1.';

CREATE TABLE read.order_charges (
    store_id     uuid   NOT NULL,
    order_id     uuid   NOT NULL,
    position     int    NOT NULL,
    kind         text   COLLATE "C" NOT NULL,
    code         text   NOT NULL,
    title        text   NOT NULL,
    amount_minor bigint NOT NULL,
    currency     text   COLLATE "C" NOT NULL,
    PRIMARY KEY (store_id, order_id, position)
);
COMMENT ON TABLE read.order_charges IS 'Money on an order that is no product.';
COMMENT ON COLUMN read.order_charges.kind IS 'postage, discount, manual or fee.';
COMMENT ON COLUMN read.order_charges.amount_minor IS 'Negative where the shopper pays less for it.';

CREATE TABLE read.order_refunds (
    store_id     uuid        NOT NULL,
    order_id     uuid        NOT NULL,
    refund_id    uuid        NOT NULL,
    status       text        COLLATE "C" NOT NULL CHECK (status IN ('requested', 'succeeded', 'failed')),
    reference    text,
    amount_minor bigint      NOT NULL,
    currency     text        COLLATE "C" NOT NULL,
    reason       text,
    lines        jsonb       NOT NULL,
    failure_code text,
    requested_at timestamptz NOT NULL,
    completed_at timestamptz,
    PRIMARY KEY (store_id, order_id, refund_id)
);
COMMENT ON TABLE read.order_refunds IS 'Money that goes or went back on an order, cancellations included.';
COMMENT ON COLUMN read.order_refunds.reference IS 'Document behind it, such as the number of a credit note.';
COMMENT ON COLUMN read.order_refunds.lines IS 'Units that come back into stock: [{line_id, quantity}].';
COMMENT ON COLUMN read.order_refunds.requested_at IS 'Business time.';
COMMENT ON COLUMN read.order_refunds.completed_at IS 'Business time of the success or the final failure.';

CREATE TABLE read.order_payments (
    store_id           uuid        NOT NULL,
    payment_id         uuid        NOT NULL,
    checkout_id        uuid        NOT NULL,
    attempt            bigint      NOT NULL,
    provider           text        NOT NULL,
    provider_reference text,
    amount_minor       bigint      NOT NULL,
    currency           text        COLLATE "C" NOT NULL,
    status             text        COLLATE "C" NOT NULL CHECK (status IN
        ('requested', 'action_required', 'unclear', 'authorised', 'declined', 'captured', 'voided')),
    code               text,
    requested_at       timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    version            bigint      NOT NULL,
    PRIMARY KEY (store_id, payment_id)
);
CREATE INDEX order_payments_by_checkout ON read.order_payments (store_id, checkout_id, attempt);
COMMENT ON TABLE read.order_payments IS 'Attempts to pay, those that never became an order included.';
COMMENT ON COLUMN read.order_payments.checkout_id IS 'Joins order_summaries.checkout_id.';
COMMENT ON COLUMN read.order_payments.status IS 'unclear: the provider did not say; it is asked again until it does.';
COMMENT ON COLUMN read.order_payments.code IS 'The provider''s code of a refusal.';

CREATE TABLE read.order_timeline (
    store_id    uuid        NOT NULL,
    checkout_id uuid        NOT NULL,
    position    bigint      NOT NULL,
    entry       text        COLLATE "C" NOT NULL,
    at          timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    actor_kind  text        COLLATE "C" NOT NULL,
    actor_id    uuid        NOT NULL,
    detail      jsonb       NOT NULL,
    PRIMARY KEY (store_id, checkout_id, position)
);
COMMENT ON TABLE read.order_timeline IS 'What happened to an order and its payments, from the first attempt to pay.';
COMMENT ON COLUMN read.order_timeline.checkout_id IS 'Joins order_summaries.checkout_id; payments come before there is an order.';
COMMENT ON COLUMN read.order_timeline.position IS 'Position of the event in the log.';
COMMENT ON COLUMN read.order_timeline.entry IS 'Type of the event in snake case, such as order_placed.';
COMMENT ON COLUMN read.order_timeline.at IS 'Business time.';
COMMENT ON COLUMN read.order_timeline.detail IS 'Facts of the entry, such as amount, reason, code.';

CREATE TABLE read.order_adjustments (
    store_id           uuid        NOT NULL,
    adjustment_id      uuid        NOT NULL,
    reference          text        COLLATE "C" NOT NULL,
    amount_minor       bigint      NOT NULL,
    currency           text        COLLATE "C" NOT NULL,
    lines              jsonb       NOT NULL,
    customer_reference text        COLLATE "C",
    reason             text        NOT NULL,
    given_at           timestamptz NOT NULL,
    recorded_at        timestamptz NOT NULL,
    PRIMARY KEY (store_id, adjustment_id)
);
CREATE INDEX order_adjustments_newest ON read.order_adjustments (store_id, given_at DESC, adjustment_id DESC);
COMMENT ON TABLE read.order_adjustments IS 'Money given back that belongs to no order we know.';
COMMENT ON COLUMN read.order_adjustments.reference IS 'Document behind it, unique in the store.';
COMMENT ON COLUMN read.order_adjustments.lines IS 'What it was for: [{code, title, quantity, unit_price}].';
COMMENT ON COLUMN read.order_adjustments.given_at IS 'Business time.';

-- 5. sales ------------------------------------------------------------------------------------
CREATE TABLE read.analytics_orders (
    store_id        uuid    NOT NULL,
    order_id        uuid    NOT NULL,
    day             date    NOT NULL,
    currency        text    COLLATE "C" NOT NULL,
    units           bigint  NOT NULL,
    products_minor  bigint  NOT NULL,
    postage_minor   bigint  NOT NULL,
    discounts_minor bigint  NOT NULL,
    manual_minor    bigint  NOT NULL,
    fees_minor      bigint  NOT NULL,
    counted         boolean NOT NULL,
    version         bigint  NOT NULL,
    PRIMARY KEY (store_id, order_id)
);
CREATE INDEX analytics_orders_by_day ON read.analytics_orders (store_id, day, currency);
COMMENT ON TABLE read.analytics_orders IS 'What each order adds to analytics_daily_sales once it is paid.';
COMMENT ON COLUMN read.analytics_orders.day IS 'Day (UTC) the shopper placed it, in business time.';
COMMENT ON COLUMN read.analytics_orders.counted IS 'Whether it is paid and therefore counted in analytics_daily_sales.';

CREATE TABLE read.analytics_credit_notes (
    store_id uuid NOT NULL,
    document text COLLATE "C" NOT NULL,
    PRIMARY KEY (store_id, document)
);
COMMENT ON TABLE read.analytics_credit_notes IS 'Documents money went back with: a credit note over several orders counts as one cancellation.';
COMMENT ON COLUMN read.analytics_credit_notes.document IS 'Its reference, or the id of a refund that has none.';

CREATE TABLE read.analytics_daily_sales (
    store_id        uuid   NOT NULL,
    day             date   NOT NULL,
    currency        text   COLLATE "C" NOT NULL,
    orders          bigint NOT NULL,
    units           bigint NOT NULL,
    products_minor  bigint NOT NULL,
    postage_minor   bigint NOT NULL,
    discounts_minor bigint NOT NULL,
    manual_minor    bigint NOT NULL,
    fees_minor      bigint NOT NULL,
    cancellations   bigint NOT NULL,
    refunds_minor   bigint NOT NULL,
    gross_minor     bigint NOT NULL GENERATED ALWAYS AS
        (products_minor + postage_minor + discounts_minor + manual_minor + fees_minor) STORED,
    net_minor       bigint NOT NULL GENERATED ALWAYS AS
        (products_minor + postage_minor + discounts_minor + manual_minor + fees_minor - refunds_minor) STORED,
    PRIMARY KEY (store_id, day, currency)
);
COMMENT ON TABLE read.analytics_daily_sales IS 'Paid orders and money given back, per day (UTC, business time) and currency.';
COMMENT ON COLUMN read.analytics_daily_sales.day IS 'Orders: the day they were placed. Refunds: the day they were given.';
COMMENT ON COLUMN read.analytics_daily_sales.orders IS 'Orders placed that day and paid since. A later cancellation does not take them out: it shows as a refund.';
COMMENT ON COLUMN read.analytics_daily_sales.units IS 'Units of their product lines.';
COMMENT ON COLUMN read.analytics_daily_sales.products_minor IS 'Product lines, in minor units.';
COMMENT ON COLUMN read.analytics_daily_sales.discounts_minor IS 'Reductions: zero or negative.';
COMMENT ON COLUMN read.analytics_daily_sales.manual_minor IS 'Typed in by hand.';
COMMENT ON COLUMN read.analytics_daily_sales.cancellations IS 'Documents by which money was given back, on orders or alone.';
COMMENT ON COLUMN read.analytics_daily_sales.refunds_minor IS 'Money given back: zero or positive.';
COMMENT ON COLUMN read.analytics_daily_sales.gross_minor IS 'Products and charges of the orders.';
COMMENT ON COLUMN read.analytics_daily_sales.net_minor IS 'Gross less refunds.';

CREATE TABLE read.analytics_daily_stock (
    store_id      uuid   NOT NULL,
    day           date   NOT NULL,
    corrections   bigint NOT NULL,
    units_added   bigint NOT NULL,
    units_removed bigint NOT NULL,
    PRIMARY KEY (store_id, day)
);
COMMENT ON TABLE read.analytics_daily_stock IS 'Corrections of stock counts, per day (UTC, business time).';
COMMENT ON COLUMN read.analytics_daily_stock.corrections IS 'How many corrections.';
COMMENT ON COLUMN read.analytics_daily_stock.units_added IS 'Units found.';
COMMENT ON COLUMN read.analytics_daily_stock.units_removed IS 'Units missing: zero or positive.';

-- 6. Rights -----------------------------------------------------------------------------------
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT c.relname FROM pg_class c
                 WHERE c.relnamespace = 'read'::regnamespace AND c.relkind = 'r'
                   AND c.relname <> 'projection_states' LOOP
        PERFORM read.protect('read', name);
    END LOOP;
END $$;
