//! INV-1: nothing is sold that is not there, at no point of the log; and what is there is sold.

use super::Question;

const INVARIANT: &str = "INV-1";

pub(super) const QUESTIONS: &[Question] = &[
    Question { invariant: INVARIANT, in_the_end: false, sql: OVERSOLD },
    Question { invariant: INVARIANT, in_the_end: false, sql: HELD_TWICE },
    Question { invariant: INVARIANT, in_the_end: false, sql: SOLD_OUT_IN_NAME },
    Question { invariant: INVARIANT, in_the_end: false, sql: READ_MODEL },
    Question { invariant: INVARIANT, in_the_end: true, sql: STRANDED },
];

/// At every prefix of the log, at each place: nothing is below zero, and no more is promised than
/// is there.
const OVERSOLD: &str = "
    SELECT format('variant %s at %s of store %s, after position %s: %s there, %s held, %s of orders',
                  variant_id, location, store_id, position, on_hand, reserved, allocated)
      FROM (SELECT store_id, variant_id, location, position, sum(on_hand) OVER place AS on_hand,
                   sum(reserved) OVER place AS reserved, sum(allocated) OVER place AS allocated
              FROM stock
            WINDOW place AS (PARTITION BY store_id, variant_id, location ORDER BY position)) level
     WHERE on_hand < reserved + allocated OR least(on_hand, reserved, allocated) < 0
     ORDER BY position";

/// A checkout has one hold of a variant at a time, and gives back or takes what it holds.
const HELD_TWICE: &str = "
    SELECT format('checkout %s, variant %s, after position %s: %s units of %s holds',
                  checkout, variant_id, position, units, holds)
      FROM (SELECT store_id, variant_id, checkout, position, sum(reserved) OVER hold AS units,
                   sum(CASE WHEN event_type = 'StockReserved' THEN 1 ELSE -1 END) OVER hold AS holds
              FROM (SELECT store_id, variant_id, checkout, position, event_type,
                           sum(reserved) AS reserved
                      FROM stock WHERE checkout IS NOT NULL GROUP BY 1, 2, 3, 4, 5) event
            WINDOW hold AS (PARTITION BY store_id, variant_id, checkout ORDER BY position)) level
     WHERE holds NOT IN (0, 1) OR units < 0 OR (holds = 0) <> (units = 0)
     ORDER BY position";

/// No checkout was told that there is too little while there was enough for as long as it asked.
const SOLD_OUT_IN_NAME: &str = "
    SELECT format('checkout %s was refused %s of variant %s, said to have %s: it had at least %s',
                  checkout, requested, variant, said, least)
      FROM (SELECT c.checkout, line ->> 'variant_id' AS variant,
                   (line ->> 'requested')::bigint AS requested,
                   (line ->> 'available')::bigint AS said,
                   least(coalesce(before.available, 0), during.available) AS least
              FROM checkouts c
              JOIN log.events_json e ON e.category = 'checkout' AND e.store_id = c.store_id
                   AND e.stream_id = c.stream_id AND e.event_type = 'CheckoutCompensationStarted'
             CROSS JOIN jsonb_array_elements(e.payload -> 'cause' -> 'lines') line
              JOIN (SELECT DISTINCT store_id, variant_id, pg_temp.id('var', variant_id) AS variant
                      FROM sellable) v
                   ON v.store_id = c.store_id AND v.variant = line ->> 'variant_id'
              LEFT JOIN LATERAL (
                   SELECT s.available FROM sellable s
                    WHERE s.store_id = v.store_id AND s.variant_id = v.variant_id
                      AND s.position < c.started ORDER BY s.position DESC LIMIT 1) before ON true
             CROSS JOIN LATERAL (
                   SELECT min(s.available) AS available FROM sellable s
                    WHERE s.store_id = v.store_id AND s.variant_id = v.variant_id
                      AND s.position BETWEEN c.started AND e.position) during) refusal
     WHERE requested <= least OR requested <= said";

/// The read model has the same units as the log up to where it is.
const READ_MODEL: &str = "
    SELECT format('variant %s at %s: the read model has %s there, %s held, %s of orders; the log %s, %s, %s',
                  variant_id, location, l.on_hand, l.reserved, l.allocated,
                  s.on_hand, s.reserved, s.allocated)
      FROM read.catalog_stock_levels l
      FULL JOIN (SELECT store_id, variant_id, location, sum(on_hand) AS on_hand,
                        sum(reserved) AS reserved, sum(allocated) AS allocated
                   FROM stock
                  WHERE position <= (SELECT position FROM log.checkpoints WHERE name = 'catalog')
                  GROUP BY store_id, variant_id, location) s
           USING (store_id, variant_id, location)
     WHERE (l.on_hand, l.reserved, l.allocated) IS DISTINCT FROM (s.on_hand, s.reserved, s.allocated)";

/// No units are held for a checkout that has ended or never began, or long after the hold is over.
const STRANDED: &str = "
    SELECT format('%s units of variant %s are held until %s for checkout %s, which %s',
                  h.units, h.variant_id, h.until, h.checkout,
                  CASE WHEN c.checkout IS NULL THEN 'never began'
                       WHEN c.ended IS NOT NULL THEN 'has ended' ELSE 'is not driven' END)
      FROM holds h LEFT JOIN checkouts c USING (store_id, checkout)
     WHERE c.checkout IS NULL OR c.ended IS NOT NULL OR h.until < now() - interval '60 s'";
