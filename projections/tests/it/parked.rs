//! Events that cannot be applied: their stream waits, everything else flows, and nothing is lost.

use event_schemas::order::OrderEvent;
use projections::{
    Projection,
    catalog::products::{self, Product},
    catch_up,
    parked::{self, Counts, Discard, ParkedStream},
    rebuild, verify,
};

use crate::{
    catalog::{created, price_set, received, renamed, variant_added},
    shop::{
        STORE, Shop, day, gbp, new_event, next, order, placed, product, unknown_event, variant,
    },
};

const CATALOG: &Projection = &projections::catalog::PROJECTION;
const ORDERS: &Projection = &projections::order::PROJECTION;

const MISTAKE: Discard<'_> = Discard { reason: "made by mistake", by: "ada", all: false };

/// Products 0, 1 and 2; then 1 gets a new name in a version that nobody knows, a variant and a
/// price; in between, things happen to the others. Returns the position of the bad event.
async fn tell(shop: &Shop) -> i64 {
    for n in 0..3 {
        shop.append(STORE, ("product", product(n).0), &[created(&format!("p{n}"), "Old", &[], 0)])
            .await;
    }
    let stream = ("product", product(1).0);
    let bad = shop.append_raw(STORE, stream, vec![unknown_event(&renamed("New"))]).await;
    shop.append(STORE, ("product", product(2).0), &[renamed("Other")]).await;
    shop.append(STORE, stream, &[variant_added(1, "SKU")]).await;
    shop.append(STORE, ("stock_item", variant(1).0), &[received("main", 1)]).await;
    shop.append(STORE, stream, &[price_set(1, 250, None)]).await;
    bad
}

async fn shown(shop: &Shop, n: u128) -> Product {
    let mut tx = projections::as_store(&shop.db.reader, STORE).await.unwrap();
    products::get(&mut tx, STORE, product(n).0).await.unwrap().unwrap()
}

async fn the_one(shop: &Shop) -> ParkedStream {
    let mut list = parked::list(&shop.db.owner, None).await.unwrap();
    assert_eq!(list.len(), 1, "{list:?}");
    list.remove(0)
}

/// What health checks see.
async fn counts(shop: &Shop) -> Counts {
    projections::lag(&shop.db.reader).await.unwrap()[0].parked
}

/// Both ways to fill the tables anew come to what is there.
async fn is_clean(shop: &Shop, projection: &Projection) {
    assert_eq!(verify(&shop.db.owner, projection).await.unwrap(), []);
    let before = (shop.dump(projection).await, parked::list(&shop.db.owner, None).await.unwrap());
    rebuild(&shop.db.owner, projection, &|_, _| {}).await.unwrap();
    assert_eq!(shop.dump(projection).await, before.0);
    let after = parked::list(&shop.db.owner, None).await.unwrap();
    let places = |list: &[ParkedStream]| {
        list.iter().map(|it| (it.stream_id, it.position, it.events)).collect::<Vec<_>>()
    };
    assert_eq!(places(&after), places(&before.1));
    assert_eq!(verify(&shop.db.owner, projection).await.unwrap(), []);
}

#[tokio::test]
async fn a_stream_waits_at_an_event_that_cannot_be_applied_and_the_others_flow() {
    let shop = Shop::new().await;
    let bad = tell(&shop).await;

    assert_eq!(catch_up(&shop.db.projector, CATALOG).await.unwrap(), 8);

    assert_eq!(shown(&shop, 2).await.title, "Other");
    let (waits, stock) = (shown(&shop, 1).await, shop.dump(CATALOG).await);
    assert_eq!((waits.title.as_str(), waits.version), ("Old", 1));
    let levels = stock.iter().find(|(table, _)| *table == "catalog_stock_levels").unwrap();
    assert_eq!(levels.1.as_array().unwrap().len(), 1, "another stream of the same variant");
    let parked = the_one(&shop).await;
    assert_eq!((parked.projection.as_str(), parked.stream_id), ("catalog", product(1).0));
    assert_eq!((parked.position, parked.version, parked.events, parked.attempts), (bad, 2, 3, 1));
    assert!(parked.reason.starts_with("ProductDetailsChanged: "), "{}", parked.reason);

    // What comes later waits behind it; nobody is behind, and the other projections have no part.
    shop.append(STORE, ("product", product(1).0), &[price_set(1, 300, None)]).await;
    shop.project().await;
    assert_eq!(the_one(&shop).await, ParkedStream { events: 4, ..parked });
    let lag = projections::lag(&shop.db.reader).await.unwrap();
    assert!(lag.iter().all(|lag| lag.events == 0), "{lag:?}");
    assert_eq!(lag[0].parked, Counts { streams: 1, events: 4 });
    assert!(lag[1..].iter().all(|lag| lag.parked == Counts::default()), "{lag:?}");
    is_clean(&shop, CATALOG).await;
}

/// A window is read before it is applied, so the second fault is met first.
#[tokio::test]
async fn a_stream_with_two_faults_is_parked_at_the_first() {
    let shop = Shop::new().await;
    let mut event = placed(1, day(0));
    event.lines[0].unit_price = gbp(i64::MAX);
    let stream = ("order", order(1).0);
    shop.append(STORE, stream, &[OrderEvent::Placed(event)]).await;
    let later = OrderEvent::Placed(placed(1, day(1)));
    shop.append_raw(STORE, stream, vec![unknown_event(&later)]).await;
    shop.append(STORE, ("order", order(2).0), &[OrderEvent::Placed(placed(2, day(0)))]).await;

    while catch_up(&shop.db.projector, ORDERS).await.unwrap() > 0 {}

    let parked = the_one(&shop).await;
    assert_eq!((parked.position, parked.version, parked.events), (1, 1, 2));
    is_clean(&shop, ORDERS).await;
}

#[tokio::test]
async fn an_event_the_tables_refuse_is_found_and_parked() {
    let shop = Shop::new().await;
    for n in 1..=7 {
        let mut event = placed(n, day(0));
        if n == 4 || n == 6 {
            // More than a column of a line's total can hold. No command makes such an event.
            event.lines[0].unit_price = gbp(i64::MAX);
        }
        shop.append(STORE, ("order", order(n).0), &[OrderEvent::Placed(event)]).await;
    }
    while catch_up(&shop.db.projector, ORDERS).await.unwrap() > 0 {}
    let list = parked::list(&shop.db.owner, Some(ORDERS)).await.unwrap();
    let places: Vec<_> = list.iter().map(|it| (it.stream_id, it.position, it.events)).collect();
    assert_eq!(places, [(order(4).0, 4, 1), (order(6).0, 6, 1)]);
    let rows = shop.dump(ORDERS).await;
    assert_eq!(rows[0].1.as_array().unwrap().len(), 5, "{}", rows[0].1);
    is_clean(&shop, ORDERS).await;
}

#[tokio::test]
async fn what_waited_is_applied_in_order_once_the_code_knows_it() {
    let shop = Shop::new().await;
    let bad = tell(&shop).await;
    shop.project().await;
    let parked = the_one(&shop).await;

    let again = parked::retry(&shop.db.owner, CATALOG, &parked).await.unwrap().unwrap();
    assert_eq!(again.applied, 0);
    assert_eq!(again.parked, Some(ParkedStream { attempts: 2, ..parked.clone() }));
    assert_eq!(shown(&shop, 1).await.version, 1);

    let resumed = parked::retry(&shop.db.owner, next(CATALOG), &parked).await.unwrap().unwrap();
    assert_eq!((resumed.applied, resumed.parked), (3, None));
    let now = shown(&shop, 1).await;
    assert_eq!((now.title.as_str(), now.version), ("New", 4));
    assert_eq!(counts(&shop).await, Counts::default());
    is_clean(&shop, next(CATALOG)).await;
    assert_eq!(parked::retry(&shop.db.owner, CATALOG, &parked).await.unwrap(), None);

    // And so does a rebuild by code that knows it, and one by code that does not takes it back.
    rebuild(&shop.db.owner, CATALOG, &|_, _| {}).await.unwrap();
    let parked = the_one(&shop).await;
    assert_eq!((parked.position, parked.events), (bad, 3));
    assert_eq!(counts(&shop).await, Counts { streams: 1, events: 3 });
    assert_eq!(shown(&shop, 1).await.version, 1);
    rebuild(&shop.db.owner, next(CATALOG), &|_, _| {}).await.unwrap();
    assert_eq!(counts(&shop).await, Counts::default());
    assert_eq!(shown(&shop, 1).await, now);
}

#[tokio::test]
async fn a_stream_that_goes_on_waits_at_the_next_bad_event() {
    let shop = Shop::new().await;
    let stream = ("product", product(1).0);
    let events = vec![
        new_event(&created("p", "1", &[], 0)),
        unknown_event(&renamed("2")),
        new_event(&renamed("3")),
        unknown_event(&renamed("4")),
        new_event(&renamed("5")),
    ];
    shop.append_raw(STORE, stream, events).await;
    shop.project().await;
    let parked = the_one(&shop).await;
    assert_eq!((parked.position, parked.events), (2, 4));

    let resumed = parked::discard(&shop.db.owner, CATALOG, &parked, MISTAKE).await.unwrap();
    let resumed = resumed.unwrap();
    assert_eq!(resumed.applied, 1);
    let second = resumed.parked.unwrap();
    assert_eq!((second.position, second.events, second.attempts), (4, 2, 1));
    assert_eq!(shown(&shop, 1).await.title, "3");
    assert_eq!(the_one(&shop).await, second);
    is_clean(&shop, CATALOG).await;
    let stale = parked::discard(&shop.db.owner, CATALOG, &parked, MISTAKE).await.unwrap();
    assert_eq!(stale, None, "what is discarded is what was looked at");

    let second = the_one(&shop).await;
    let all = Discard { all: true, ..MISTAKE };
    let resumed = parked::discard(&shop.db.owner, CATALOG, &second, all).await.unwrap().unwrap();
    assert_eq!((resumed.applied, resumed.parked), (0, None));
    assert_eq!(shown(&shop, 1).await.title, "3");
    assert_eq!(counts(&shop).await, Counts::default());
    is_clean(&shop, CATALOG).await;
    // Left out for good, by code that knows it, too.
    is_clean(&shop, next(CATALOG)).await;
    let noted: Vec<(i64, Option<String>, String, String)> = sqlx::query_as(
        "SELECT position, left(fault, 21), reason, discarded_by FROM log.discarded ORDER BY 1",
    )
    .fetch_all(&shop.db.owner)
    .await
    .unwrap();
    let fault = Some("ProductDetailsChanged".to_owned());
    let note = |position, fault| (position, fault, "made by mistake".into(), "ada".into());
    assert_eq!(noted, [note(2, fault.clone()), note(4, fault), note(5, None)]);
    // The stream flows again.
    shop.append(STORE, stream, &[renamed("6")]).await;
    shop.project().await;
    assert_eq!(shown(&shop, 1).await.title, "6");
    is_clean(&shop, CATALOG).await;
}

#[tokio::test]
async fn streams_of_two_stores_with_one_id_wait_apart() {
    let shop = Shop::new().await;
    tell(&shop).await;
    let stream = ("product", product(1).0);
    let events = [created("p1", "There", &[], 0), renamed("Elsewhere")];
    shop.append(crate::shop::OTHER_STORE, stream, &events).await;
    shop.project().await;
    assert_eq!(the_one(&shop).await.store_id, STORE.0);
    let mut tx = projections::as_store(&shop.db.reader, crate::shop::OTHER_STORE).await.unwrap();
    let there = products::get(&mut tx, crate::shop::OTHER_STORE, product(1).0).await.unwrap();
    assert_eq!(there.unwrap().title, "Elsewhere");
}
