//! Two processes on one log: what one appends wakes the other.

use std::time::Duration;

use event_store::pool::{Role, connect_lazy};
use event_store::{Engine, wakeups};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::append::unit;
use crate::db::{Db, new_id};

/// Long enough for a slow machine, short enough to fail soon.
const PATIENCE: Duration = Duration::from_secs(20);

/// Appends one after the other, each when the last was heard of.
const APPENDS: u32 = 20;

/// A process: its engine, with wake-ups until the sender is dropped.
fn process(db: &Db) -> (Engine, watch::Sender<bool>) {
    let (stop, stopped) = watch::channel(false);
    let engine = db.engine();
    let pool = connect_lazy(db.options(), Role::Process, 1);
    tokio::spawn(wakeups::run(engine.clone(), pool, stopped));
    (engine, stop)
}

/// Appends, and waits until `hearer` has heard of it.
async fn append(engine: &Engine, hearer: &mut watch::Receiver<i64>) {
    let done = engine.append(vec![unit(new_id(), 0, 1)]).await.unwrap();
    let heard = hearer.wait_for(|position| *position >= done[0].position);
    timeout(PATIENCE, heard).await.expect("heard of in time").unwrap();
}

/// How many listen in the database of the test.
async fn listeners(db: &Db) -> i64 {
    let listening = "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND query ILIKE 'LISTEN%'";
    sqlx::query_scalar(listening).fetch_one(&db.admin).await.unwrap()
}

async fn all_listen(db: &Db, expected: i64) {
    let begun = Instant::now();
    while listeners(db).await < expected {
        assert!(begun.elapsed() < PATIENCE, "nobody listens");
    }
}

#[tokio::test]
async fn an_append_wakes_another_process_at_once() {
    let db = Db::new().await;
    let ((one, _stop_one), (other, _stop_other)) = (process(&db), process(&db));
    let mut hearer = other.appended();
    all_listen(&db, 2).await;

    let begun = Instant::now();
    for _ in 0..APPENDS {
        append(&one, &mut hearer).await;
    }

    // Whoever only looks every 250 ms needs twice as long.
    assert!(begun.elapsed() < APPENDS * Duration::from_millis(125), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn who_misses_a_notification_looks_and_then_listens_again() {
    let db = Db::new().await;
    let (silent, (other, _stop)) = (db.engine(), process(&db));
    let mut hearer = other.appended();
    all_listen(&db, 1).await;
    append(&silent, &mut hearer).await;

    db.sabotage(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND query ILIKE 'LISTEN%'",
    )
    .await;
    append(&silent, &mut hearer).await;

    let (one, _stop_one) = process(&db);
    all_listen(&db, 2).await;
    let begun = Instant::now();
    for _ in 0..APPENDS {
        append(&one, &mut hearer).await;
    }
    assert!(begun.elapsed() < APPENDS * Duration::from_millis(125), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn it_ends_when_told_to() {
    let db = Db::new().await;
    let pool = connect_lazy(db.options(), Role::Process, 1);
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(wakeups::run(db.engine(), pool, stopped));
    all_listen(&db, 1).await;
    stop.send_replace(true);
    timeout(PATIENCE, running).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn whoever_names_a_position_that_is_not_there_deafens_nobody() {
    let db = Db::new().await;
    let ((one, _stop_one), (other, _stop_other)) = (process(&db), process(&db));
    let mut hearer = other.appended();
    all_listen(&db, 2).await;
    append(&one, &mut hearer).await;

    let forged = format!("SELECT pg_notify('conche_log', '{}')", i64::MAX);
    sqlx::raw_sql(sqlx::AssertSqlSafe(forged)).execute(&db.admin).await.unwrap();

    append(&one, &mut hearer).await;
    assert_eq!(*hearer.borrow(), 2);
}
