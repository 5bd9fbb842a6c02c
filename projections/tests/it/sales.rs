//! Daily sales: from events of orders, refunds and stock to reports.

use event_schemas::{
    inventory::{StockAdjusted, StockItemEvent},
    order::OrderEvent,
};
use projections::{
    analytics::report::{self, Granularity, SalesReport},
    as_store,
};
use uuid::Uuid;

use crate::{
    orders::{adjusted, paid, refunded},
    shop::{STORE, Shop, day, order, placed, variant},
};

async fn report(shop: &Shop, from: u64, to: u64, granularity: Granularity) -> SalesReport {
    shop.project().await;
    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    let days = (day(from).date_naive(), day(to).date_naive());
    report::sales(&mut tx, STORE, days, granularity).await.unwrap()
}

async fn append_order(shop: &Shop, n: u128, events: &[OrderEvent]) {
    shop.append(STORE, ("order", order(n).0), events).await;
}

pub(crate) fn corrected(delta: i64, at: u64) -> StockItemEvent {
    StockItemEvent::Adjusted(StockAdjusted {
        location: "main".to_owned(),
        delta,
        reason: "counted".to_owned(),
        reference: None,
        at: day(at),
    })
}

#[tokio::test]
async fn an_order_counts_once_it_is_paid_on_the_day_it_was_placed() {
    let shop = Shop::new().await;
    append_order(&shop, 1, &[OrderEvent::Placed(placed(1, day(0)))]).await;
    assert_eq!(report(&shop, 0, 2, Granularity::Day).await.totals, []);

    append_order(&shop, 1, &[paid(2)]).await;
    let sales = report(&shop, 0, 2, Granularity::Day).await;
    let counts: Vec<_> = sales.buckets.iter().map(|bucket| bucket.totals.len()).collect();
    assert_eq!(counts, [1, 0, 0]);
    let first = &sales.buckets[0].totals[0];
    assert_eq!((first.orders, first.units, first.currency.as_str()), (1, 3, "GBP"));
    assert_eq!(
        (first.products_minor, first.postage_minor, first.discounts_minor),
        (1500, 300, -100)
    );
    assert_eq!((first.gross_minor, first.refunds_minor, first.net_minor), (1700, 0, 1700));
    assert_eq!(sales.totals, sales.buckets[0].totals);
}

#[tokio::test]
async fn money_given_back_counts_on_its_own_day_and_once_per_document() {
    let shop = Shop::new().await;
    for n in 1..=3 {
        append_order(&shop, n, &[OrderEvent::Placed(placed(n, day(0))), paid(0)]).await;
    }
    // One credit note over two orders and a rest that belongs to neither.
    append_order(&shop, 1, &[refunded(1, Some("C1"), 250, 1)]).await;
    append_order(&shop, 2, &[refunded(2, Some("C1"), 250, 1)]).await;
    let stream = |n| ("refund_adjustment", Uuid::from_u128(n));
    shop.append(STORE, stream(1), &[adjusted("C1", 33, 1)]).await;
    shop.append(STORE, stream(2), &[adjusted("C2", 100, 2)]).await;
    // Refunds without a document are one each.
    append_order(&shop, 3, &[refunded(3, None, 10, 2), refunded(4, None, 20, 2)]).await;

    let sales = report(&shop, 0, 2, Granularity::Day).await;
    let days: Vec<_> = sales
        .buckets
        .iter()
        .map(|bucket| (bucket.totals[0].cancellations, bucket.totals[0].refunds_minor))
        .collect();
    assert_eq!(days, [(0, 0), (1, 533), (3, 130)]);
    let whole = &sales.totals[0];
    assert_eq!((whole.orders, whole.cancellations), (3, 4));
    assert_eq!((whole.gross_minor, whole.net_minor), (5100, 5100 - 663));
}

#[tokio::test]
async fn days_add_up_to_weeks_and_months() {
    let shop = Shop::new().await;
    // 2010-12-01 is a Wednesday, the 5th a Sunday; day 31 is in January.
    for (n, nth) in (1..).zip([0, 4, 5, 31]) {
        append_order(&shop, n, &[OrderEvent::Placed(placed(n, day(nth))), paid(nth)]).await;
    }
    let orders = |report: &SalesReport| -> Vec<i64> {
        let buckets = report.buckets.iter();
        buckets.map(|bucket| bucket.totals.iter().map(|totals| totals.orders).sum()).collect()
    };
    let weeks = report(&shop, 0, 31, Granularity::Week).await;
    assert_eq!(orders(&weeks), [2, 1, 0, 0, 1]);
    let months = report(&shop, 0, 31, Granularity::Month).await;
    assert_eq!(orders(&months), [3, 1]);
    assert_eq!(months.totals, weeks.totals);
    let cut = report(&shop, 1, 30, Granularity::Month).await;
    assert_eq!(orders(&cut), [2], "days outside the time asked for do not count");
}

#[tokio::test]
async fn corrections_of_stock_are_no_sales() {
    let shop = Shop::new().await;
    let events = [corrected(5, 1), corrected(-2, 1), corrected(7, 1)];
    shop.append(STORE, ("stock_item", variant(1).0), &events).await;
    let sales = report(&shop, 0, 2, Granularity::Day).await;
    assert_eq!(sales.totals, []);
    let days: Vec<_> = sales.buckets.iter().map(|bucket| bucket.stock_corrections).collect();
    assert_eq!((days, sales.stock_corrections), (vec![0, 3, 0], 3));
}
