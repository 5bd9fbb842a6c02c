//! Projections at work: woken, polled, standing by.

use std::time::Duration;

use event_store::checkpoint::try_lock_checkpoint;
use projections::{Projection, catalog::products, catch_up};
use tokio::{sync::watch, time::Instant};

use crate::{
    catalog::created,
    random::{Random, fill},
    shop::{STORE, Shop, product},
};

const CATALOG: &Projection = &projections::catalog::PROJECTION;

/// Long enough for a slow machine, short enough to fail soon.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a read model may stand still because a process of it hangs.
const TAKEOVER_MAX: Duration = Duration::from_secs(5);

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
async fn who_catches_up_reads_ahead_and_misses_nothing() {
    let shop = Shop::new().await;
    // Several full batches.
    fill(&shop, &mut Random(11), 3_000).await;
    let head: i64 = sqlx::query_scalar("SELECT position FROM log.head")
        .fetch_one(&shop.db.owner)
        .await
        .unwrap();
    assert!(2_500 < head, "{head}");
    let (stopper, shutdown) = watch::channel(false);
    let wakeups = shop.engine.appended();
    let running = projections::run(shop.db.projector.clone(), CATALOG, wakeups, shutdown);
    let story = async {
        assert!(reached(&shop, head).await);
        stopper.send(true).unwrap();
    };
    tokio::join!(running, story);
    assert_eq!(projections::verify(&shop.db.owner, CATALOG).await.unwrap(), []);
}

#[tokio::test]
async fn a_second_process_takes_over_from_one_that_hangs() {
    let shop = Shop::new().await;
    shop.append(STORE, ("product", product(1).0), &[created("a", "A", &[], 0)]).await;
    shop.project().await;
    // What the server sees of a process that was stopped in the middle of a batch.
    let mut hanging = shop.db.projector.begin().await.unwrap();
    try_lock_checkpoint(&mut hanging, "catalog").await.unwrap().unwrap();
    let hangs_since = Instant::now();
    let stream = ("product", product(2).0);
    let position = shop.append(STORE, stream, &[created("b", "B", &[], 0)]).await;
    assert_eq!(catch_up(&shop.db.projector, CATALOG).await.unwrap(), 0, "it stands by");

    let (stopper, shutdown) = watch::channel(false);
    let wakeups = shop.engine.appended();
    let running = projections::run(shop.db.projector.clone(), CATALOG, wakeups, shutdown);
    let story = async {
        assert!(reached(&shop, position).await);
        let taken = hangs_since.elapsed();
        assert!(taken <= TAKEOVER_MAX, "{taken:?}");
        stopper.send(true).unwrap();
    };
    tokio::join!(running, story);
    // It wakes up, and finds out.
    assert!(hanging.commit().await.is_err());
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
    assert!(lag.iter().all(|lag| lag.events == 0 && lag.seconds == 0.0));
}
