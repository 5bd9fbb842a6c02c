//! Snapshots: a long stream loads fast, and a bad snapshot costs nothing but that.

use event_store::{Engine, Kind, SNAPSHOT_EVERY, read};
use uuid::Uuid;

use crate::account::{ACCOUNT, Account, Command, STORE, request};
use crate::db::{Db, new_id};

/// An account with 1,200 deposits of 1, in commands of 100.
async fn long_stream(engine: &Engine) -> Uuid {
    let id = new_id();
    for _ in 0..12 {
        let deposits = request(id, Command::DepositOften { times: 100 });
        engine.execute::<Account>(&ACCOUNT, deposits).await.unwrap();
    }
    // A snapshot is kept after its command is answered.
    engine.drain().await;
    id
}

async fn balance(db: &Db, kind: &Kind<Account>, id: Uuid) -> i64 {
    db.engine().load(kind, STORE, id).await.unwrap().state.balance
}

/// Makes the snapshot say something else than the events, without breaking its digest.
async fn without_early_events(db: &Db) {
    // Whoever still reads these gets another balance.
    db.sabotage(
        r#"UPDATE log.events SET payload = '{"type":"Deposited","amount":1000}'
            WHERE version <= 100"#,
    )
    .await;
}

const TRUE_BALANCE: i64 = 1_200;
const REPLAYED_BALANCE: i64 = 1_100 + 100 * 1_000;

#[tokio::test]
async fn a_long_stream_is_read_from_its_snapshot() {
    let db = Db::new().await;
    let id = long_stream(&db.engine()).await;

    let version = "SELECT version FROM log.snapshots";
    let version: i64 = sqlx::query_scalar(version).fetch_one(&db.admin).await.unwrap();
    assert_eq!(version, 2 * SNAPSHOT_EVERY);
    without_early_events(&db).await;

    assert_eq!(balance(&db, &ACCOUNT, id).await, TRUE_BALANCE);
}

#[tokio::test]
async fn the_next_decision_rests_on_a_snapshot_and_the_events_after_it() {
    let db = Db::new().await;
    let id = long_stream(&db.engine()).await;

    let all = request(id, Command::Withdraw { amount: TRUE_BALANCE });
    let done = db.engine().execute::<Account>(&ACCOUNT, all).await.unwrap();

    assert_eq!(done.version, 1_201);
    assert_eq!(balance(&db, &ACCOUNT, id).await, 0);
}

#[tokio::test]
async fn a_bad_snapshot_is_not_read() {
    for damage in [
        // A bit in the state; somebody else's state; a log that was restored to less than it.
        "UPDATE log.snapshots SET state = replace(convert_from(state, 'UTF8'), '1', '7')::bytea",
        "UPDATE log.snapshots SET version = version - 1, position = position - 1",
        "UPDATE log.snapshots SET position = position + 1",
        "UPDATE log.snapshots SET version = version + 5000",
        "DELETE FROM log.snapshots",
    ] {
        let db = Db::new().await;
        let id = long_stream(&db.engine()).await;
        db.sabotage(damage).await;
        without_early_events(&db).await;
        assert_eq!(balance(&db, &ACCOUNT, id).await, REPLAYED_BALANCE, "{damage}");
    }
}

#[tokio::test]
async fn a_long_stream_that_is_only_read_gets_a_snapshot_too() {
    let db = Db::new().await;
    let id = long_stream(&db.engine()).await;
    db.sabotage("DELETE FROM log.snapshots").await;

    assert_eq!(balance(&db, &ACCOUNT, id).await, TRUE_BALANCE);

    without_early_events(&db).await;
    assert_eq!(balance(&db, &ACCOUNT, id).await, TRUE_BALANCE);
}

#[tokio::test]
async fn a_snapshot_of_other_rules_is_not_read() {
    let db = Db::new().await;
    let id = long_stream(&db.engine()).await;
    without_early_events(&db).await;

    let newer = Kind { schema: "2", ..ACCOUNT };

    assert_eq!(balance(&db, &newer, id).await, REPLAYED_BALANCE);
}

#[tokio::test]
async fn a_snapshot_says_what_the_events_say() {
    let db = Db::new().await;
    let id = long_stream(&db.engine()).await;

    let state = "SELECT convert_from(state, 'UTF8')::jsonb FROM log.snapshots";
    let state: serde_json::Value = sqlx::query_scalar(state).fetch_one(&db.admin).await.unwrap();
    let mut conn = db.admin.acquire().await.unwrap();
    let events = read::read_stream(&mut conn, STORE, ("account", id), 0, 2_000).await.unwrap();

    assert_eq!(events.len(), 1_200);
    assert_eq!(state["balance"], 2 * SNAPSHOT_EVERY);
}

#[tokio::test]
async fn what_was_not_stored_is_not_kept() {
    let db = Db::new().await;
    let id = new_id();
    let deposits = request(id, Command::DepositOften { times: 499 });
    db.engine().execute::<Account>(&ACCOUNT, deposits.clone()).await.unwrap();

    // Another process decides the same command on the next 499 versions, and is told at the append
    // that it has been carried out.
    let again = db.engine();
    let done = again.execute::<Account>(&ACCOUNT, deposits).await.unwrap();
    again.drain().await;

    assert!(done.replayed);
    let kept = "SELECT count(*) FROM log.snapshots";
    let kept: i64 = sqlx::query_scalar(kept).fetch_one(&db.admin).await.unwrap();
    assert_eq!(kept, 0);
}
