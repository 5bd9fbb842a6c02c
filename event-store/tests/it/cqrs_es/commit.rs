//! What a commit here promises beyond the trait.

use std::collections::HashMap;

use cqrs_es::{AggregateError, CqrsFramework, EventStore as _};
use event_store::cqrs::{AGGREGATE_ID, COMMAND_ID, CqrsError, CqrsStore};
use event_store::pool::{self, Role};
use event_store::{Engine, ExecuteError, StoreError};
use sqlx::postgres::PgSslMode;
use uuid::Uuid;

use super::bank::{BANK_ACCOUNT, Bank, BankCommand};
use super::sides::{Error, Told, account, deposit, events, framework, ours};
use crate::account::{ACCOUNT, Account, Command, STORE, request};
use crate::db::{Db, Held, new_id};
use crate::proxy::{MARK, Proxy};

fn cheque(number: &str) -> BankCommand {
    BankCommand::CashCheque { number: number.into(), amount: 7 }
}

fn under(command_id: Uuid) -> HashMap<String, String> {
    HashMap::from([(COMMAND_ID.to_owned(), command_id.to_string())])
}

/// What stands in the trait's drawer for everything it has no word for.
fn unexpected(answer: Result<(), Error>) -> CqrsError {
    match answer {
        Err(Error::UnexpectedError(error)) => *error.downcast().unwrap(),
        other => panic!("should be unexpected: {other:?}"),
    }
}

#[tokio::test]
async fn a_repeated_command_id_has_one_effect_and_is_told_once() {
    let db = Db::new().await;
    let (told, id) = (Told::default(), new_id());
    let cqrs = CqrsFramework::new(ours(&db), vec![Box::new(told.clone())], Bank::default());
    for _ in 0..2 {
        cqrs.execute_with_metadata("a", cheque("1"), under(id)).await.unwrap();
        cqrs.execute("a", deposit(1)).await.unwrap();
    }

    assert_eq!((account(&ours(&db), "a").await.balance, told.sequences()), (9, vec![1, 2, 3]));
    assert_eq!(ours(&db).load_events("a").await.unwrap()[0].metadata, under(id));
    let record = db.engine().command(STORE, id).await.unwrap().unwrap();
    assert_eq!((record.version, record.position), (1, 1));
}

#[tokio::test]
async fn a_command_id_is_refused_for_other_events_and_other_aggregates() {
    let db = Db::new().await;
    let (cqrs, id) = (framework(ours(&db)), new_id());
    cqrs.execute_with_metadata("a", deposit(1), under(id)).await.unwrap();

    // A deposit says the balance after it, so that not even its repeat is the same event.
    for (aggregate, command) in [("a", deposit(1)), ("a", cheque("1")), ("b", deposit(1))] {
        let answer = cqrs.execute_with_metadata(aggregate, command, under(id)).await;
        assert!(matches!(unexpected(answer), ExecuteError::CommandReused));
    }
    assert_eq!((events(&ours(&db), "a").await, events(&ours(&db), "b").await), (1, 0));
}

#[tokio::test]
async fn a_lost_connection_neither_loses_nor_doubles_a_commit() {
    let db = Db::new().await;
    let options = db.options();
    let server = format!("{}:{}", options.get_host(), options.get_port());
    let proxy = Proxy::start(server).await;
    let wired = options.host("127.0.0.1").port(proxy.port).ssl_mode(PgSslMode::Disable);
    let engine = Engine::new(pool::connect_lazy(wired, Role::Writer, 4), new_id);
    let (store, told) = (CqrsStore::new(engine, STORE, &BANK_ACCOUNT), Told::default());
    let cqrs = CqrsFramework::new(store, vec![Box::new(told.clone())], Bank::default());

    for (count, cut) in (1..).zip([Proxy::cut_before, Proxy::cut_after].repeat(3)) {
        cut(&proxy);
        cqrs.execute("a", cheque(MARK)).await.unwrap();
        assert!(proxy.was_used());
        assert_eq!(events(&ours(&db), "a").await, count);
    }
    assert_eq!(told.sequences(), [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn what_the_log_refuses_says_why() {
    let db = Db::new().await;
    let cqrs = framework(ours(&db));
    let open = || BankCommand::Open { name: "Ann".into() };
    cqrs.execute("a", open()).await.unwrap();

    let taken = unexpected(cqrs.execute("b", open()).await);
    assert!(matches!(taken, ExecuteError::KeyTaken { key, .. } if key == "Ann"));
    let many = BankCommand::DepositOften { times: event_store::EVENTS_PER_COMMAND_MAX + 1 };
    assert!(matches!(unexpected(cqrs.execute("b", many).await), ExecuteError::Store(_)));
    let reserved = HashMap::from([(AGGREGATE_ID.to_owned(), "a".to_owned())]);
    let reserved = cqrs.execute_with_metadata("b", deposit(1), reserved).await;
    assert!(matches!(unexpected(reserved), ExecuteError::Store(_)));
    assert_eq!(events(&ours(&db), "b").await, 0);

    db.writer.close().await;
    let away = cqrs.execute("b", deposit(1)).await;
    assert!(matches!(away, Err(Error::DatabaseConnectionError(_))), "{away:?}");
}

#[tokio::test]
async fn a_commit_whose_caller_leaves_goes_on_and_is_waited_for() {
    let db = Db::new().await;
    let engine = db.engine();
    let store = CqrsStore::new(engine.clone(), STORE, &BANK_ACCOUNT);
    let held = Held::log(&db).await;
    let cqrs = framework(store.clone());
    let left = tokio::spawn(async move { cqrs.execute("a", deposit(1)).await });
    held.until_waiting(1).await;

    left.abort();
    assert!(left.await.unwrap_err().is_cancelled());
    assert_eq!(events(&store, "a").await, 0);
    held.let_go().await;
    engine.drain().await;

    assert_eq!(events(&store, "a").await, 1);
    match framework(store).execute("a", deposit(1)).await {
        Err(Error::DatabaseConnectionError(error)) => {
            assert!(matches!(*error.downcast().unwrap(), StoreError::Busy));
        }
        other => panic!("a drained engine takes no more: {other:?}"),
    }
}

#[tokio::test]
async fn the_engine_and_the_trait_may_write_one_stream() {
    let db = Db::new().await;
    let (engine, id) = (db.engine(), new_id());
    let kind = Box::leak(Box::new(ACCOUNT));
    let cqrs =
        CqrsFramework::<Account, _>::new(CqrsStore::new(engine.clone(), STORE, kind), vec![], ());
    for round in 1..=5 {
        let deposit = request(id, Command::Deposit { amount: 1 });
        engine.execute::<Account>(kind, deposit).await.unwrap();
        cqrs.execute(&id.to_string(), Command::Deposit { amount: 10 }).await.unwrap();
        // Refused, if either had not seen what the other wrote.
        let all = request(id, Command::Withdraw { amount: 11 * round });
        engine.execute::<Account>(kind, all).await.unwrap();
        let back = Command::Deposit { amount: 11 * round };
        cqrs.execute(&id.to_string(), back).await.unwrap();
        let balance = engine.load(kind, STORE, id).await.unwrap().state.balance;
        assert_eq!(balance, 11 * round);
    }

    let stored = CqrsStore::new(engine, STORE, kind).load_events(&id.to_string()).await;
    let stored = stored.unwrap_or_else(|error: AggregateError<_>| panic!("{error}"));
    assert!(stored.iter().map(|event| event.sequence).eq(1..=20));
    // Metadata that is no text comes as its JSON.
    assert_eq!(stored[0].metadata["actor"], r#"{"kind":"system"}"#);
}
