//! Figures: from events of orders, refunds and stock to reports.

use chrono::{DateTime, Utc};
use event_schemas::{
    ids::LineId,
    inventory::{StockAdjusted, StockItemEvent},
    money::{Currency, Money},
    order::{OrderEvent, RefundLine, Restock},
};
use projections::{
    analytics::{
        CustomerReport, DayRange, KeptFigures, customer_report, customers,
        sales::{self, Granularity, SalesReport},
        top_products::{RankBy, TopProduct, TopQuery, top_products},
    },
    as_store,
};
use uuid::Uuid;

use crate::{
    orders::{adjusted, cancellation_requested, paid, refunded, requested},
    shop::{STORE, Shop, day, order, placed, product, variant},
};

/// Days of December 2010, from 0, somewhere.
fn days(from: u64, to: u64, zone: &str) -> DayRange {
    let (from, to) = (day(from).date_naive(), day(to).date_naive());
    DayRange { from, to, zone: zone.parse().unwrap() }
}

async fn report(shop: &Shop, from: u64, to: u64, granularity: Granularity) -> SalesReport {
    shop.project().await;
    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    sales::sales(&mut tx, STORE, days(from, to, "UTC"), granularity).await.unwrap()
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
    let days: Vec<_> =
        sales.buckets.iter().map(|bucket| bucket.activity.stock_corrections).collect();
    assert_eq!((days, sales.activity.stock_corrections), (vec![0, 3, 0], 3));
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[tokio::test]
async fn days_are_those_of_the_time_zone_asked_for() {
    let shop = Shop::new().await;
    // Around midnight of 4 December in UTC, in Kathmandu (18:15) and in New York (5:00).
    let times = ["2010-12-03T18:14:59Z", "2010-12-03T18:15:00Z", "2010-12-04T04:59:59Z"];
    for (n, time) in (1..).zip(times) {
        append_order(&shop, n, &[OrderEvent::Placed(placed(n, at(time))), paid(9)]).await;
    }
    // Noon of the third in UTC is the fourth on the other side of the date line.
    append_order(&shop, 1, &[refunded(1, None, 250, 2)]).await;
    shop.project().await;
    for (zone, orders) in [
        ("UTC", [2, 1]),
        ("Asia/Kathmandu", [1, 2]),
        ("America/New_York", [3, 0]),
        ("Pacific/Kiritimati", [0, 3]),
    ] {
        let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
        let range = days(2, 3, zone);
        let report = sales::sales(&mut tx, STORE, range, Granularity::Day).await.unwrap();
        let buckets = report.buckets.iter();
        let found: Vec<i64> =
            buckets.map(|bucket| bucket.totals.iter().map(|totals| totals.orders).sum()).collect();
        assert_eq!(found, orders, "{zone}");
        assert_eq!(report.totals[0].refunds_minor, 250, "{zone}");
        let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
        let query = TopQuery {
            days: days(3, 3, zone),
            currency: "GBP".to_owned(),
            by: RankBy::Units,
            after: None,
            limit: 10,
        };
        let top = top_products(&mut tx, STORE, &query, &KeptFigures::new()).await.unwrap();
        let units: i64 = top.iter().map(|product| product.units).sum();
        assert_eq!(units, 3 * orders[1], "{zone}");
    }
}

#[tokio::test]
async fn clocks_that_are_put_back_make_a_day_of_twenty_five_hours() {
    let shop = Shop::new().await;
    for (n, hour) in (1..).zip(0..26) {
        let time = at("2010-10-30T22:30:00Z") + chrono::TimeDelta::hours(hour);
        append_order(&shop, n, &[OrderEvent::Placed(placed(n, time)), paid(9)]).await;
    }
    shop.project().await;
    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    let sunday = "2010-10-31".parse().unwrap();
    let range = DayRange { from: sunday, to: sunday, zone: "Europe/London".parse().unwrap() };
    let report = sales::sales(&mut tx, STORE, range, Granularity::Day).await.unwrap();
    assert_eq!(report.totals[0].orders, 25);
}

/// The same with what is kept from earlier reports as without.
async fn top(shop: &Shop, kept: &KeptFigures, currency: &str, by: RankBy) -> Vec<TopProduct> {
    shop.project().await;
    let found = top_of(shop, kept, currency, by).await;
    assert_eq!(found, top_of(shop, &KeptFigures::new(), currency, by).await);
    found
}

async fn top_of(shop: &Shop, kept: &KeptFigures, currency: &str, by: RankBy) -> Vec<TopProduct> {
    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    let (days, currency) = (days(0, 30, "Europe/London"), currency.to_owned());
    let mut query = TopQuery { days, currency, by, after: None, limit: 1 };
    let mut found: Vec<TopProduct> = Vec::new();
    // Page by page: the places between are found again.
    loop {
        let page = top_products(&mut tx, STORE, &query, kept).await.unwrap();
        let Some(last) = page.last() else { return found };
        query.after = Some(last.cursor());
        found.extend(page);
    }
}

#[tokio::test]
async fn products_are_ranked_by_what_is_left_of_their_revenue_or_units() {
    let (shop, kept) = (Shop::new().await, KeptFigures::new());
    // Two bars at 2.50 and a box at 10.00 each.
    for n in 1..=2 {
        append_order(&shop, n, &[OrderEvent::Placed(placed(n, day(0))), paid(0)]).await;
    }
    let ranks = |top: &[TopProduct]| -> Vec<_> {
        top.iter().map(|it| (it.title.clone(), it.units, it.rank)).collect()
    };
    let thing = |n: u32, units, rank| (format!("Thing {n}"), units, rank);
    let by_revenue = top(&shop, &kept, "GBP", RankBy::Revenue).await;
    assert_eq!(ranks(&by_revenue), [thing(2, 2, 2000), thing(1, 4, 1000)]);
    let by_units = top(&shop, &kept, "GBP", RankBy::Units).await;
    assert_eq!(ranks(&by_units), [thing(1, 4, 4), thing(2, 2, 2)]);
    // A refund that fails takes nothing back; one that is given does, and a cancellation the rest.
    let box_of = |n: u128| LineId(Uuid::from_u128(0x6000 + n * 10 + 2));
    let lines = vec![RefundLine { line_id: box_of(1), quantity: 1, restock: Restock::Cancel }];
    let refund = [requested(1, 1000, lines), refunded(1, Some("C1"), 1000, 2)];
    append_order(&shop, 1, &refund).await;
    append_order(&shop, 2, &[cancellation_requested(2)]).await;
    append_order(&shop, 2, &[refunded(2, None, 1700, 3)]).await;
    let by_revenue = top(&shop, &kept, "GBP", RankBy::Revenue).await;
    assert_eq!(ranks(&by_revenue), [thing(1, 4, 500), thing(2, 2, 0)]);
    assert_eq!(by_revenue[1].product_id, product(2).0);
    assert_eq!((by_revenue[1].returned_units, by_revenue[1].returned_minor), (2, 2000));
    assert_eq!(top(&shop, &kept, "EUR", RankBy::Revenue).await, []);
}

async fn customers_of(shop: &Shop, from: u64, to: u64) -> CustomerReport {
    shop.project().await;
    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    customer_report(&mut tx, STORE, days(from, to, "UTC")).await.unwrap()
}

#[tokio::test]
async fn customers_are_new_once_and_come_again() {
    let shop = Shop::new().await;
    // Who ordered when; the order of the log is another one.
    let orders = [("Ann", 9), ("Ann", 1), ("Ben", 2), ("Cid", 1), ("Cid", 2), ("Cid", 9), ("", 2)];
    for (n, (who, nth)) in (1..).zip(orders) {
        let mut placed = placed(n, day(nth));
        placed.customer_reference = (!who.is_empty()).then(|| who.to_owned());
        append_order(&shop, n, &[OrderEvent::Placed(placed), paid(9)]).await;
        shop.project().await;
    }
    let counts =
        |report: CustomerReport| (report.total, report.new, report.returning, report.guest_orders);
    assert_eq!(counts(customers_of(&shop, 0, 1).await), (2, 2, 0, 0));
    assert_eq!(counts(customers_of(&shop, 2, 2).await), (3, 1, 1, 1), "Ben is new, Cid returns");
    assert_eq!(counts(customers_of(&shop, 3, 8).await), (3, 0, 0, 0));
    assert_eq!(counts(customers_of(&shop, 9, 9).await), (3, 0, 2, 0), "Ann and Cid");
    assert_eq!(counts(customers_of(&shop, 0, 9).await), (3, 3, 0, 1));
}

#[tokio::test]
async fn what_a_customer_has_spent_is_less_refunds_and_by_currency() {
    let shop = Shop::new().await;
    let mut euros = placed(2, day(1));
    euros.total = Money { amount_minor: 900, currency: Currency::EUR };
    (euros.lines, euros.charges) = (vec![], vec![]);
    for (n, mut placed) in [(1, placed(1, day(0))), (2, euros), (3, placed(3, day(2)))] {
        placed.customer_reference = Some(if n == 3 { "Ben" } else { "17548" }.to_owned());
        append_order(&shop, n, &[OrderEvent::Placed(placed), paid(3)]).await;
    }
    append_order(&shop, 1, &[refunded(1, None, 250, 4)]).await;
    // Alone, to the first of them and to somebody who never ordered.
    let stream = |n| ("refund_adjustment", Uuid::from_u128(n));
    shop.append(STORE, stream(1), &[adjusted("C1", 33, 5)]).await;
    let report = customers_of(&shop, 0, 9).await;
    let values: Vec<_> = report
        .values
        .iter()
        .map(|it| (it.currency.as_str(), it.customers, it.gross_minor, it.refunded_minor))
        .collect();
    assert_eq!(values, [("EUR", 1, 900, 0), ("GBP", 2, 3400, 283)]);
    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    let ann = customers::get(&mut tx, STORE, "17548").await.unwrap().unwrap();
    assert_eq!((ann.orders, ann.first_order_at), (2, Some(day(0))));
    let spent: Vec<_> = ann.spending.iter().map(|it| (it.gross_minor, it.refunded_minor)).collect();
    assert_eq!(spent, [(900, 0), (1700, 283)]);
    assert_eq!(customers::get(&mut tx, STORE, "nobody").await.unwrap(), None);
}
