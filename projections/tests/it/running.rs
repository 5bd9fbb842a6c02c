//! Projections at work: woken, polled, standing by, standing still.

use std::time::Duration;

use event_schemas::order::OrderEvent;
use event_store::NewEvent;
use projections::{Projection, ProjectionError, catalog::products, catch_up};
use tokio::sync::watch;

use crate::{
    catalog::{created, received},
    random::{Random, fill},
    shop::{STORE, Shop, day, gbp, new_id, order, placed, product, variant},
};

const CATALOG: &Projection = &projections::catalog::PROJECTION;

/// Long enough for a slow machine, short enough to fail soon.
const PATIENCE: Duration = Duration::from_secs(20);

fn unreadable() -> NewEvent {
    NewEvent {
        event_id: new_id(),
        event_type: "ProductTeleported".to_owned(),
        schema_version: 1,
        payload: br#"{"type":"ProductTeleported"}"#.to_vec(),
    }
}

async fn reached(shop: &Shop, position: i64) -> bool {
    projections::wait_for(&shop.db.reader, &["catalog"], position, PATIENCE).await.unwrap()
}

#[tokio::test]
async fn a_running_projection_keeps_up_until_it_is_told_to_stop() {
    let shop = Shop::new().await;
    let (stopper, shutdown) = watch::channel(false);
    let wakeups = shop.engine.appended();
    let running = projections::run(shop.db.projector.clone(), CATALOG, wakeups, shutdown);
    let story = async {
        let position =
            shop.append(STORE, ("product", product(1).0), &[created("a", "A", &[], 0)]).await;
        assert!(reached(&shop, position).await);
        assert_eq!(projections::position(&shop.db.reader, "catalog").await.unwrap(), position);
        stopper.send(true).unwrap();
    };
    tokio::join!(running, story);
    let far = tokio::time::timeout(PATIENCE / 2, reached(&shop, 99));
    assert!(!far.await.expect("nobody waits for what is not in the log"));
    let behind = projections::wait_for(&shop.db.reader, &["none"], 1, Duration::from_millis(20));
    assert!(!behind.await.unwrap());
}

#[tokio::test]
async fn without_wakeups_it_polls() {
    let shop = Shop::new().await;
    let (stopper, shutdown) = watch::channel(false);
    let (_, wakeups) = watch::channel(0);
    let running = projections::run(shop.db.projector.clone(), CATALOG, wakeups, shutdown);
    let story = async {
        let position =
            shop.append(STORE, ("product", product(1).0), &[created("a", "A", &[], 0)]).await;
        assert!(reached(&shop, position).await);
        drop(stopper);
    };
    tokio::join!(running, story);
}

#[tokio::test]
async fn two_processes_take_turns_and_apply_each_event_once() {
    let shop = Shop::new().await;
    fill(&shop, &mut Random(5), 100).await;
    shop.project().await;
    for projection in projections::ALL {
        let expected = shop.dump(projection).await;
        shop.forget(projection).await;
        let head = projections::position(&shop.db.projector, "none").await.unwrap();
        assert_eq!(head, 0);
        let one = async { while catch_up(&shop.db.projector, projection).await.unwrap() > 0 {} };
        let two = async { while catch_up(&shop.db.projector, projection).await.unwrap() > 0 {} };
        tokio::join!(one, two);
        assert_eq!(shop.dump(projection).await, expected);
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_applied_stops_the_projection_right_before_it() {
    let shop = Shop::new().await;
    for n in 0..3 {
        shop.append(STORE, ("product", product(n).0), &[created("a", "A", &[], 0)]).await;
    }
    let bad = shop.append_raw(STORE, ("product", product(1).0), vec![unreadable()]).await;
    shop.append(STORE, ("stock_item", variant(1).0), &[received("main", 1)]).await;

    assert_eq!(catch_up(&shop.db.projector, CATALOG).await.unwrap(), 3);
    let error = catch_up(&shop.db.projector, CATALOG).await.unwrap_err();
    assert!(
        matches!(error, ProjectionError::Poison { position, .. } if position == bad),
        "{error}"
    );
    assert_eq!(projections::position(&shop.db.projector, "catalog").await.unwrap(), bad - 1);
    let sales = &projections::analytics::PROJECTION;
    assert_eq!(catch_up(&shop.db.projector, sales).await.unwrap(), 5, "the others go on");

    let (stopper, shutdown) = watch::channel(false);
    let wakeups = shop.engine.appended();
    let running = projections::run(shop.db.projector.clone(), CATALOG, wakeups, shutdown);
    let story = async {
        let failing = loop {
            let lag = projections::lag(&shop.db.reader).await.unwrap();
            assert_eq!((lag[0].name, lag[0].events), ("catalog", 2));
            if let Some(failing) = lag[0].failing.clone() {
                break failing;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(failing.position, bad);
        assert!(failing.reason.contains("ProductTeleported"), "{}", failing.reason);
        stopper.send(true).unwrap();
    };
    tokio::join!(running, story);
}

#[tokio::test]
async fn an_event_the_tables_refuse_is_named_and_what_was_before_it_applied() {
    let shop = Shop::new().await;
    for n in 1..=5 {
        let mut event = placed(n, day(0));
        if n == 4 {
            // More than a column of a line's total can hold. No command makes such an event.
            event.lines[0].unit_price = gbp(i64::MAX);
        }
        shop.append(STORE, ("order", order(n).0), &[OrderEvent::Placed(event)]).await;
    }
    let orders = &projections::order::PROJECTION;
    let mut applied = 0;
    let error = loop {
        match catch_up(&shop.db.projector, orders).await {
            Ok(more) => applied += more,
            Err(error) => break error,
        }
    };
    assert_eq!(applied, 3);
    assert!(matches!(error, ProjectionError::Poison { position: 4, .. }), "{error}");
}

#[tokio::test]
async fn a_character_that_postgresql_cannot_hold_is_shown_as_unreadable() {
    let shop = Shop::new().await;
    let event = created("a", "nul \0 and \\u0000", &["\0"], 0);
    shop.append(STORE, ("product", product(1).0), &[event]).await;
    shop.project().await;
    let mut tx = projections::as_store(&shop.db.reader, STORE).await.unwrap();
    let shown = products::get(&mut tx, STORE, product(1).0).await.unwrap().unwrap();
    assert_eq!(
        (shown.title.as_str(), shown.tags),
        ("nul \u{FFFD} and \\u0000", vec!["\u{FFFD}".into()])
    );
}

#[tokio::test]
async fn lag_is_counted_in_events_and_seconds() {
    let shop = Shop::new().await;
    for n in 0..3 {
        shop.append(STORE, ("product", product(n).0), &[created("a", "A", &[], 0)]).await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    for pool in [&shop.db.projector, &shop.db.reader] {
        let lag = projections::lag(pool).await.unwrap();
        assert_eq!(lag.len(), projections::ALL.len());
        assert!(lag.iter().all(|lag| lag.events == 3 && lag.seconds >= 0.02), "{lag:?}");
    }
    shop.project().await;
    let lag = projections::lag(&shop.db.projector).await.unwrap();
    assert!(lag.iter().all(|lag| lag.events == 0 && lag.seconds == 0.0 && lag.failing.is_none()));
}
