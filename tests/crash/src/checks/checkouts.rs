//! INV-3: every checkout ends, and in a legal state.

use super::Question;

const INVARIANT: &str = "INV-3";

pub(super) const QUESTIONS: &[Question] = &[
    Question { invariant: INVARIANT, in_the_end: false, sql: ENDED_OTHERWISE },
    Question { invariant: INVARIANT, in_the_end: false, sql: COMPLETED_WITHOUT },
    Question { invariant: INVARIANT, in_the_end: false, sql: TWO_ORDERS },
    Question { invariant: INVARIANT, in_the_end: true, sql: FAILED_WITH },
    Question { invariant: INVARIANT, in_the_end: true, sql: OPEN },
    Question { invariant: INVARIANT, in_the_end: true, sql: ORDER_OPEN },
    Question { invariant: INVARIANT, in_the_end: true, sql: WORK_LEFT },
];

/// A checkout ends once; nothing happens to it afterwards.
const ENDED_OTHERWISE: &str = "
    SELECT format('checkout %s was completed %s times and failed %s times; ended at %s, goes on to %s',
                  checkout, completed, failed, ended, last)
      FROM checkouts WHERE completed + failed > 1 OR ended <> last";

/// A completed checkout has one paid order, exactly its total captured, and its units allocated.
const COMPLETED_WITHOUT: &str = "
    SELECT format('checkout %s is completed: order %s (placed %s times, paid %s), captured %s of %s',
                  c.checkout, c.order_id, o.placed, o.paid, p.captured, c.total)
      FROM checkouts c
      LEFT JOIN orders o ON o.store_id = c.store_id AND o.order_id = c.order_id
           AND o.checkout = c.checkout
      LEFT JOIN (SELECT store_id, checkout, sum(captured) AS captured FROM payments GROUP BY 1, 2) p
           ON p.store_id = c.store_id AND p.checkout = c.checkout
     WHERE c.completed > 0 AND ((o.placed, o.times_paid) IS DISTINCT FROM (1::bigint, 1::bigint)
                                OR p.captured IS DISTINCT FROM c.total)
     UNION ALL
    SELECT format('checkout %s is completed: wants %s of %s, its order was given %s',
                  c.checkout, w.units, w.variant, a.given)
      FROM checkouts c JOIN wanted w USING (store_id, checkout)
      LEFT JOIN (SELECT store_id, order_id, pg_temp.id('var', variant_id) AS variant, given
                   FROM allocations) a
           ON a.store_id = c.store_id AND a.order_id = c.order_id AND a.variant = w.variant
     WHERE c.completed > 0 AND w.units IS DISTINCT FROM a.given";

/// A checkout has one order, and an order number one order.
const TWO_ORDERS: &str = "
    SELECT format('checkout %s became %s', checkout, string_agg(order_id, ' and '))
      FROM orders GROUP BY store_id, checkout HAVING count(*) > 1
     UNION ALL
    SELECT format('number %s is of %s', number, string_agg(order_id, ' and '))
      FROM orders GROUP BY store_id, number HAVING count(*) > 1";

/// A failed checkout holds no units, has no live order, and has no money: nothing captured that did
/// not go back, nothing reserved. (Its holds are INV-1's.) The same for an order that is cancelled.
const FAILED_WITH: &str = "
    SELECT format('checkout %s has failed: payment %s is %s, %s captured, %s back',
                  c.checkout, p.payment, p.status, p.captured, p.refunded)
      FROM checkouts c JOIN payments p USING (store_id, checkout)
     WHERE c.failed > 0
       AND (p.captured <> p.refunded
            OR p.status NOT IN ('PaymentDeclined', 'PaymentVoided', 'PaymentCaptured'))
     UNION ALL
    SELECT format('checkout %s has failed, its order %s is alive', c.checkout, o.order_id)
      FROM checkouts c JOIN orders o USING (store_id, checkout)
     WHERE c.failed > 0 AND o.cancelled = 0
     UNION ALL
    SELECT format('order %s has %s units of variant %s; it is %s', a.order_id, a.units, a.variant_id,
                  CASE WHEN o.order_id IS NULL THEN 'not there' WHEN o.cancelled > 0 THEN 'cancelled'
                       ELSE 'of a checkout that did not complete' END)
      FROM allocations a
      LEFT JOIN orders o USING (store_id, order_id)
      LEFT JOIN checkouts c ON c.store_id = o.store_id AND c.checkout = o.checkout
     WHERE a.units <> 0
       AND (o.order_id IS NULL OR o.cancelled > 0 OR c.failed > 0 OR c.checkout IS NULL)
     UNION ALL
    SELECT format('order %s is cancelled: %s paid, %s back', order_id, paid, refunded)
      FROM orders WHERE cancelled > 0 AND paid <> refunded";

/// No checkout is open past its time, waits for its own process, or is stuck. One whose hold still
/// counts may wait for its shopper.
const OPEN: &str = "
    SELECT format('checkout %s is %s since position %s, its hold ended at %s', checkout, last_type,
                  last, hold_until)
      FROM checkouts
     WHERE ended IS NULL
       AND (hold_until < now() - interval '60 s'
            OR last_type IN ('CheckoutStarted', 'CheckoutPaymentAuthorised',
                             'CheckoutCompensationStarted', 'CheckoutStuck', 'PaymentStarted'))";

/// No cancellation and no refund is left half done. One that the provider refuses is done.
const ORDER_OPEN: &str = "
    SELECT format('order %s: cancelled %s of %s times, refunds %s, settled %s', order_id,
                  cancelled, unwanted, refunds, settled)
      FROM orders
     WHERE (unwanted > cancelled AND refunds_failed = 0)
        OR NOT coalesce(refunds, '{}') <@ coalesce(settled, '{}')";

/// No process has something to do and nobody who does it.
const WORK_LEFT: &str = "
    SELECT format('%s %s of store %s is due since %s after %s failures: %s', process, id, store_id,
                  due_at, attempts, last_error)
      FROM process.work
     WHERE due_at < now() - interval '60 s'
       AND (leased_until IS NULL OR leased_until < now() - interval '60 s')";
