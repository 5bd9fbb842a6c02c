//! Snapshots: state that is stored beside its events.
//!
//! In `cqrs-es` 0.5 writing to the sink applies an event to the aggregate at once, and the commit
//! applies it again before it stores the aggregate as a snapshot (`update_snapshot_with_events`).
//! And `postgres-es` looks whether its snapshot was the newest only after it has committed
//! (`update`).

use std::pin::Pin;
use std::sync::Mutex;

use cqrs_es::persist::{
    PersistedEventRepository, PersistedEventStore, PersistenceError, ReplayStream, SerializedEvent,
    SerializedSnapshot,
};
use cqrs_es::{Aggregate, EventStore};
use postgres_es::PostgresEventRepository;
use serde_json::Value;
use sqlx_of_postgres_es::postgres::PgPool;
use tokio::task::JoinSet;

use super::bank::{BankAccount, BankCommand};
use super::sides::{Error, account, commit, deposit, events, framework, ours, their_pool, theirs};
use crate::db::Db;

/// Makes `deposits` deposits of 10, one command each; answers what the store has of it.
async fn save_up<S: EventStore<BankAccount>>(
    store: impl Fn() -> S,
    deposits: usize,
) -> BankAccount {
    let cqrs = framework(store());
    for _ in 0..deposits {
        cqrs.execute("a", deposit(10)).await.unwrap();
    }
    account(&store(), "a").await
}

#[tokio::test]
async fn postgres_es_snapshots_count_events_twice() {
    let db = Db::new().await;
    let pool = their_pool(&db).await;
    let repository = || PostgresEventRepository::new(pool.clone());

    // A snapshot at every second event: each counts the event it was made at twice.
    let stored = save_up(|| PersistedEventStore::new_snapshot_store(repository(), 2), 6).await;
    assert_eq!(stored, BankAccount { balance: 90, deposits: 9 });
    let replayed = account(&theirs(&pool), "a").await;
    assert_eq!(replayed, BankAccount { balance: 60, deposits: 6 }, "the events are right");

    // A snapshot at every event: each counts all of its own twice.
    sqlx_of_postgres_es::raw_sql("TRUNCATE events, snapshots").execute(&pool).await.unwrap();
    let stored = save_up(|| PersistedEventStore::new_aggregate_store(repository()), 6).await;
    assert_eq!(stored, BankAccount { balance: 120, deposits: 12 });
}

#[tokio::test]
async fn a_long_stream_counts_its_events_once_however_it_is_loaded() {
    let db = Db::new().await;
    let store = ours(&db);
    let cqrs = framework(store.clone());
    let mut deposits = 0;
    for times in [499, 1, 1, 498, 2, 1] {
        cqrs.execute("a", BankCommand::DepositOften { times }).await.unwrap();
        deposits += u64::try_from(times).unwrap();

        let right = BankAccount { balance: i64::try_from(deposits).unwrap(), deposits };
        assert_eq!(account(&store, "a").await, right);
        // Another engine, as after a restart: nothing remembered but what is stored.
        assert_eq!(account(&ours(&db), "a").await, right);
    }
    assert_eq!(events(&store, "a").await, 1002);

    // A snapshot is behind it: what came before it is not even read.
    let kept = "SELECT version FROM log.snapshots WHERE category = 'bank_account'";
    let kept: i64 = sqlx::query_scalar(kept).fetch_one(&db.admin).await.unwrap();
    assert_eq!(kept, 1001);
    db.sabotage("UPDATE log.events SET payload = '{}' WHERE version < 1001").await;
    assert_eq!(account(&ours(&db), "a").await, BankAccount { balance: 1002, deposits: 1002 });
}

/// `PostgresEventRepository`, and somebody else's command between the two reads of a load.
struct Interleaved {
    repository: PostgresEventRepository,
    between: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
}

impl PersistedEventRepository for Interleaved {
    async fn get_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.repository.get_events::<A>(aggregate_id).await
    }

    async fn get_last_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
        last_sequence: usize,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        let between = self.between.lock().unwrap().take();
        if let Some(between) = between {
            between.await;
        }
        self.repository.get_last_events::<A>(aggregate_id, last_sequence).await
    }

    async fn get_snapshot<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<Option<SerializedSnapshot>, PersistenceError> {
        self.repository.get_snapshot::<A>(aggregate_id).await
    }

    async fn persist<A: Aggregate>(
        &self,
        events: &[SerializedEvent],
        snapshot_update: Option<(String, Value, usize)>,
    ) -> Result<(), PersistenceError> {
        self.repository.persist::<A>(events, snapshot_update).await
    }

    async fn stream_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<ReplayStream, PersistenceError> {
        self.repository.stream_events::<A>(aggregate_id).await
    }

    async fn stream_all_events<A: Aggregate>(&self) -> Result<ReplayStream, PersistenceError> {
        self.repository.stream_all_events::<A>().await
    }
}

fn with_snapshots(pool: &PgPool) -> PersistedEventStore<PostgresEventRepository, BankAccount> {
    PersistedEventStore::new_snapshot_store(PostgresEventRepository::new(pool.clone()), 1)
}

#[tokio::test]
async fn postgres_es_answers_conflict_after_it_has_committed() {
    let db = Db::new().await;
    let pool = their_pool(&db).await;
    framework(with_snapshots(&pool)).execute("a", deposit(1)).await.unwrap();
    let other = framework(with_snapshots(&pool));
    let between = Box::pin(async move { other.execute("a", deposit(1)).await.unwrap() });
    let repository = PostgresEventRepository::new(pool.clone());
    let repository = Interleaved { repository, between: Mutex::new(Some(between)) };

    let cqrs = framework(PersistedEventStore::new_snapshot_store(repository, 1));
    let answer = cqrs.execute("a", deposit(1)).await;

    assert!(matches!(answer, Err(Error::AggregateConflict)), "{answer:?}");
    assert_eq!(events(&theirs(&pool), "a").await, 3, "all three deposits were committed");
    // Whoever believes the answer and sends the command again deposits twice.
    cqrs.execute("a", deposit(1)).await.unwrap();
    assert_eq!(events(&theirs(&pool), "a").await, 4);
}

#[tokio::test]
async fn a_conflict_here_means_that_nothing_was_committed() {
    let db = Db::new().await;
    let store = ours(&db);
    let cqrs = framework(store.clone());
    cqrs.execute("a", deposit(1)).await.unwrap();

    // The only moment there is: a load here is of one version.
    let loaded = store.load_aggregate("a").await.unwrap();
    cqrs.execute("a", deposit(1)).await.unwrap();
    let answer = commit(&store, loaded, deposit(1)).await;
    assert!(matches!(answer, Err(Error::AggregateConflict)), "{answer:?}");
    assert_eq!(events(&store, "a").await, 2);
    cqrs.execute("a", deposit(1)).await.unwrap();
    assert_eq!(events(&store, "a").await, 3);

    // And at whatever moment: as many events as answers that say so.
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let cqrs = framework(ours(&db));
        clients.spawn(async move {
            let mut committed = 0;
            for _ in 0..5 {
                committed += usize::from(cqrs.execute("b", deposit(1)).await.is_ok());
            }
            committed
        });
    }
    let committed: usize = clients.join_all().await.into_iter().sum();
    assert_eq!(events(&store, "b").await, committed);
}
