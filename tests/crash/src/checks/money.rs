//! INV-2, as far as it has a meaning without a ledger: no more goes back than was taken, no more
//! is taken than was reserved, no more reserved than is owed, and everything once.

use super::Question;

const INVARIANT: &str = "INV-2";

pub(super) const QUESTIONS: &[Question] = &[
    Question { invariant: INVARIANT, in_the_end: false, sql: OUT_OF_ORDER },
    Question { invariant: INVARIANT, in_the_end: false, sql: TWICE },
    Question { invariant: INVARIANT, in_the_end: false, sql: NOT_WHAT_IS_OWED },
    Question { invariant: INVARIANT, in_the_end: false, sql: SUM },
];

/// `0 <= refunded <= captured <= authorised <= asked for`, at every prefix, in one currency.
const OUT_OF_ORDER: &str = "
    SELECT format('payment %s of store %s, after position %s: %s asked for, %s authorised, %s captured, '
                  '%s refunded, %s currencies',
                  stream_id, store_id, position, asked, authorised, captured, refunded, currencies)
      FROM (SELECT store_id, stream_id, position,
                   sum(CASE event_type WHEN 'PaymentIntentRequested' THEN minor ELSE 0 END)
                       OVER so_far AS asked,
                   sum(CASE event_type WHEN 'PaymentAuthorised' THEN minor ELSE 0 END)
                       OVER so_far AS authorised,
                   sum(CASE event_type WHEN 'PaymentCaptured' THEN minor ELSE 0 END)
                       OVER so_far AS captured,
                   sum(CASE event_type WHEN 'RefundSucceeded' THEN minor ELSE 0 END)
                       OVER so_far AS refunded,
                   dense_rank() OVER (PARTITION BY store_id, stream_id ORDER BY currency)
                       AS currencies,
                   min(minor) OVER so_far AS least
              FROM money WINDOW so_far AS (PARTITION BY store_id, stream_id ORDER BY position)) m
     WHERE NOT (refunded <= captured AND captured <= authorised AND authorised <= asked)
        OR least < 0 OR currencies > 1
     ORDER BY position";

/// A payment is asked for once and captured once, a checkout pays once, a refund goes back once.
const TWICE: &str = "
    SELECT format('payment %s was asked for %s times and captured %s times',
                  payment, intents, captures)
      FROM payments WHERE intents <> 1 OR captures > 1
     UNION ALL
    SELECT format('checkout %s was paid by %s', checkout, string_agg(payment, ', '))
      FROM payments WHERE captured > refunded
     GROUP BY store_id, checkout HAVING count(*) > 1
     UNION ALL
    SELECT format('refund %s succeeded %s times', payload ->> 'refund_id', count(*))
      FROM log.events_json WHERE category = 'payment' AND event_type = 'RefundSucceeded'
     GROUP BY store_id, payload ->> 'refund_id' HAVING count(*) > 1";

/// What is asked for is what the checkout costs, and so is what the order says was paid; no more
/// is on its way back than was captured, and the order says no more went back than did.
const NOT_WHAT_IS_OWED: &str = "
    SELECT format('payment %s asks for %s, checkout %s costs %s', payment, asked, checkout, total)
      FROM payments p LEFT JOIN checkouts c USING (store_id, checkout)
     WHERE p.asked IS DISTINCT FROM c.total
     UNION ALL
    SELECT format('payment %s: %s captured, %s going back', payment, captured, going_back)
      FROM payments WHERE captured < going_back
     UNION ALL
    SELECT format('order %s of %s: %s paid, %s back; its payment: %s captured, %s back',
                  o.order_id, o.total, o.paid, o.refunded, p.captured, p.refunded)
      FROM orders o LEFT JOIN payments p ON p.store_id = o.store_id AND p.payment = o.payment
     WHERE o.times_paid > 1 OR (o.times_paid = 1 AND o.paid <> o.total)
        OR o.paid > coalesce(p.captured, 0) OR o.refunded > coalesce(p.refunded, 0)";

/// An order's total is the sum of its lines and charges, and its checkout's total.
const SUM: &str = "
    SELECT format('order %s is of %s, its lines and charges of %s, its checkout of %s',
                  o.order_id, o.total, o.sum, c.total)
      FROM orders o LEFT JOIN checkouts c USING (store_id, checkout)
     WHERE o.total IS DISTINCT FROM o.sum OR o.total IS DISTINCT FROM c.total";
