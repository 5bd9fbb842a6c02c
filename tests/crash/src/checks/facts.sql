-- What the log says, as tables for the questions of this folder. Temporary, of one transaction.
--
-- Made from the stored JSON and not by the program's own code, so that a rule that is wrong there
-- is not wrong here too. Reads events of schema version 1; `log.rs` complains about any other.

-- The text of an id: its prefix and the UUID in Crockford's base 32.
CREATE FUNCTION pg_temp.id(prefix text, id uuid) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT prefix || '_' || string_agg(
               substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ',
                      substring(B'00' || ('x' || replace(id::text, '-', ''))::bit(128)
                                FROM 5 * g + 1 FOR 5)::bit(5)::int + 1, 1), '' ORDER BY g)
      FROM generate_series(0, 25) g
$$;

-- Every change of units at a place. `available` is what it does to what can be sold; holds count
-- until they are released, those that are over included: whoever needs their units releases them
-- first, in the same decision.
CREATE TEMP TABLE stock ON COMMIT DROP AS
SELECT e.store_id, e.stream_id AS variant_id, e.position, e.event_type, part.location,
       e.payload ->> 'reservation_id' AS checkout, e.payload ->> 'order_id' AS order_id,
       CASE WHEN e.event_type IN ('StockReceived', 'StockAdjusted') THEN part.units
            WHEN e.event_type = 'StockShipped' THEN -part.units ELSE 0 END AS on_hand,
       CASE WHEN e.event_type = 'StockReserved' THEN part.units
            WHEN e.event_type IN ('StockReservationReleased', 'StockAllocated') THEN -part.units
            ELSE 0 END AS reserved,
       CASE WHEN e.event_type = 'StockAllocated' THEN part.units
            WHEN e.event_type IN ('StockDeallocated', 'StockShipped') THEN -part.units
            ELSE 0 END AS allocated
  FROM log.events_json e
 CROSS JOIN LATERAL (
       SELECT e.payload ->> 'location',
              coalesce(e.payload ->> 'quantity', e.payload ->> 'delta')::bigint
        WHERE NOT e.payload ? 'parts'
        UNION ALL
       SELECT p ->> 'location', (p ->> 'quantity')::bigint
         FROM jsonb_array_elements(e.payload -> 'parts') p) part(location, units)
 WHERE e.category = 'stock_item' AND e.event_type <> 'StockReservationExtended';

-- What can be sold after each event, all places together.
CREATE TEMP TABLE sellable ON COMMIT DROP AS
SELECT store_id, variant_id, position,
       sum(sum(on_hand - reserved - allocated)) OVER (PARTITION BY store_id, variant_id
                                                      ORDER BY position) AS available
  FROM stock GROUP BY store_id, variant_id, position;
CREATE INDEX ON sellable (store_id, variant_id, position);

-- Holds that nobody has released or given to an order, and until when they count.
CREATE TEMP TABLE holds ON COMMIT DROP AS
SELECT store_id, variant_id, checkout, units, until
  FROM (SELECT store_id, variant_id, checkout, sum(reserved) AS units
          FROM stock WHERE checkout IS NOT NULL
         GROUP BY store_id, variant_id, checkout HAVING sum(reserved) <> 0) open
  LEFT JOIN LATERAL (
       SELECT (e.payload ->> 'until')::timestamptz AS until FROM log.events_json e
        WHERE e.category = 'stock_item' AND e.store_id = open.store_id
          AND e.stream_id = open.variant_id AND e.payload ->> 'reservation_id' = open.checkout
          AND e.event_type IN ('StockReserved', 'StockReservationExtended')
        ORDER BY e.version DESC LIMIT 1) last ON true;

-- Units of each variant that each order was given, and still has.
CREATE TEMP TABLE allocations ON COMMIT DROP AS
SELECT store_id, variant_id, order_id, sum(allocated) AS units,
       sum(greatest(allocated, 0)) AS given
  FROM stock WHERE order_id IS NOT NULL GROUP BY store_id, variant_id, order_id;

CREATE TEMP TABLE checkouts ON COMMIT DROP AS
SELECT store_id, stream_id, pg_temp.id('chk', stream_id) AS checkout,
       min(position) AS started, max(position) AS last,
       (array_agg(event_type ORDER BY position DESC))[1] AS last_type,
       count(*) FILTER (WHERE event_type = 'CheckoutCompleted') AS completed,
       count(*) FILTER (WHERE event_type = 'CheckoutFailed') AS failed,
       min(position) FILTER (WHERE event_type IN ('CheckoutCompleted', 'CheckoutFailed')) AS ended,
       max(payload ->> 'order_id') FILTER (WHERE event_type = 'CheckoutCompleted') AS order_id,
       max((payload -> 'total' ->> 'amount_minor')::bigint)
           FILTER (WHERE event_type = 'CheckoutStarted') AS total,
       max(coalesce(payload ->> 'until', payload ->> 'hold_until')::timestamptz)
           FILTER (WHERE event_type IN ('CheckoutStarted', 'CheckoutHoldExtended')) AS hold_until
  FROM log.events_json WHERE category = 'checkout' GROUP BY store_id, stream_id;

-- Units of each variant that each checkout wants.
CREATE TEMP TABLE wanted ON COMMIT DROP AS
SELECT e.store_id, pg_temp.id('chk', e.stream_id) AS checkout, line ->> 'variant_id' AS variant,
       sum((line ->> 'quantity')::bigint) AS units
  FROM log.events_json e CROSS JOIN jsonb_array_elements(e.payload -> 'lines') line
 WHERE e.category = 'checkout' AND e.event_type = 'CheckoutStarted'
 GROUP BY e.store_id, e.stream_id, line ->> 'variant_id';

-- Every step of a payment that has an amount. That of a refund stands where it was asked for.
CREATE TEMP TABLE money ON COMMIT DROP AS
SELECT e.store_id, e.stream_id, e.position, e.event_type,
       coalesce(e.payload -> 'amount', asked.payload -> 'amount') ->> 'currency' AS currency,
       coalesce(e.payload -> 'amount', asked.payload -> 'amount', '{"amount_minor": 0}')
           ->> 'amount_minor' AS minor
  FROM log.events_json e
  LEFT JOIN LATERAL (
       SELECT a.payload FROM log.events_json a
        WHERE a.category = 'payment' AND a.store_id = e.store_id AND a.stream_id = e.stream_id
          AND a.version < e.version AND a.event_type = 'RefundRequested'
          AND a.payload ->> 'refund_id' = e.payload ->> 'refund_id' LIMIT 1) asked
       ON e.event_type IN ('RefundSucceeded', 'RefundFailed')
 WHERE e.category = 'payment'
   AND e.event_type IN ('PaymentIntentRequested', 'PaymentAuthorised', 'PaymentCaptured',
                        'RefundRequested', 'RefundSucceeded', 'RefundFailed');
ALTER TABLE money ALTER COLUMN minor TYPE bigint USING minor::bigint;

CREATE TEMP TABLE payments ON COMMIT DROP AS
SELECT e.store_id, e.stream_id, pg_temp.id('pay', e.stream_id) AS payment,
       max(e.payload ->> 'checkout_id') AS checkout,
       (array_agg(e.event_type ORDER BY e.position DESC) FILTER (
           WHERE e.event_type NOT LIKE 'Refund%' AND e.event_type <> 'ProviderOutcomeUnknown'))[1]
           AS status,
       coalesce(sum(m.minor) FILTER (WHERE m.event_type = 'PaymentIntentRequested'), 0) AS asked,
       coalesce(sum(m.minor) FILTER (WHERE m.event_type = 'PaymentCaptured'), 0) AS captured,
       coalesce(sum(m.minor) FILTER (WHERE m.event_type = 'RefundSucceeded'), 0) AS refunded,
       coalesce(sum(m.minor) FILTER (WHERE m.event_type = 'RefundRequested'), 0)
     - coalesce(sum(m.minor) FILTER (WHERE m.event_type = 'RefundFailed'), 0) AS going_back,
       count(*) FILTER (WHERE e.event_type = 'PaymentIntentRequested') AS intents,
       count(*) FILTER (WHERE e.event_type = 'PaymentCaptured') AS captures
  FROM log.events_json e
  LEFT JOIN money m ON m.position = e.position
 WHERE e.category = 'payment' GROUP BY e.store_id, e.stream_id;

CREATE TEMP TABLE orders ON COMMIT DROP AS
SELECT store_id, stream_id, pg_temp.id('ord', stream_id) AS order_id,
       max(payload ->> 'checkout_id') AS checkout, max(payload ->> 'number') AS number,
       max(payload ->> 'payment_id') AS payment,
       max((payload -> 'total' ->> 'amount_minor')::bigint)
           FILTER (WHERE event_type = 'OrderPlaced') AS total,
       sum((SELECT coalesce(sum((line ->> 'quantity')::bigint
                                * (line -> 'unit_price' ->> 'amount_minor')::bigint), 0)
              FROM jsonb_array_elements(payload -> 'lines') line)
         + (SELECT coalesce(sum((charge -> 'amount' ->> 'amount_minor')::bigint), 0)
              FROM jsonb_array_elements(payload -> 'charges') charge))
           FILTER (WHERE event_type = 'OrderPlaced') AS sum,
       count(*) FILTER (WHERE event_type = 'OrderPlaced') AS placed,
       count(*) FILTER (WHERE event_type = 'OrderPaid') AS times_paid,
       coalesce(sum((payload -> 'amount' ->> 'amount_minor')::bigint)
           FILTER (WHERE event_type = 'OrderPaid'), 0) AS paid,
       coalesce(sum((payload -> 'amount' ->> 'amount_minor')::bigint)
           FILTER (WHERE event_type = 'OrderRefundRecorded'), 0) AS refunded,
       count(*) FILTER (WHERE event_type = 'OrderCancellationRequested') AS unwanted,
       count(*) FILTER (WHERE event_type = 'OrderCancelled') AS cancelled,
       array_agg(payload ->> 'refund_id') FILTER (WHERE event_type = 'OrderRefundRequested')
           AS refunds,
       array_agg(payload ->> 'refund_id')
           FILTER (WHERE event_type IN ('OrderRefundRecorded', 'OrderRefundFailed')) AS settled,
       count(*) FILTER (WHERE event_type = 'OrderRefundFailed') AS refunds_failed
  FROM log.events_json WHERE category = 'order' GROUP BY store_id, stream_id;

ANALYZE stock, sellable, holds, allocations, checkouts, wanted, money, payments, orders;
