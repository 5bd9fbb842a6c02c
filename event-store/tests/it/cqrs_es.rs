//! `cqrs-es` on the engine. The same stories, in the words of the crate, run on our store and on
//! `postgres-es` 0.5; what is documented there holds here. The modules below show what is wrong
//! there (tests named `postgres_es_…`: an upgrade that mends it turns them red) and that it is not
//! here.

mod bank;
mod commit;
mod replay;
mod sides;
mod snapshots;
mod views;

use std::collections::HashMap;

use cqrs_es::{CqrsFramework, EventStore};
use tokio::task::JoinSet;

use bank::{Bank, BankAccount, BankCommand, BankError, BankEvent};
use sides::{Error, Told, account, commit, deposit, events, framework, ours, their_pool, theirs};

use crate::db::{Db, new_id};

#[tokio::test]
async fn an_aggregate_without_events_is_the_default() {
    async fn story(store: impl EventStore<BankAccount>) {
        assert_eq!(account(&store, "nobody").await, BankAccount::default());
        assert_eq!(events(&store, "nobody").await, 0);
    }
    let db = Db::new().await;
    story(ours(&db)).await;
    story(theirs(&their_pool(&db).await)).await;
}

#[tokio::test]
async fn what_is_committed_comes_back_in_order_with_sequence_and_metadata() {
    async fn story<S: EventStore<BankAccount>>(store: impl Fn() -> S) {
        let cqrs = framework(store());
        let metadata = HashMap::from([("who".to_owned(), "Ann \"the\" Ü".to_owned())]);
        cqrs.execute("a", deposit(5)).await.unwrap();
        let often = BankCommand::DepositOften { times: 3 };
        cqrs.execute_with_metadata("a", often, metadata.clone()).await.unwrap();
        for _ in 0..8 {
            cqrs.execute("a", deposit(10)).await.unwrap();
        }

        let stored = store().load_events("a").await.unwrap();
        // Past 10, where texts would sort otherwise than numbers.
        assert!(stored.iter().map(|event| event.sequence).eq(1..=12));
        assert!(stored.iter().all(|event| event.aggregate_id == "a"));
        let balances = [5, 6, 7, 8, 18, 28, 38, 48, 58, 68, 78, 88];
        for (event, expected) in stored.iter().zip(balances) {
            let BankEvent::Deposited { balance, .. } = event.payload else { panic!("{event:?}") };
            assert_eq!(balance, expected);
        }
        for (index, event) in stored.iter().enumerate() {
            let expected = if (1..=3).contains(&index) { metadata.clone() } else { HashMap::new() };
            assert_eq!(event.metadata, expected);
        }
        assert_eq!(account(&store(), "a").await, BankAccount { balance: 88, deposits: 12 });
    }
    let db = Db::new().await;
    let pool = their_pool(&db).await;
    story(|| ours(&db)).await;
    story(|| theirs(&pool)).await;
}

#[tokio::test]
async fn of_two_who_loaded_the_same_the_second_to_commit_is_told() {
    async fn story<S: EventStore<BankAccount>>(store: S) {
        for known in [0, 1] {
            let one = store.load_aggregate("a").await.unwrap();
            let two = store.load_aggregate("a").await.unwrap();

            let won = commit(&store, one, deposit(1)).await.unwrap();
            let lost = commit(&store, two, deposit(1)).await;

            assert_eq!(won[0].sequence, known + 1);
            assert!(matches!(lost, Err(Error::AggregateConflict)), "{lost:?}");
            assert_eq!(events(&store, "a").await, known + 1, "a conflict stores nothing");
        }
    }
    let db = Db::new().await;
    story(ours(&db)).await;
    story(theirs(&their_pool(&db).await)).await;
}

#[tokio::test]
async fn a_command_without_events_stores_nothing_and_tells_nobody() {
    async fn story<S: EventStore<BankAccount>>(store: impl Fn() -> S) {
        let told = Told::default();
        let cqrs = CqrsFramework::new(store(), vec![Box::new(told.clone())], Bank::default());
        cqrs.execute("a", deposit(1)).await.unwrap();

        cqrs.execute("a", BankCommand::Look).await.unwrap();

        let context = store().load_aggregate("a").await.unwrap();
        assert_eq!(store().commit(vec![], context, HashMap::new()).await.unwrap().len(), 0);
        assert_eq!((events(&store(), "a").await, told.sequences()), (1, vec![1]));
    }
    let db = Db::new().await;
    let pool = their_pool(&db).await;
    story(|| ours(&db)).await;
    story(|| theirs(&pool)).await;
}

#[tokio::test]
async fn a_refusal_comes_through_and_leaves_nothing_behind() {
    async fn story<S: EventStore<BankAccount>>(store: impl Fn() -> S) {
        let told = Told::default();
        let bank = Bank { bad_cheques: vec!["666".to_owned()] };
        let cqrs = CqrsFramework::new(store(), vec![Box::new(told.clone())], bank);
        let cheque = |number: &str| BankCommand::CashCheque { number: number.into(), amount: 7 };
        cqrs.execute("a", deposit(1)).await.unwrap();

        let bad = cqrs.execute("a", cheque("666")).await;
        let no = cqrs.execute("a", BankCommand::ChangeItsMind).await;
        cqrs.execute("a", cheque("667")).await.unwrap();

        let refused = |error: Result<(), Error>| match error {
            Err(Error::UserError(error)) => error,
            other => panic!("should be refused: {other:?}"),
        };
        assert_eq!(refused(bad), BankError::BadCheque("666".to_owned()));
        assert_eq!(refused(no), BankError::ChangedItsMind);
        assert_eq!(account(&store(), "a").await, BankAccount { balance: 8, deposits: 1 });
        assert_eq!(told.sequences(), [1, 2]);
    }
    let db = Db::new().await;
    let pool = their_pool(&db).await;
    story(|| ours(&db)).await;
    story(|| theirs(&pool)).await;
}

#[tokio::test]
async fn every_query_is_told_what_was_committed() {
    async fn story<S: EventStore<BankAccount>>(store: impl Fn() -> S) {
        let (one, two) = (Told::default(), Told::default());
        let cqrs = CqrsFramework::new(store(), vec![Box::new(one.clone())], Bank::default())
            .append_query(Box::new(two.clone()));
        let metadata = HashMap::from([("who".to_owned(), "Ann".to_owned())]);
        let often = BankCommand::DepositOften { times: 2 };
        cqrs.execute_with_metadata("a", often, metadata.clone()).await.unwrap();
        cqrs.execute("b", deposit(9)).await.unwrap();

        assert_eq!(two.sequences(), [1, 2, 1]);
        for (told, (aggregate_id, event)) in one.take().into_iter().enumerate() {
            let stored = store().load_events(&aggregate_id).await.unwrap();
            let stored = &stored[event.sequence - 1];
            assert_eq!((&event.aggregate_id, &event.payload), (&aggregate_id, &stored.payload));
            assert_eq!(event.metadata, stored.metadata);
            assert_eq!(event.metadata == metadata, told < 2);
        }
    }
    let db = Db::new().await;
    let pool = their_pool(&db).await;
    story(|| ours(&db)).await;
    story(|| theirs(&pool)).await;
}

#[tokio::test]
async fn any_text_names_an_aggregate_of_its_own() {
    async fn story<S: EventStore<BankAccount>>(store: impl Fn() -> S) {
        let cqrs = framework(store());
        let uuid = new_id().to_string();
        let ids = ["customer-B24DA0", "", "客户 1", "a/b", &uuid, &uuid.to_uppercase()];
        for (amount, id) in (1..).zip(ids) {
            cqrs.execute(id, deposit(amount)).await.unwrap();
        }
        for (amount, id) in (1..).zip(ids) {
            assert_eq!(account(&store(), id).await.balance, amount);
            let stored = store().load_events(id).await.unwrap();
            assert_eq!((stored.len(), stored[0].aggregate_id.as_str()), (1, id));
            assert_eq!(stored[0].metadata, HashMap::new());
        }
    }
    let db = Db::new().await;
    let pool = their_pool(&db).await;
    story(|| ours(&db)).await;
    story(|| theirs(&pool)).await;
}

#[tokio::test]
async fn commands_that_conflict_and_are_sent_again_all_count_once() {
    async fn story<S>(store: impl Fn() -> S)
    where
        S: EventStore<BankAccount, AC: Send> + 'static,
    {
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            let cqrs = framework(store());
            clients.spawn(async move {
                for _ in 0..5 {
                    while let Err(error) = cqrs.execute("a", deposit(1)).await {
                        assert!(matches!(error, Error::AggregateConflict), "{error:?}");
                    }
                }
            });
        }
        clients.join_all().await;
        let stored = store().load_events("a").await.unwrap();
        assert!(stored.iter().map(|event| event.sequence).eq(1..=20));
        assert_eq!(account(&store(), "a").await, BankAccount { balance: 20, deposits: 20 });
    }
    let db = Db::new().await;
    let pool = their_pool(&db).await;
    story(|| ours(&db)).await;
    story(|| theirs(&pool)).await;
}
