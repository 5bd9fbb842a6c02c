//! Commands that queue up: decided in memory, stored together, answered when they are safe.

use std::time::Duration;

use event_store::{Done, Engine, ExecuteError, MAILBOX_MAX, Priority, Request, StoreError};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::account::{ACCOUNT, Account, Command, Refusal, STORE, request};
use crate::db::{Db, Held, new_id, until_waiting};

type Answer = Result<Done, ExecuteError<Refusal>>;

fn send(engine: &Engine, request: Request<Command>) -> JoinHandle<Answer> {
    let engine = engine.clone();
    tokio::spawn(async move { engine.execute::<Account>(&ACCOUNT, request).await })
}

fn deposit(id: Uuid, amount: i64) -> Request<Command> {
    request(id, Command::Deposit { amount })
}

fn withdraw(id: Uuid, amount: i64) -> Request<Command> {
    request(id, Command::Withdraw { amount })
}

async fn balance(engine: &Engine, id: Uuid) -> i64 {
    engine.load(&ACCOUNT, STORE, id).await.unwrap().state.balance
}

/// Lets tasks that can go on do so, however many turns of the scheduler that takes.
async fn settle() {
    sleep(Duration::from_millis(50)).await;
}

async fn appends(db: &Db) -> i64 {
    let appends = "SELECT count(DISTINCT recorded_at) FROM log.events";
    sqlx::query_scalar(appends).fetch_one(&db.admin).await.unwrap()
}

#[tokio::test]
async fn a_crowd_at_one_stream_shares_a_few_appends_and_keeps_its_order() {
    let db = Db::new().await;
    let engine = db.engine();
    let id = new_id();
    let held = Held::log(&db).await;
    send(&engine, deposit(id, 1));
    held.until_waiting(1).await;

    let crowd: Vec<_> = (2..=300).map(|amount| send(&engine, deposit(id, amount))).collect();
    settle().await;
    held.let_go().await;

    let mut versions = vec![];
    for answer in crowd {
        versions.push(answer.await.unwrap().unwrap().version);
    }
    assert_eq!(versions, (2..=300).collect::<Vec<_>>(), "first come, first stored");
    assert_eq!(balance(&engine, id).await, 300 * 301 / 2);
    assert_eq!(appends(&db).await, 2, "all that queued up goes in one call");
}

#[tokio::test]
async fn a_refusal_waits_for_what_it_rests_on() {
    let db = Db::new().await;
    let engine = db.engine();
    let id = new_id();
    send(&engine, deposit(id, 5)).await.unwrap().unwrap();
    let held = Held::log(&db).await;
    let first = send(&engine, withdraw(id, 5));
    held.until_waiting(1).await;

    let second = send(&engine, withdraw(id, 5));
    settle().await;
    assert!(!second.is_finished(), "nobody knows yet that the account is empty");
    held.let_go().await;

    assert_eq!(first.await.unwrap().unwrap().version, 2);
    let refused = second.await.unwrap();
    assert!(matches!(refused, Err(ExecuteError::Refused(Refusal::Overdrawn))), "{refused:?}");
}

#[tokio::test]
async fn what_rests_on_a_lost_decision_is_decided_again() {
    let db = Db::new().await;
    let engine = db.engine();
    let (taken, id) = (new_id(), new_id());
    send(&engine, request(taken, Command::Open { number: "1".into() })).await.unwrap().unwrap();
    let held = Held::log(&db).await;
    let before = send(&engine, deposit(id, 1));
    held.until_waiting(1).await;

    // The account gets no number, and the second opening must not be told that it has one.
    let opening = send(&engine, request(id, Command::Open { number: "1".into() }));
    let after = send(&engine, deposit(id, 2));
    let second = send(&engine, request(id, Command::Open { number: "2".into() }));
    settle().await;
    held.let_go().await;

    before.await.unwrap().unwrap();
    let refused = opening.await.unwrap();
    assert!(matches!(&refused, Err(ExecuteError::KeyTaken { .. })), "{refused:?}");
    after.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    let loaded = engine.load(&ACCOUNT, STORE, id).await.unwrap();
    assert_eq!((loaded.state.balance, loaded.version), (3, 3));
    assert_eq!(engine.key_owner(STORE, "account.number", "2").await.unwrap(), Some(id));
}

#[tokio::test]
async fn a_version_that_another_process_made_is_not_taken_for_ours() {
    let db = Db::new().await;
    let (ours, theirs) = (db.engine(), db.engine());
    let id = new_id();
    let held = Held::log(&db).await;
    let deposited = send(&theirs, deposit(id, 1));
    held.until_waiting(1).await;
    let first = send(&ours, deposit(id, 10));
    held.until_waiting(2).await;
    // Decided on version 1 of ours, with 10 in the account. Version 1 of the log has 1 in it.
    let second = send(&ours, withdraw(id, 10));
    settle().await;
    held.let_go().await;

    deposited.await.unwrap().unwrap();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    let mut balance = 0;
    let mut conn = db.admin.acquire().await.unwrap();
    for event in event_store::read::read_after(&mut conn, 0, 10).await.unwrap() {
        let payload: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
        let amount = payload["amount"].as_i64().unwrap();
        balance += if event.event_type == "AccountWithdrawn" { -amount } else { amount };
        assert!(balance >= 0, "overdrawn at {}", event.position);
    }
    assert_eq!(balance, 1);
}

#[tokio::test]
async fn a_refusal_does_not_take_the_version_another_process_made_for_ours() {
    let db = Db::new().await;
    let engine = db.engine();
    let id = new_id();
    send(&engine, deposit(id, 5)).await.unwrap().unwrap();
    // Stops appends before they begin, and questions about commands.
    let mut theirs = db.admin.begin().await.unwrap();
    let stop = "SELECT pg_advisory_xact_lock(20261120, 1)";
    sqlx::query(stop).execute(&mut *theirs).await.unwrap();
    sqlx::query("LOCK TABLE log.commands").execute(&mut *theirs).await.unwrap();

    // The second is refused on version 2 of ours, with nothing left. Version 2 of the log has 10.
    let first = send(&engine, withdraw(id, 5));
    let second = send(&engine, withdraw(id, 4));
    until_waiting(&db.admin, 2).await;
    let append = r#"SELECT log.append(ARRAY[$1], ARRAY['account'], ARRAY[$2], ARRAY[1::bigint],
        ARRAY[gen_random_uuid()], ARRAY['\x00'::bytea], ARRAY['\x7b7d'::bytea],
        '{}', '{}', '{}', '{}', ARRAY[1], ARRAY['AccountDeposited'], ARRAY[1::smallint],
        ARRAY[gen_random_uuid()], ARRAY['{"type":"Deposited","amount":5}'::bytea])"#;
    sqlx::query(append).bind(STORE).bind(id).execute(&mut *theirs).await.unwrap();
    theirs.commit().await.unwrap();

    first.await.unwrap().unwrap();
    let second = second.await.unwrap();
    assert!(second.is_ok(), "at no time was there less than 5: {second:?}");
    assert_eq!(balance(&engine, id).await, 1);
}

#[tokio::test]
async fn a_cached_state_that_is_out_of_date_refuses_nobody() {
    let db = Db::new().await;
    let (ours, theirs) = (db.engine(), db.engine());
    let id = new_id();
    send(&ours, deposit(id, 1)).await.unwrap().unwrap();
    send(&theirs, deposit(id, 9)).await.unwrap().unwrap();

    let withdrawn = send(&ours, withdraw(id, 10)).await.unwrap();

    assert_eq!(withdrawn.unwrap().version, 3);
}

#[tokio::test]
async fn repeats_of_a_command_in_flight_wait_for_it() {
    let db = Db::new().await;
    let engine = db.engine();
    let id = new_id();
    let command = deposit(id, 1);
    let held = Held::log(&db).await;
    let first = send(&engine, command.clone());
    held.until_waiting(1).await;

    let repeats: Vec<_> = (0..16).map(|_| send(&engine, command.clone())).collect();
    let other = send(&engine, Request { fingerprint: [8; 32], ..command.clone() }).await.unwrap();
    assert!(matches!(other, Err(ExecuteError::CommandReused)), "{other:?}");
    settle().await;
    held.let_go().await;

    let done = first.await.unwrap().unwrap();
    for repeat in repeats {
        assert_eq!(repeat.await.unwrap().unwrap(), Done { replayed: true, ..done });
    }
    assert_eq!(balance(&engine, id).await, 1);
}

#[tokio::test]
async fn one_command_sent_to_two_processes_takes_effect_once() {
    let db = Db::new().await;
    let engines = [db.engine(), db.engine()];
    let id = new_id();
    for _ in 0..10 {
        let command = deposit(id, 1);
        let answers = engines.iter().map(|engine| send(engine, command.clone()));
        let answers: Vec<_> = answers.collect();
        let mut done = vec![];
        for answer in answers {
            done.push(answer.await.unwrap().unwrap());
        }
        assert_eq!((done[0].version, done[0].position), (done[1].version, done[1].position));
        assert!(done[0].replayed != done[1].replayed, "{done:?}");
    }
    assert_eq!(balance(&engines[0], id).await, 10);
}

#[tokio::test]
async fn what_a_handler_wrote_before_it_refused_is_forgotten() {
    let db = Db::new().await;
    let engine = db.engine();
    let id = new_id();
    send(&engine, deposit(id, 5)).await.unwrap().unwrap();

    let refused = send(&engine, request(id, Command::WithdrawFirst { amount: 6 })).await.unwrap();

    assert!(matches!(refused, Err(ExecuteError::Refused(Refusal::Overdrawn))), "{refused:?}");
    assert_eq!(send(&engine, withdraw(id, 5)).await.unwrap().unwrap().version, 2);
}

#[tokio::test]
async fn a_handler_that_panics_harms_only_its_own_command() {
    let db = Db::new().await;
    let engine = db.engine();
    let id = new_id();
    let held = Held::log(&db).await;
    let first = send(&engine, deposit(id, 1));
    held.until_waiting(1).await;
    let panics = send(&engine, request(id, Command::Panic));
    let last = send(&engine, deposit(id, 1));
    settle().await;
    held.let_go().await;

    first.await.unwrap().unwrap();
    let panicked = panics.await.unwrap();
    assert!(matches!(panicked, Err(ExecuteError::Store(StoreError::Panicked))), "{panicked:?}");
    assert_eq!(last.await.unwrap().unwrap().version, 2);
    engine.drain().await;
}

#[tokio::test]
async fn what_is_past_its_deadline_never_reaches_the_log() {
    let db = Db::new().await;
    let engine = db.engine();
    let id = new_id();
    let held = Held::log(&db).await;
    let first = send(&engine, deposit(id, 1));
    held.until_waiting(1).await;
    let soon = Some(Instant::now() + Duration::from_millis(20));
    let late = send(&engine, Request { deadline: soon, ..deposit(id, 10) });
    let after = send(&engine, deposit(id, 100));
    settle().await;
    held.let_go().await;

    // The first had no deadline; the last rested on the late one and was decided again.
    first.await.unwrap().unwrap();
    let dropped = late.await.unwrap();
    assert!(matches!(dropped, Err(ExecuteError::Store(StoreError::Late))), "{dropped:?}");
    assert_eq!(after.await.unwrap().unwrap().version, 2);
    assert_eq!(balance(&engine, id).await, 101);
}

#[tokio::test]
async fn a_full_mailbox_refuses_at_once_and_other_streams_go_on() {
    let db = Db::new().await;
    let engine = db.engine();
    let (hot, other) = (new_id(), new_id());
    let high = |id| Request { priority: Priority::High, ..deposit(id, 1) };
    let held = Held::log(&db).await;
    let mut crowd = JoinSet::new();
    for _ in 0..MAILBOX_MAX {
        let (engine, command) = (engine.clone(), high(hot));
        crowd.spawn(async move { engine.execute::<Account>(&ACCOUNT, command).await });
    }
    held.until_waiting(1).await;
    settle().await;

    let one_too_many = send(&engine, high(hot)).await.unwrap();
    assert!(matches!(one_too_many, Err(ExecuteError::Store(StoreError::Busy))));
    let elsewhere = send(&engine, high(other));
    let low = send(&engine, Request { priority: Priority::Low, ..deposit(other, 1) }).await;
    let refused = low.unwrap();
    assert!(matches!(refused, Err(ExecuteError::Store(StoreError::Busy))), "the first to go");
    held.let_go().await;

    elsewhere.await.unwrap().unwrap();
    for answer in crowd.join_all().await {
        answer.unwrap();
    }
    assert_eq!(balance(&engine, hot).await, i64::try_from(MAILBOX_MAX).unwrap());
}
