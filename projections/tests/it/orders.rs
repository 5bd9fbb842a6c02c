//! Orders: from events of orders and payments to lists, details and timelines.

use event_schemas::{
    ids::{AdjustmentId, LineId, RefundId},
    order::{
        AdjustmentEvent, AdjustmentLine, OrderCancellationRequested, OrderCancelled,
        OrderConfirmed, OrderEvent, OrderPaid, OrderRefundFailed, OrderRefundRecorded,
        OrderRefundRequested, RefundAdjustmentRecorded, RefundLine, Restock,
    },
    payment::{
        DeclineAdvice, PaymentAuthorised, PaymentCaptured, PaymentDeclined, PaymentEvent,
        PaymentIntentRequested,
    },
    store::CaptureMoment,
};
use projections::{
    as_store,
    order::{
        adjustments, lines,
        list::{self, OrderBy, OrderFilter, OrderSort, OrdersFrom},
        payments, refunds, summaries, timeline,
    },
};
use serde_json::json;
use uuid::Uuid;

use crate::shop::{STORE, Shop, checkout, day, gbp, order, payment, placed};

pub(crate) fn refund(n: u128) -> RefundId {
    RefundId(Uuid::from_u128(0x7000 + n))
}

pub(crate) fn confirmed() -> OrderEvent {
    OrderEvent::Confirmed(OrderConfirmed { capture: CaptureMoment::Immediately, at: day(0) })
}

pub(crate) fn paid(at: u64) -> OrderEvent {
    OrderEvent::Paid(OrderPaid { amount: gbp(1700), at: day(at) })
}

pub(crate) fn refunded(n: u128, reference: Option<&str>, minor: i64, at: u64) -> OrderEvent {
    OrderEvent::RefundRecorded(OrderRefundRecorded {
        refund_id: refund(n),
        reference: reference.map(str::to_owned),
        amount: gbp(minor),
        at: day(at),
    })
}

pub(crate) fn adjusted(reference: &str, minor: i64, at: u64) -> AdjustmentEvent {
    AdjustmentEvent::Recorded(RefundAdjustmentRecorded {
        reference: reference.to_owned(),
        amount: gbp(minor),
        lines: vec![AdjustmentLine {
            code: "22423".to_owned(),
            title: "Cakestand".to_owned(),
            quantity: 1,
            unit_price: gbp(minor),
        }],
        customer_reference: Some("17548".to_owned()),
        reason: "original not known".to_owned(),
        at: day(at),
    })
}

pub(crate) fn intent(n: u128, attempt: u32) -> PaymentEvent {
    PaymentEvent::IntentRequested(PaymentIntentRequested {
        checkout_id: checkout(n),
        attempt,
        amount: gbp(1700),
        provider: "sandbox".to_owned(),
        payment_method: "tok_secret".to_owned(),
        at: day(0),
    })
}

pub(crate) fn authorised() -> PaymentEvent {
    PaymentEvent::Authorised(PaymentAuthorised {
        provider_reference: "sb_1".to_owned(),
        amount: gbp(1700),
        expires_at: None,
        at: day(0),
    })
}

pub(crate) fn requested(n: u128, minor: i64, lines: Vec<RefundLine>) -> OrderEvent {
    OrderEvent::RefundRequested(OrderRefundRequested {
        refund_id: refund(n),
        reference: None,
        amount: gbp(minor),
        lines,
        reason: "broken".to_owned(),
        at: day(1),
    })
}

pub(crate) fn cancellation_requested(n: u128) -> OrderEvent {
    OrderEvent::CancellationRequested(OrderCancellationRequested {
        refund_id: refund(n),
        reason: "wrong size".to_owned(),
        at: day(2),
    })
}

pub(crate) fn cancelled() -> OrderEvent {
    OrderEvent::Cancelled(OrderCancelled { reason: "wrong size".to_owned(), at: day(3) })
}

async fn append_order(shop: &Shop, n: u128, events: &[OrderEvent]) {
    shop.append(STORE, ("order", order(n).0), events).await;
}

async fn append_payment(shop: &Shop, n: u128, events: &[PaymentEvent]) {
    shop.append(STORE, ("payment", payment(n).0), events).await;
}

/// An attempt that is declined, one that works, the order, a refund, and its cancellation.
async fn a_whole_life(shop: &Shop) {
    let declined = PaymentEvent::Declined(PaymentDeclined {
        code: "card_declined".to_owned(),
        advice: DeclineAdvice::OtherMethod,
        at: day(0),
    });
    append_payment(shop, 90, &[intent(1, 1), declined]).await;
    append_payment(shop, 1, &[intent(1, 2), authorised()]).await;
    append_order(shop, 1, &[OrderEvent::Placed(placed(1, day(0))), confirmed()]).await;
    let captured = PaymentEvent::Captured(PaymentCaptured { amount: gbp(1700), at: day(0) });
    append_payment(shop, 1, &[captured]).await;
    let line = RefundLine {
        line_id: LineId(Uuid::from_u128(0x6011)),
        quantity: 1,
        restock: Restock::Cancel,
    };
    append_order(shop, 1, &[paid(0), requested(1, 250, vec![line])]).await;
    append_order(shop, 1, &[refunded(1, Some("CN-1"), 250, 1)]).await;
    shop.project().await;
}

#[tokio::test]
async fn an_order_shows_with_all_that_belongs_to_it() {
    let shop = Shop::new().await;
    a_whole_life(&shop).await;

    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    let found = summaries::get(&mut tx, STORE, order(1).0).await.unwrap().unwrap();
    assert_eq!((found.number.as_str(), found.item_count, found.version), ("536001", 3, 5));
    assert_eq!(
        (found.status.as_str(), found.financial_status.as_str()),
        ("paid", "partially_refunded")
    );
    assert_eq!((found.total_minor, found.captured_minor, found.refunded_minor), (1700, 1700, 250));
    let lines = lines::of_order(&mut tx, STORE, order(1).0).await.unwrap();
    let skus: Vec<_> = lines.iter().map(|line| (line.sku.as_deref(), line.quantity)).collect();
    assert_eq!(skus, [(Some("BAR-70"), 2), (Some("BOX-12"), 1)]);
    let charges = lines::charges_of_order(&mut tx, STORE, order(1).0).await.unwrap();
    let kinds: Vec<_> = charges.iter().map(|c| (c.kind.as_str(), c.amount_minor)).collect();
    assert_eq!(kinds, [("postage", 300), ("discount", -100)]);
    let refunds = refunds::of_order(&mut tx, STORE, order(1).0).await.unwrap();
    assert_eq!(
        (refunds[0].status.as_str(), refunds[0].reference.as_deref()),
        ("succeeded", Some("CN-1"))
    );
    assert_eq!(refunds[0].lines.0[0].quantity, 1);
    let payments = payments::of_checkout(&mut tx, STORE, found.checkout_id).await.unwrap();
    let statuses: Vec<_> = payments.iter().map(|p| (p.attempt, p.status.as_str())).collect();
    assert_eq!(statuses, [(1, "declined"), (2, "captured")]);
}

#[tokio::test]
async fn a_timeline_begins_with_the_first_attempt_to_pay_and_shows_no_token() {
    let shop = Shop::new().await;
    a_whole_life(&shop).await;

    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    let first = timeline::list(&mut tx, STORE, checkout(1).0, 0, 6).await.unwrap();
    let after = first.rows.last().unwrap().position;
    let second = timeline::list(&mut tx, STORE, checkout(1).0, after, 6).await.unwrap();
    assert_eq!((first.more, second.more), (true, false));
    let entries: Vec<_> = first.rows.iter().chain(&second.rows).collect();
    let codes: Vec<_> = entries.iter().map(|entry| entry.entry.as_str()).collect();
    assert_eq!(
        codes,
        [
            "payment_intent_requested",
            "payment_declined",
            "payment_intent_requested",
            "payment_authorised",
            "order_placed",
            "order_confirmed",
            "payment_captured",
            "order_paid",
            "order_refund_requested",
            "order_refund_recorded",
        ]
    );
    assert_eq!(entries[1].detail, json!({ "code": "card_declined", "advice": "other_method" }));
    assert_eq!((entries[9].actor_kind.as_str(), entries[9].at), ("user", day(1)));
    assert!(!format!("{entries:?}").contains("tok_secret"));
}

#[tokio::test]
async fn a_cancelled_order_gives_back_what_is_left() {
    let shop = Shop::new().await;
    a_whole_life(&shop).await;
    append_order(&shop, 1, &[cancellation_requested(2)]).await;
    shop.project().await;
    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    let found = summaries::get(&mut tx, STORE, order(1).0).await.unwrap().unwrap();
    assert_eq!(found.status, "cancelling");
    let refunds = refunds::of_order(&mut tx, STORE, order(1).0).await.unwrap();
    assert_eq!((refunds[1].status.as_str(), refunds[1].amount_minor), ("requested", 1450));
    drop(tx);

    append_order(&shop, 1, &[refunded(2, None, 1450, 3), cancelled()]).await;
    shop.project().await;
    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    let found = summaries::get(&mut tx, STORE, order(1).0).await.unwrap().unwrap();
    assert_eq!((found.status.as_str(), found.financial_status.as_str()), ("cancelled", "refunded"));
    assert_eq!(found.refunded_minor, 1700);
}

#[tokio::test]
async fn an_order_cancelled_before_it_is_paid_is_voided_and_has_no_refund() {
    let shop = Shop::new().await;
    let events = [OrderEvent::Placed(placed(1, day(0))), cancellation_requested(1), cancelled()];
    append_order(&shop, 1, &events).await;
    shop.project().await;
    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    let found = summaries::get(&mut tx, STORE, order(1).0).await.unwrap().unwrap();
    assert_eq!((found.status.as_str(), found.financial_status.as_str()), ("cancelled", "voided"));
    assert_eq!(refunds::of_order(&mut tx, STORE, order(1).0).await.unwrap(), []);
}

#[tokio::test]
async fn a_refund_that_fails_says_why() {
    let shop = Shop::new().await;
    let failed = OrderEvent::RefundFailed(OrderRefundFailed {
        refund_id: refund(1),
        code: "account_closed".to_owned(),
        at: day(2),
    });
    let events =
        [OrderEvent::Placed(placed(1, day(0))), paid(0), requested(1, 100, vec![]), failed];
    append_order(&shop, 1, &events).await;
    shop.project().await;
    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    let refunds = refunds::of_order(&mut tx, STORE, order(1).0).await.unwrap();
    assert_eq!(
        (refunds[0].status.as_str(), refunds[0].failure_code.as_deref()),
        ("failed", Some("account_closed"))
    );
    let found = summaries::get(&mut tx, STORE, order(1).0).await.unwrap().unwrap();
    assert_eq!((found.financial_status.as_str(), found.refunded_minor), ("paid", 0));
}

#[tokio::test]
async fn orders_are_found_by_every_filter_and_by_several_at_once() {
    let shop = Shop::new().await;
    append_order(&shop, 1, &[OrderEvent::Placed(placed(1, day(0))), confirmed(), paid(0)]).await;
    append_order(&shop, 2, &[OrderEvent::Placed(placed(2, day(1)))]).await;
    let mut third = placed(13, day(2));
    third.lines.truncate(1);
    append_order(&shop, 13, &[OrderEvent::Placed(third), cancelled()]).await;
    shop.project().await;

    let found = async |filter: OrderFilter| -> Vec<String> {
        let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
        let first = (OrderSort::default(), &OrdersFrom::Start);
        let rows = list::list(&mut tx, STORE, &filter, first, 10).await.unwrap().rows;
        let count = list::count(&mut tx, STORE, &filter).await.unwrap();
        assert_eq!(usize::try_from(count), Ok(rows.len()));
        rows.into_iter().map(|order| order.number).collect()
    };
    let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let all = OrderFilter::default;
    let search = |text: &str| OrderFilter { search: Some(text.to_owned()), ..all() };

    assert_eq!(found(all()).await, ["536013", "536002", "536001"]);
    let statuses = texts(&["placed", "cancelled"]);
    assert_eq!(found(OrderFilter { statuses, ..all() }).await, ["536013", "536002"]);
    let financial_statuses = texts(&["voided"]);
    assert_eq!(found(OrderFilter { financial_statuses, ..all() }).await, ["536013"]);
    let from_second = OrderFilter { placed_from: Some(day(1)), ..all() };
    assert_eq!(found(from_second.clone()).await, ["536013", "536002"]);
    let only_second = OrderFilter { placed_before: Some(day(2)), ..from_second };
    assert_eq!(found(only_second.clone()).await, ["536002"]);
    let customer = OrderFilter { customer: Some("17851".to_owned()), ..all() };
    assert_eq!(found(customer.clone()).await, ["536001"]);
    assert_eq!(found(search("53600")).await, ["536002", "536001"], "beginning of a number");
    assert_eq!(found(search("17852")).await, ["536002"], "customer");
    assert_eq!(found(search("BOX-12")).await, ["536002", "536001"], "SKU");
    assert_eq!(found(search("5360%")).await, [""; 0], "no wildcards");
    let both = OrderFilter { search: Some("5360".to_owned()), ..only_second };
    assert_eq!(found(both).await, ["536002"]);
    let none = OrderFilter { search: Some("536002".to_owned()), ..customer };
    assert_eq!(found(none).await, [""; 0]);
}

#[tokio::test]
async fn pages_of_orders_of_one_moment_meet() {
    let shop = Shop::new().await;
    for n in 0..5 {
        append_order(&shop, n, &[OrderEvent::Placed(placed(n, day(0)))]).await;
    }
    shop.project().await;
    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    let mut page = async |from: OrdersFrom| {
        let all = OrderFilter::default();
        let page =
            list::list(&mut tx, STORE, &all, (OrderSort::default(), &from), 2).await.unwrap();
        (page.rows, page.more)
    };
    let (first, more) = page(OrdersFrom::Start).await;
    assert!(more);
    let (second, more) = page(OrdersFrom::After(first[1].cursor(OrderBy::PlacedAt))).await;
    assert!(more);
    let (third, more) = page(OrdersFrom::After(second[1].cursor(OrderBy::PlacedAt))).await;
    assert!(!more);
    let numbers: Vec<_> = first.iter().chain(&second).chain(&third).map(|o| &o.number).collect();
    assert_eq!(numbers, ["536004", "536003", "536002", "536001", "536000"]);
    assert_eq!(
        page(OrdersFrom::Before(third[0].cursor(OrderBy::PlacedAt))).await,
        (second.clone(), true)
    );
    assert_eq!(page(OrdersFrom::Before(second[0].cursor(OrderBy::PlacedAt))).await, (first, false));
}

#[tokio::test]
async fn refunds_of_unknown_orders_are_listed_by_themselves() {
    let shop = Shop::new().await;
    for (n, reference) in (0..3_u8).zip(["C1", "C2", "C3"]) {
        let stream = ("refund_adjustment", AdjustmentId(Uuid::from_u128(0x8000 + u128::from(n))).0);
        shop.append(STORE, stream, &[adjusted(reference, 500, u64::from(n))]).await;
    }
    shop.project().await;
    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    let first = adjustments::list(&mut tx, STORE, None, 2).await.unwrap();
    let after = first.rows[1].cursor();
    let second = adjustments::list(&mut tx, STORE, Some(&after), 2).await.unwrap();
    assert_eq!((first.more, second.more), (true, false));
    let references: Vec<_> =
        first.rows.iter().chain(&second.rows).map(|row| row.reference.as_str()).collect();
    assert_eq!(references, ["C3", "C2", "C1"]);
    assert_eq!(first.rows[0].lines.0[0].title, "Cakestand");
}
