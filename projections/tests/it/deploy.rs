//! A program that was changed, or changed back, and the tables it finds.

use std::time::Duration;

use projections::{
    Projection, ProjectionError, as_store, catalog::products, catch_up, parked, prepare, rebuild,
    roll_back, verify,
};
use tokio::sync::watch;

use crate::{
    catalog::{created, renamed},
    random::{Random, fill},
    shop::{STORE, Shop, next, product, unknown_event},
};

const CATALOG: &Projection = &projections::catalog::PROJECTION;

/// As the next release has it.
const NEWER: &Projection = &Projection { version: CATALOG.version + 1, ..*CATALOG };

/// Long enough for a slow machine, short enough to fail soon.
const PATIENCE: Duration = Duration::from_secs(20);

async fn full() -> Shop {
    let shop = Shop::new().await;
    fill(&shop, &mut Random(4), 100).await;
    shop.project().await;
    shop
}

async fn create(shop: &Shop, n: u128) -> i64 {
    shop.append(STORE, ("product", product(n).0), &[created(&format!("n{n}"), "Bar", &[], 0)]).await
}

async fn is_shown(shop: &Shop, n: u128) -> bool {
    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    products::get(&mut tx, STORE, product(n).0).await.unwrap().is_some()
}

async fn version(shop: &Shop) -> i32 {
    let version = "SELECT version FROM read.projection_states WHERE name = 'catalog'";
    sqlx::query_scalar(version).fetch_one(&shop.db.owner).await.unwrap()
}

async fn no_way_back(shop: &Shop, projection: &Projection) -> String {
    match roll_back(&shop.db.owner, projection).await.unwrap_err() {
        ProjectionError::NoWayBack { reason, .. } => reason,
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_program_of_a_newer_version_rebuilds_its_tables_once_whoever_comes_first() {
    let shop = full().await;
    let rows = shop.dump(CATALOG).await;
    // Not projected any more by the old version, and by the new one not before it has its tables.
    create(&shop, 100).await;
    let (_stopper, shutdown) = watch::channel(false);
    let program = || prepare(&shop.db.owner, NEWER, shutdown.clone());
    let three = async { tokio::join!(program(), program(), program()) };
    tokio::time::timeout(PATIENCE, three).await.unwrap();

    assert_eq!(version(&shop).await, NEWER.version.cast_signed());
    assert!(is_shown(&shop, 100).await, "it goes to the end of the log");
    assert_eq!(verify(&shop.db.owner, NEWER).await.unwrap(), []);
    let kept: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM read.projection_states
          WHERE name = 'catalog' AND kept_version = version - 1",
    )
    .fetch_one(&shop.db.owner)
    .await
    .unwrap();
    assert_eq!(kept, 1, "only one of them has rebuilt");
    // What is of this version already is left alone.
    tokio::time::timeout(PATIENCE, program()).await.unwrap();
    assert_ne!(shop.dump(NEWER).await, rows);
}

#[tokio::test]
async fn old_rows_serve_until_the_new_ones_do() {
    let shop = full().await;
    create(&shop, 100).await;
    let (_stopper, shutdown) = watch::channel(false);
    let reading = async {
        let mut before = 0;
        while !is_shown(&shop, 100).await {
            assert!(is_shown(&shop, 1).await, "there is never nothing");
            before += 1;
        }
        before
    };
    let both = async { tokio::join!(prepare(&shop.db.owner, NEWER, shutdown), reading) };
    let ((), before) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert!(before > 0);
}

#[tokio::test]
async fn a_program_stands_by_while_the_tables_are_of_a_newer_version() {
    let shop = full().await;
    rebuild(&shop.db.owner, NEWER, &|_, _| {}).await.unwrap();
    let error = catch_up(&shop.db.projector, CATALOG).await.unwrap_err();
    assert!(matches!(error, ProjectionError::Newer { .. }), "{error}");

    let (stopper, shutdown) = watch::channel(false);
    let mut old = Box::pin(prepare(&shop.db.owner, CATALOG, shutdown.clone()));
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut old).await.is_err());
    assert_eq!(version(&shop).await, NEWER.version.cast_signed(), "it leaves them alone");
    // Until somebody brings its own back.
    roll_back(&shop.db.owner, CATALOG).await.unwrap();
    tokio::time::timeout(PATIENCE, &mut old).await.unwrap();
    assert_eq!(verify(&shop.db.owner, CATALOG).await.unwrap(), []);

    // And whoever waits in vain can be stopped.
    rebuild(&shop.db.owner, NEWER, &|_, _| {}).await.unwrap();
    let waiting = prepare(&shop.db.owner, CATALOG, shutdown);
    let stopping = async { stopper.send(true).unwrap() };
    tokio::time::timeout(PATIENCE, async { tokio::join!(waiting, stopping) }).await.unwrap();
}

#[tokio::test]
async fn former_tables_come_back_and_catch_up() {
    let shop = full().await;
    let forge = "UPDATE read.catalog_products SET vendor = 'Forged' WHERE handle = 'p1'";
    shop.db.sabotage(forge).await;
    let forged = shop.dump(CATALOG).await;
    let kept = projections::position(&shop.db.owner, "catalog").await.unwrap();
    rebuild(&shop.db.owner, CATALOG, &|_, _| {}).await.unwrap();
    assert_ne!(shop.dump(CATALOG).await, forged);
    create(&shop, 100).await;
    shop.project().await;

    assert_eq!(roll_back(&shop.db.owner, CATALOG).await.unwrap(), kept);
    assert_eq!(shop.dump(CATALOG).await, forged, "the very rows");
    assert_eq!(projections::position(&shop.db.owner, "catalog").await.unwrap(), kept);
    shop.project().await;
    assert!(is_shown(&shop, 100).await, "what was appended since is made up for");
    let differences = verify(&shop.db.owner, CATALOG).await.unwrap();
    assert_eq!(differences.len(), 4, "two rows of two stores, and nothing else: {differences:?}");

    // The way back is a way back again.
    create(&shop, 101).await;
    roll_back(&shop.db.owner, CATALOG).await.unwrap();
    shop.project().await;
    assert!(is_shown(&shop, 101).await);
    assert_eq!(verify(&shop.db.owner, CATALOG).await.unwrap(), []);
}

#[tokio::test]
async fn former_tables_come_back_only_where_they_fit() {
    let shop = full().await;
    assert!(no_way_back(&shop, CATALOG).await.contains("no rebuild"));
    rebuild(&shop.db.owner, NEWER, &|_, _| {}).await.unwrap();
    assert!(no_way_back(&shop, NEWER).await.contains("filled the tables"));
    rebuild(&shop.db.owner, NEWER, &|_, _| {}).await.unwrap();
    roll_back(&shop.db.owner, NEWER).await.unwrap();
    let widen = "ALTER TABLE read.catalog_variants ADD COLUMN colour text";
    sqlx::raw_sql(widen).execute(&shop.db.owner).await.unwrap();
    assert!(no_way_back(&shop, NEWER).await.contains("another shape"));
}

#[tokio::test]
async fn what_is_parked_belongs_to_the_tables_it_is_left_out_of() {
    let shop = full().await;
    create(&shop, 100).await;
    let unknown = unknown_event(&renamed("New"));
    shop.append_raw(STORE, ("product", product(100).0), vec![unknown]).await;
    shop.project().await;
    let parked = || parked::list(&shop.db.owner, Some(CATALOG));
    let streams = async || parked().await.unwrap().len();
    assert_eq!(streams().await, 1);
    let lag = async || projections::lag(&shop.db.reader).await.unwrap()[0].parked.streams;

    rebuild(&shop.db.owner, next(CATALOG), &|_, _| {}).await.unwrap();
    assert_eq!((streams().await, lag().await), (0, 0), "the next release knows the event");
    roll_back(&shop.db.owner, CATALOG).await.unwrap();
    assert_eq!((streams().await, lag().await), (1, 1));
    assert_eq!(verify(&shop.db.owner, CATALOG).await.unwrap(), []);
    roll_back(&shop.db.owner, CATALOG).await.unwrap();
    assert_eq!((streams().await, lag().await), (0, 0));

    // A decision about an event of tables that are kept would be lost with them.
    roll_back(&shop.db.owner, CATALOG).await.unwrap();
    let stream = parked().await.unwrap().remove(0);
    let discard = parked::Discard { reason: "a test", by: "a test", all: true };
    parked::discard(&shop.db.owner, CATALOG, &stream, discard).await.unwrap().unwrap();
    assert!(no_way_back(&shop, CATALOG).await.contains("discarded"));
}
