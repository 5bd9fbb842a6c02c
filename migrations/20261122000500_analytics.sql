-- Reports of any time zone, customers, and a star schema for analysts.
--
-- 1. The tables of projection `sales` (`projections/src/analytics/`) are made anew: its version 2
--    fills them. Days become spans of 15 minutes, an hour and a day in UTC, of which the days of
--    every time zone can be put together.
-- 2. Schema `analytics`: views over the read models, for people with SQL and for BI tools.
--
-- A rebuild moves tables from schema to schema and a view follows the table it was made of:
-- `read.swap` makes these views anew over the tables that have come.

-- 1. Tables -----------------------------------------------------------------------------------
-- From the first event on: an empty table with a checkpoint would call itself up to date.
TRUNCATE read.analytics_credit_notes;
DELETE FROM read.projection_states WHERE name = 'sales';
DELETE FROM log.checkpoints WHERE name = 'sales';
DROP TABLE read.analytics_orders, read.analytics_daily_sales, read.analytics_daily_stock;

CREATE TABLE read.analytics_orders (
    store_id           uuid        NOT NULL,
    order_id           uuid        NOT NULL,
    placed_at          timestamptz NOT NULL,
    currency           text        COLLATE "C" NOT NULL,
    customer_reference text        COLLATE "C",
    units              bigint      NOT NULL,
    products_minor     bigint      NOT NULL,
    postage_minor      bigint      NOT NULL,
    discounts_minor    bigint      NOT NULL,
    manual_minor       bigint      NOT NULL,
    fees_minor         bigint      NOT NULL,
    lines              jsonb       NOT NULL,
    pending            jsonb       NOT NULL,
    counted            boolean     NOT NULL,
    version            bigint      NOT NULL,
    PRIMARY KEY (store_id, order_id)
);
CREATE INDEX analytics_orders_by_time ON read.analytics_orders (store_id, placed_at) INCLUDE (customer_reference) WHERE counted;
COMMENT ON TABLE read.analytics_orders IS 'What each order adds to the figures once it is paid.';
COMMENT ON COLUMN read.analytics_orders.placed_at IS 'Business time.';
COMMENT ON COLUMN read.analytics_orders.customer_reference IS 'The merchant''s own reference; NULL for a guest.';
COMMENT ON COLUMN read.analytics_orders.lines IS 'Products: [{line_id, product_id, units, unit_price_minor, returned}].';
COMMENT ON COLUMN read.analytics_orders.pending IS 'Refunds asked for and not yet given: {refund_id: [{line_id, quantity}]}, null for all that is left.';
COMMENT ON COLUMN read.analytics_orders.counted IS 'Whether it is paid and therefore in the figures.';

CREATE TABLE read.analytics_refunds (
    store_id           uuid        NOT NULL,
    position           bigint      NOT NULL,
    order_id           uuid,
    document           text        COLLATE "C" NOT NULL,
    customer_reference text        COLLATE "C",
    currency           text        COLLATE "C" NOT NULL,
    amount_minor       bigint      NOT NULL,
    lines              jsonb       NOT NULL,
    given_at           timestamptz NOT NULL,
    PRIMARY KEY (store_id, position)
);
CREATE INDEX analytics_refunds_by_time ON read.analytics_refunds (store_id, given_at);
COMMENT ON TABLE read.analytics_refunds IS 'Money given back, on orders and alone.';
COMMENT ON COLUMN read.analytics_refunds.position IS 'Position of the event in the log.';
COMMENT ON COLUMN read.analytics_refunds.order_id IS 'NULL for a refund that belongs to no order we know.';
COMMENT ON COLUMN read.analytics_refunds.lines IS 'Products of the order that came back: [{product_id, units, amount_minor}], at the price they were sold at.';
COMMENT ON COLUMN read.analytics_refunds.given_at IS 'Business time.';

CREATE TABLE read.analytics_sales (
    store_id        uuid        NOT NULL,
    minutes         smallint    NOT NULL CHECK (minutes IN (15, 60, 1440)),
    starts_at       timestamptz NOT NULL,
    currency        text        COLLATE "C" NOT NULL,
    orders          bigint      NOT NULL,
    units           bigint      NOT NULL,
    products_minor  bigint      NOT NULL,
    postage_minor   bigint      NOT NULL,
    discounts_minor bigint      NOT NULL,
    manual_minor    bigint      NOT NULL,
    fees_minor      bigint      NOT NULL,
    cancellations   bigint      NOT NULL,
    refunds_minor   bigint      NOT NULL,
    PRIMARY KEY (store_id, minutes, starts_at, currency)
);
COMMENT ON TABLE read.analytics_sales IS 'Paid orders and money given back, per span (business time) and currency. Each is in three rows: of a quarter of an hour, an hour, and a day (UTC).';
COMMENT ON COLUMN read.analytics_sales.minutes IS 'Length of the span.';
COMMENT ON COLUMN read.analytics_sales.starts_at IS 'Orders: the span they were placed in. Refunds: the span they were given in.';
COMMENT ON COLUMN read.analytics_sales.orders IS 'Orders placed then and paid since. A later cancellation does not take them out: it shows as a refund.';
COMMENT ON COLUMN read.analytics_sales.products_minor IS 'Product lines, in minor units.';
COMMENT ON COLUMN read.analytics_sales.discounts_minor IS 'Reductions: zero or negative.';
COMMENT ON COLUMN read.analytics_sales.manual_minor IS 'Typed in by hand.';
COMMENT ON COLUMN read.analytics_sales.cancellations IS 'Documents by which money was given back, on orders or alone.';
COMMENT ON COLUMN read.analytics_sales.refunds_minor IS 'Money given back: zero or positive.';

CREATE TABLE read.analytics_activity (
    store_id          uuid        NOT NULL,
    minutes           smallint    NOT NULL CHECK (minutes IN (15, 60, 1440)),
    starts_at         timestamptz NOT NULL,
    orders            bigint      NOT NULL,
    guest_orders      bigint      NOT NULL,
    new_customers     bigint      NOT NULL,
    stock_corrections bigint      NOT NULL,
    PRIMARY KEY (store_id, minutes, starts_at)
);
COMMENT ON TABLE read.analytics_activity IS 'What is in no currency, per span as in analytics_sales.';
COMMENT ON COLUMN read.analytics_activity.orders IS 'Paid orders placed then, of every currency.';
COMMENT ON COLUMN read.analytics_activity.new_customers IS 'Customers whose first paid order was placed then.';
COMMENT ON COLUMN read.analytics_activity.guest_orders IS 'Paid orders without a customer.';
COMMENT ON COLUMN read.analytics_activity.stock_corrections IS 'Corrections of stock counts.';

CREATE TABLE read.analytics_products (
    store_id   uuid NOT NULL,
    product_id uuid NOT NULL,
    title      text NOT NULL,
    PRIMARY KEY (store_id, product_id)
);
COMMENT ON TABLE read.analytics_products IS 'Names of products that were ordered, as the newest order has them.';

CREATE TABLE read.analytics_product_sales (
    store_id       uuid   NOT NULL,
    currency       text   COLLATE "C" NOT NULL,
    span           text   COLLATE "C" NOT NULL CHECK (span IN ('day', 'month')),
    starts_on      date   NOT NULL,
    product_id     uuid   NOT NULL,
    units          bigint NOT NULL,
    revenue_minor  bigint NOT NULL,
    returned_units bigint NOT NULL,
    returned_minor bigint NOT NULL,
    PRIMARY KEY (store_id, currency, span, starts_on, product_id)
);
COMMENT ON TABLE read.analytics_product_sales IS 'Products of paid orders and what came back of them, per day and again per month (UTC, business time).';
COMMENT ON COLUMN read.analytics_product_sales.revenue_minor IS 'Product lines, without charges.';
COMMENT ON COLUMN read.analytics_product_sales.returned_units IS 'Units of refunds that name them, and of cancellations, on the day of the refund.';
COMMENT ON COLUMN read.analytics_product_sales.returned_minor IS 'These units at the price they were sold at.';

CREATE TABLE read.analytics_customers (
    store_id           uuid        NOT NULL,
    customer_reference text        COLLATE "C" NOT NULL,
    orders             bigint      NOT NULL,
    first_order_at     timestamptz,
    last_order_at      timestamptz,
    PRIMARY KEY (store_id, customer_reference)
);
COMMENT ON TABLE read.analytics_customers IS 'Customers by the merchant''s own reference. Guests are not among them.';
COMMENT ON COLUMN read.analytics_customers.orders IS 'Paid orders; 0 for somebody who was only given money back.';
COMMENT ON COLUMN read.analytics_customers.first_order_at IS 'When the first of them was placed.';

CREATE TABLE read.analytics_customer_spending (
    store_id           uuid   NOT NULL,
    customer_reference text   COLLATE "C" NOT NULL,
    currency           text   COLLATE "C" NOT NULL,
    orders             bigint NOT NULL,
    gross_minor        bigint NOT NULL,
    refunded_minor     bigint NOT NULL,
    PRIMARY KEY (store_id, customer_reference, currency)
);
COMMENT ON TABLE read.analytics_customer_spending IS 'What a customer has paid and got back, by currency.';
COMMENT ON COLUMN read.analytics_customer_spending.gross_minor IS 'Totals of paid orders.';

CREATE TABLE read.analytics_customer_totals (
    store_id       uuid   NOT NULL,
    currency       text   COLLATE "C" NOT NULL,
    customers      bigint NOT NULL,
    gross_minor    bigint NOT NULL,
    refunded_minor bigint NOT NULL,
    PRIMARY KEY (store_id, currency)
);
COMMENT ON TABLE read.analytics_customer_totals IS 'Sums of analytics_customer_spending over customers with an order in the currency.';

CREATE TABLE read.analytics_stock_movements (
    store_id        uuid        NOT NULL,
    position        bigint      NOT NULL,
    variant_id      uuid        NOT NULL,
    location        text        COLLATE "C" NOT NULL,
    kind            text        COLLATE "C" NOT NULL CHECK (kind IN ('received', 'corrected')),
    source          text        COLLATE "C",
    quantity        bigint      NOT NULL,
    unit_cost_minor bigint,
    currency        text        COLLATE "C",
    reference       text,
    reason          text,
    moved_at        timestamptz NOT NULL,
    PRIMARY KEY (store_id, position)
);
COMMENT ON TABLE read.analytics_stock_movements IS 'Units that came in, and corrections of counts. What is sold is in the orders.';
COMMENT ON COLUMN read.analytics_stock_movements.position IS 'Position of the event in the log.';
COMMENT ON COLUMN read.analytics_stock_movements.quantity IS 'Units more, or fewer if negative.';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['analytics_orders', 'analytics_refunds', 'analytics_sales', 'analytics_activity',
        'analytics_products', 'analytics_product_sales', 'analytics_customers', 'analytics_customer_spending',
        'analytics_customer_totals', 'analytics_stock_movements'] LOOP
        PERFORM read.protect('read', name);
    END LOOP;
END $$;

-- 2. Who may see what -------------------------------------------------------------------------
-- An operator makes a role per analyst: CREATE ROLE alice LOGIN PASSWORD '…', and then names the
-- stores: `conche analysts allow alice --store demo`, which makes alice a member of conche_analyst.
DO $$
DECLARE
    tries int := 0;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'conche_analyst') THEN
        BEGIN
            CREATE ROLE conche_analyst NOLOGIN NOSUPERUSER NOBYPASSRLS;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            -- Another database of this cluster is being migrated.
            NULL;
        END;
    END IF;
    WHILE NOT pg_catalog.pg_has_role('conche_analyst', 'USAGE') AND tries < 5 LOOP
        BEGIN
            GRANT conche_analyst TO CURRENT_USER WITH ADMIN OPTION;
            EXIT;
        EXCEPTION WHEN insufficient_privilege THEN
            EXIT; -- Somebody else made the role and names its members.
        WHEN internal_error OR unique_violation THEN
            tries := tries + 1;
            PERFORM pg_sleep(0.05);
        END;
    END LOOP;
END $$;
CREATE SCHEMA analytics;
COMMENT ON SCHEMA analytics IS
    'Star schema for analysts: facts and dimensions, all of one''s stores. Amounts are integers of the currency''s minor unit; add up one currency at a time. Times are business times; dates are days in UTC.';
GRANT USAGE ON SCHEMA analytics TO conche_analyst, conche_reader;

CREATE TABLE analytics.store_grants (
    grantee  regrole NOT NULL,
    store_id uuid    NOT NULL,
    PRIMARY KEY (grantee, store_id)
);
COMMENT ON TABLE analytics.store_grants IS 'Which analyst may see which store. Out of reach of analysts.';
COMMENT ON COLUMN analytics.store_grants.grantee IS 'A role; its members see the store too.';
COMMENT ON COLUMN analytics.store_grants.store_id IS 'A store it may see.';

-- Stores of whoever asks: those it was granted, and for a reader the one its transaction names, as
-- everywhere. The setting counts for readers only, because anyone may change a setting.
CREATE VIEW analytics.visible_stores WITH (security_barrier) AS
    SELECT g.store_id FROM analytics.store_grants g WHERE pg_has_role(g.grantee, 'USAGE')
    UNION
    SELECT nullif(current_setting('app.store', true), '')::uuid
     WHERE pg_has_role('conche_reader', 'USAGE');
COMMENT ON VIEW analytics.visible_stores IS 'The stores whose rows you see.';
COMMENT ON COLUMN analytics.visible_stores.store_id IS 'A store.';

-- 3. The star ---------------------------------------------------------------------------------
-- The views have their owner's rights, so that analysts need none on the tables; each lets rows of
-- `visible_stores` pass and, as a security barrier, shows no other row to a function of the asker.
CREATE VIEW analytics.fact_orders WITH (security_barrier) AS
SELECT o.store_id, o.order_id, o.number, o.checkout_id, o.placed_at,
       (o.placed_at AT TIME ZONE 'UTC')::date AS placed_date, o.customer_reference, o.channel,
       o.country, o.status, o.financial_status,
       o.financial_status IN ('paid', 'partially_refunded', 'refunded') AS is_paid,
       o.item_count AS units, o.currency, o.total_minor, o.captured_minor, o.refunded_minor
  FROM read.order_summaries o
 WHERE o.store_id = ANY (ARRAY(SELECT v.store_id FROM analytics.visible_stores v));

CREATE VIEW analytics.fact_order_lines WITH (security_barrier) AS
SELECT l.store_id, l.order_id, l.position AS line_number, l.product_id, l.variant_id, l.sku,
       l.title, o.placed_at, (o.placed_at AT TIME ZONE 'UTC')::date AS placed_date,
       o.financial_status IN ('paid', 'partially_refunded', 'refunded') AS is_paid,
       l.quantity, l.currency, l.unit_price_minor, l.total_minor
  FROM read.order_lines l
  JOIN read.order_summaries o ON o.store_id = l.store_id AND o.order_id = l.order_id
 WHERE l.store_id = ANY (ARRAY(SELECT v.store_id FROM analytics.visible_stores v));

CREATE VIEW analytics.fact_order_charges WITH (security_barrier) AS
SELECT c.store_id, c.order_id, c.position AS charge_number, c.kind, c.code, c.title, o.placed_at,
       (o.placed_at AT TIME ZONE 'UTC')::date AS placed_date,
       o.financial_status IN ('paid', 'partially_refunded', 'refunded') AS is_paid,
       c.currency, c.amount_minor
  FROM read.order_charges c
  JOIN read.order_summaries o ON o.store_id = c.store_id AND o.order_id = c.order_id
 WHERE c.store_id = ANY (ARRAY(SELECT v.store_id FROM analytics.visible_stores v));

CREATE VIEW analytics.fact_refunds WITH (security_barrier) AS
SELECT r.store_id, r.position AS log_position, r.order_id, r.document, r.customer_reference,
       r.given_at, (r.given_at AT TIME ZONE 'UTC')::date AS given_date, r.currency,
       r.amount_minor
  FROM read.analytics_refunds r
 WHERE r.store_id = ANY (ARRAY(SELECT v.store_id FROM analytics.visible_stores v));

CREATE VIEW analytics.fact_payments WITH (security_barrier) AS
SELECT p.store_id, p.payment_id, p.checkout_id, p.attempt, p.provider, p.status,
       p.code AS refusal_code, p.requested_at,
       (p.requested_at AT TIME ZONE 'UTC')::date AS requested_date, p.currency, p.amount_minor
  FROM read.order_payments p
 WHERE p.store_id = ANY (ARRAY(SELECT v.store_id FROM analytics.visible_stores v));

CREATE VIEW analytics.fact_stock_movements WITH (security_barrier) AS
SELECT m.store_id, m.position AS log_position, m.variant_id, m.location, m.kind, m.source,
       m.quantity, m.currency, m.unit_cost_minor, m.reference, m.reason, m.moved_at,
       (m.moved_at AT TIME ZONE 'UTC')::date AS moved_date
  FROM read.analytics_stock_movements m
 WHERE m.store_id = ANY (ARRAY(SELECT v.store_id FROM analytics.visible_stores v));

CREATE VIEW analytics.fact_customer_spending WITH (security_barrier) AS
SELECT s.store_id, s.customer_reference, s.currency, s.orders, s.gross_minor, s.refunded_minor,
       s.gross_minor - s.refunded_minor AS net_minor
  FROM read.analytics_customer_spending s
 WHERE s.store_id = ANY (ARRAY(SELECT v.store_id FROM analytics.visible_stores v));

CREATE VIEW analytics.dim_customer WITH (security_barrier) AS
SELECT c.store_id, c.customer_reference, c.orders, c.first_order_at,
       (c.first_order_at AT TIME ZONE 'UTC')::date AS first_order_date, c.last_order_at
  FROM read.analytics_customers c
 WHERE c.store_id = ANY (ARRAY(SELECT v.store_id FROM analytics.visible_stores v));

CREATE VIEW analytics.dim_product WITH (security_barrier) AS
SELECT p.store_id, p.product_id, p.handle, p.title, p.vendor, p.product_type,
       array_to_string(p.tags, ', ') AS tags, p.status, p.created_at, p.published_at
  FROM read.catalog_products p
 WHERE p.store_id = ANY (ARRAY(SELECT v.store_id FROM analytics.visible_stores v));

CREATE VIEW analytics.dim_variant WITH (security_barrier) AS
SELECT w.store_id, w.variant_id, w.product_id, w.sku, w.barcode, w.title,
       array_to_string(w.option_values, ' / ') AS option_values, w.weight_g, w.currency,
       w.price_minor
  FROM read.catalog_variants w
 WHERE w.store_id = ANY (ARRAY(SELECT v.store_id FROM analytics.visible_stores v));

CREATE VIEW analytics.dim_country WITH (security_barrier) AS
SELECT DISTINCT o.store_id, o.country
  FROM read.order_summaries o
 WHERE o.country IS NOT NULL
   AND o.store_id = ANY (ARRAY(SELECT v.store_id FROM analytics.visible_stores v));

CREATE VIEW analytics.dim_channel WITH (security_barrier) AS
SELECT c.channel, c.name
  FROM (VALUES ('api', 'Made through the API'), ('import', 'Taken over from another system'))
    AS c (channel, name);

CREATE VIEW analytics.dim_date WITH (security_barrier) AS
SELECT d::date AS date, extract(year FROM d)::int AS year, extract(quarter FROM d)::int AS quarter,
       extract(month FROM d)::int AS month, to_char(d, 'FMMonth') AS month_name,
       extract(day FROM d)::int AS day, extract(isoyear FROM d)::int AS iso_year,
       extract(week FROM d)::int AS iso_week, extract(isodow FROM d)::int AS iso_weekday,
       to_char(d, 'FMDay') AS weekday_name
  FROM generate_series(timestamp '2000-01-01', timestamp '2049-12-31', interval '1 day') d;

-- 4. What it all means ------------------------------------------------------------------------
COMMENT ON VIEW analytics.fact_orders IS 'Orders, one row each. Sold is what is_paid; a later cancellation leaves is_paid and shows in fact_refunds.';
COMMENT ON COLUMN analytics.fact_orders.store_id IS 'The store.';
COMMENT ON COLUMN analytics.fact_orders.order_id IS 'The order.';
COMMENT ON COLUMN analytics.fact_orders.number IS 'Number for people, unique in the store.';
COMMENT ON COLUMN analytics.fact_orders.checkout_id IS 'The checkout it came from; joins fact_payments.';
COMMENT ON COLUMN analytics.fact_orders.placed_at IS 'When the shopper placed it, in business time.';
COMMENT ON COLUMN analytics.fact_orders.placed_date IS 'That day in UTC; joins dim_date.';
COMMENT ON COLUMN analytics.fact_orders.customer_reference IS 'Joins dim_customer; NULL for a guest.';
COMMENT ON COLUMN analytics.fact_orders.channel IS 'Where it was made; joins dim_channel.';
COMMENT ON COLUMN analytics.fact_orders.country IS 'Where it goes, as given; joins dim_country.';
COMMENT ON COLUMN analytics.fact_orders.status IS 'placed, confirmed, paid, cancelling or cancelled.';
COMMENT ON COLUMN analytics.fact_orders.financial_status IS 'authorised, paid, partially_refunded, refunded, or voided (cancelled before money was taken).';
COMMENT ON COLUMN analytics.fact_orders.is_paid IS 'Whether its money was taken: it counts in every figure of sales.';
COMMENT ON COLUMN analytics.fact_orders.units IS 'Units of its product lines.';
COMMENT ON COLUMN analytics.fact_orders.currency IS 'ISO 4217 code of the amounts.';
COMMENT ON COLUMN analytics.fact_orders.total_minor IS 'Product lines and charges, in minor units: gross sales where is_paid.';
COMMENT ON COLUMN analytics.fact_orders.captured_minor IS 'Money taken, in minor units.';
COMMENT ON COLUMN analytics.fact_orders.refunded_minor IS 'Money given back on this order so far, in minor units.';

COMMENT ON VIEW analytics.fact_order_lines IS 'Products of orders, one row per line, as they were when the order was placed.';
COMMENT ON COLUMN analytics.fact_order_lines.store_id IS 'The store.';
COMMENT ON COLUMN analytics.fact_order_lines.order_id IS 'The order; joins fact_orders.';
COMMENT ON COLUMN analytics.fact_order_lines.line_number IS 'Place in the order, from 1.';
COMMENT ON COLUMN analytics.fact_order_lines.product_id IS 'Joins dim_product.';
COMMENT ON COLUMN analytics.fact_order_lines.variant_id IS 'Joins dim_variant.';
COMMENT ON COLUMN analytics.fact_order_lines.sku IS 'Stock keeping unit then.';
COMMENT ON COLUMN analytics.fact_order_lines.title IS 'Name of the product then.';
COMMENT ON COLUMN analytics.fact_order_lines.placed_at IS 'When the order was placed, in business time.';
COMMENT ON COLUMN analytics.fact_order_lines.placed_date IS 'That day in UTC; joins dim_date.';
COMMENT ON COLUMN analytics.fact_order_lines.is_paid IS 'Whether the order''s money was taken.';
COMMENT ON COLUMN analytics.fact_order_lines.quantity IS 'Units, at least one.';
COMMENT ON COLUMN analytics.fact_order_lines.currency IS 'ISO 4217 code of the amounts.';
COMMENT ON COLUMN analytics.fact_order_lines.unit_price_minor IS 'What one unit cost, in minor units.';
COMMENT ON COLUMN analytics.fact_order_lines.total_minor IS 'Quantity times price, in minor units.';

COMMENT ON VIEW analytics.fact_order_charges IS 'Money on orders that is no product, one row per charge.';
COMMENT ON COLUMN analytics.fact_order_charges.store_id IS 'The store.';
COMMENT ON COLUMN analytics.fact_order_charges.order_id IS 'The order; joins fact_orders.';
COMMENT ON COLUMN analytics.fact_order_charges.charge_number IS 'Place in the order, from 1.';
COMMENT ON COLUMN analytics.fact_order_charges.kind IS 'postage, discount, manual (typed in by hand) or fee.';
COMMENT ON COLUMN analytics.fact_order_charges.code IS 'The merchant''s code.';
COMMENT ON COLUMN analytics.fact_order_charges.title IS 'Name for people.';
COMMENT ON COLUMN analytics.fact_order_charges.placed_at IS 'When the order was placed, in business time.';
COMMENT ON COLUMN analytics.fact_order_charges.placed_date IS 'That day in UTC; joins dim_date.';
COMMENT ON COLUMN analytics.fact_order_charges.is_paid IS 'Whether the order''s money was taken.';
COMMENT ON COLUMN analytics.fact_order_charges.currency IS 'ISO 4217 code of the amount.';
COMMENT ON COLUMN analytics.fact_order_charges.amount_minor IS 'In minor units; negative where the shopper pays less for it.';

COMMENT ON VIEW analytics.fact_refunds IS 'Money given back, one row each, whether on an order or alone. Net sales are paid orders less these.';
COMMENT ON COLUMN analytics.fact_refunds.store_id IS 'The store.';
COMMENT ON COLUMN analytics.fact_refunds.log_position IS 'Position of the event in the log: the key.';
COMMENT ON COLUMN analytics.fact_refunds.order_id IS 'Joins fact_orders; NULL if it belongs to no order we know.';
COMMENT ON COLUMN analytics.fact_refunds.document IS 'Document behind it, such as the number of a credit note, or the id of the refund. One document may be several refunds.';
COMMENT ON COLUMN analytics.fact_refunds.customer_reference IS 'Joins dim_customer; NULL for a guest.';
COMMENT ON COLUMN analytics.fact_refunds.given_at IS 'When it was given, in business time.';
COMMENT ON COLUMN analytics.fact_refunds.given_date IS 'That day in UTC; joins dim_date.';
COMMENT ON COLUMN analytics.fact_refunds.currency IS 'ISO 4217 code of the amount.';
COMMENT ON COLUMN analytics.fact_refunds.amount_minor IS 'In minor units, above zero.';

COMMENT ON VIEW analytics.fact_payments IS 'Attempts to pay, one row each, those that never became an order included.';
COMMENT ON COLUMN analytics.fact_payments.store_id IS 'The store.';
COMMENT ON COLUMN analytics.fact_payments.payment_id IS 'The attempt.';
COMMENT ON COLUMN analytics.fact_payments.checkout_id IS 'The checkout that wanted to pay; joins fact_orders.';
COMMENT ON COLUMN analytics.fact_payments.attempt IS 'Which attempt of the checkout, from 1.';
COMMENT ON COLUMN analytics.fact_payments.provider IS 'Who was asked.';
COMMENT ON COLUMN analytics.fact_payments.status IS 'requested, action_required, unclear, authorised, declined, captured or voided.';
COMMENT ON COLUMN analytics.fact_payments.refusal_code IS 'The provider''s code of a refusal.';
COMMENT ON COLUMN analytics.fact_payments.requested_at IS 'When it was asked for, in business time.';
COMMENT ON COLUMN analytics.fact_payments.requested_date IS 'That day in UTC; joins dim_date.';
COMMENT ON COLUMN analytics.fact_payments.currency IS 'ISO 4217 code of the amount.';
COMMENT ON COLUMN analytics.fact_payments.amount_minor IS 'What was asked for, in minor units.';

COMMENT ON VIEW analytics.fact_stock_movements IS 'Units that came in and corrections of counts, one row each. What is sold is in fact_order_lines.';
COMMENT ON COLUMN analytics.fact_stock_movements.store_id IS 'The store.';
COMMENT ON COLUMN analytics.fact_stock_movements.log_position IS 'Position of the event in the log: the key.';
COMMENT ON COLUMN analytics.fact_stock_movements.variant_id IS 'Joins dim_variant.';
COMMENT ON COLUMN analytics.fact_stock_movements.location IS 'Code of the place.';
COMMENT ON COLUMN analytics.fact_stock_movements.kind IS 'received or corrected.';
COMMENT ON COLUMN analytics.fact_stock_movements.source IS 'Of units received: opening, purchase, return or import.';
COMMENT ON COLUMN analytics.fact_stock_movements.quantity IS 'Units more, or fewer if negative.';
COMMENT ON COLUMN analytics.fact_stock_movements.currency IS 'ISO 4217 code of the cost.';
COMMENT ON COLUMN analytics.fact_stock_movements.unit_cost_minor IS 'What one unit cost the merchant, in minor units, if known.';
COMMENT ON COLUMN analytics.fact_stock_movements.reference IS 'Document behind it.';
COMMENT ON COLUMN analytics.fact_stock_movements.reason IS 'Why a count was corrected.';
COMMENT ON COLUMN analytics.fact_stock_movements.moved_at IS 'Business time.';
COMMENT ON COLUMN analytics.fact_stock_movements.moved_date IS 'That day in UTC; joins dim_date.';

COMMENT ON VIEW analytics.fact_customer_spending IS 'What each customer has paid and got back so far, one row per customer and currency.';
COMMENT ON COLUMN analytics.fact_customer_spending.store_id IS 'The store.';
COMMENT ON COLUMN analytics.fact_customer_spending.customer_reference IS 'Joins dim_customer.';
COMMENT ON COLUMN analytics.fact_customer_spending.currency IS 'ISO 4217 code of the amounts.';
COMMENT ON COLUMN analytics.fact_customer_spending.orders IS 'Paid orders in the currency.';
COMMENT ON COLUMN analytics.fact_customer_spending.gross_minor IS 'Their totals, in minor units.';
COMMENT ON COLUMN analytics.fact_customer_spending.refunded_minor IS 'Money given back, in minor units.';
COMMENT ON COLUMN analytics.fact_customer_spending.net_minor IS 'Gross less refunds: the lifetime value so far.';

COMMENT ON VIEW analytics.dim_customer IS 'Customers by the merchant''s own reference: no names, no addresses. Guests are not among them.';
COMMENT ON COLUMN analytics.dim_customer.store_id IS 'The store.';
COMMENT ON COLUMN analytics.dim_customer.customer_reference IS 'The merchant''s own reference.';
COMMENT ON COLUMN analytics.dim_customer.orders IS 'Paid orders; 0 for somebody who was only given money back.';
COMMENT ON COLUMN analytics.dim_customer.first_order_at IS 'When the first of them was placed, in business time.';
COMMENT ON COLUMN analytics.dim_customer.first_order_date IS 'That day in UTC; joins dim_date.';
COMMENT ON COLUMN analytics.dim_customer.last_order_at IS 'When the last of them was placed, in business time.';

COMMENT ON VIEW analytics.dim_product IS 'Products as they are now, one row each. Order lines of a taken-over history may name products that are not in the catalogue.';
COMMENT ON COLUMN analytics.dim_product.store_id IS 'The store.';
COMMENT ON COLUMN analytics.dim_product.product_id IS 'The product.';
COMMENT ON COLUMN analytics.dim_product.handle IS 'Name in URLs, unique in the store.';
COMMENT ON COLUMN analytics.dim_product.title IS 'Name for people.';
COMMENT ON COLUMN analytics.dim_product.vendor IS 'Maker or brand; may be empty.';
COMMENT ON COLUMN analytics.dim_product.product_type IS 'Kind in the merchant''s words; may be empty.';
COMMENT ON COLUMN analytics.dim_product.tags IS 'Labels, with commas between.';
COMMENT ON COLUMN analytics.dim_product.status IS 'draft, active or archived.';
COMMENT ON COLUMN analytics.dim_product.created_at IS 'Business time of the creation.';
COMMENT ON COLUMN analytics.dim_product.published_at IS 'Since when it is on show; NULL while it is not.';

COMMENT ON VIEW analytics.dim_variant IS 'What can be bought: variants of products with their price now.';
COMMENT ON COLUMN analytics.dim_variant.store_id IS 'The store.';
COMMENT ON COLUMN analytics.dim_variant.variant_id IS 'The variant.';
COMMENT ON COLUMN analytics.dim_variant.product_id IS 'Joins dim_product.';
COMMENT ON COLUMN analytics.dim_variant.sku IS 'Stock keeping unit, if any.';
COMMENT ON COLUMN analytics.dim_variant.barcode IS 'EAN, UPC or the like, as given.';
COMMENT ON COLUMN analytics.dim_variant.title IS 'Name for people.';
COMMENT ON COLUMN analytics.dim_variant.option_values IS 'Such as S / Red.';
COMMENT ON COLUMN analytics.dim_variant.weight_g IS 'Weight in grams, if known.';
COMMENT ON COLUMN analytics.dim_variant.currency IS 'ISO 4217 code of the price.';
COMMENT ON COLUMN analytics.dim_variant.price_minor IS 'Price of one unit now, in minor units; NULL before the first price.';

COMMENT ON VIEW analytics.dim_country IS 'Countries that orders went to, as given.';
COMMENT ON COLUMN analytics.dim_country.store_id IS 'The store.';
COMMENT ON COLUMN analytics.dim_country.country IS 'Country as the order has it.';

COMMENT ON VIEW analytics.dim_channel IS 'Where orders are made.';
COMMENT ON COLUMN analytics.dim_channel.channel IS 'Code, as in fact_orders.';
COMMENT ON COLUMN analytics.dim_channel.name IS 'What it means.';

COMMENT ON VIEW analytics.dim_date IS 'Days from 2000 to 2049.';
COMMENT ON COLUMN analytics.dim_date.date IS 'The day.';
COMMENT ON COLUMN analytics.dim_date.year IS 'Calendar year.';
COMMENT ON COLUMN analytics.dim_date.quarter IS '1 to 4.';
COMMENT ON COLUMN analytics.dim_date.month IS '1 to 12.';
COMMENT ON COLUMN analytics.dim_date.month_name IS 'In English.';
COMMENT ON COLUMN analytics.dim_date.day IS 'Day of the month.';
COMMENT ON COLUMN analytics.dim_date.iso_year IS 'Year of the ISO week.';
COMMENT ON COLUMN analytics.dim_date.iso_week IS 'ISO week, 1 to 53; weeks begin on Monday.';
COMMENT ON COLUMN analytics.dim_date.iso_weekday IS '1 is Monday, 7 is Sunday.';
COMMENT ON COLUMN analytics.dim_date.weekday_name IS 'In English.';

-- 5. Rights -----------------------------------------------------------------------------------
-- Everything is read only; the table of grants is not among it.
DO $$
DECLARE
    view regclass;
BEGIN
    FOR view IN SELECT c.oid FROM pg_class c
                 WHERE c.relnamespace = 'analytics'::regnamespace AND c.relkind = 'v' LOOP
        EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', view);
        EXECUTE format('GRANT SELECT ON %s TO conche_analyst, conche_reader', view);
    END LOOP;
END $$;
