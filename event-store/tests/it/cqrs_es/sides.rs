//! The two stores the stories run on, in one database: ours in `log`, theirs in `public`.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use cqrs_es::persist::PersistedEventStore;
use cqrs_es::{AggregateContext as _, CqrsFramework, EventEnvelope, EventStore, Query};
use event_store::cqrs::CqrsStore;
use postgres_es::PostgresEventRepository;
use sqlx::ConnectOptions as _;
use sqlx_of_postgres_es::postgres::{PgPool, PgPoolOptions};
use sqlx_of_postgres_es::{Executor as _, raw_sql};

use super::bank::{BANK_ACCOUNT, Bank, BankAccount, BankCommand, BankError};
use crate::account::STORE;
use crate::db::Db;

pub(crate) type Ours = CqrsStore<BankAccount>;
pub(crate) type Theirs = PersistedEventStore<PostgresEventRepository, BankAccount>;
pub(crate) type Error = cqrs_es::AggregateError<BankError>;

pub(crate) fn ours(db: &Db) -> Ours {
    CqrsStore::new(db.engine(), STORE, &BANK_ACCOUNT)
}

pub(crate) fn theirs(pool: &PgPool) -> Theirs {
    PersistedEventStore::new_event_store(PostgresEventRepository::new(pool.clone()))
}

/// A framework without queries.
pub(crate) fn framework<S: EventStore<BankAccount>>(store: S) -> CqrsFramework<BankAccount, S> {
    CqrsFramework::new(store, vec![], Bank::default())
}

pub(crate) fn deposit(amount: i64) -> BankCommand {
    BankCommand::Deposit { amount }
}

/// The aggregate as the store has it.
pub(crate) async fn account<S: EventStore<BankAccount>>(store: &S, id: &str) -> BankAccount {
    let mut context = store.load_aggregate(id).await.unwrap();
    std::mem::take(context.aggregate())
}

/// How many events the store has of it.
pub(crate) async fn events<S: EventStore<BankAccount>>(store: &S, id: &str) -> usize {
    store.load_events(id).await.unwrap().len()
}

/// Decides as the framework does and stops before the commit.
pub(crate) async fn commit<S: EventStore<BankAccount>>(
    store: &S,
    mut context: S::AC,
    command: BankCommand,
) -> Result<Vec<EventEnvelope<BankAccount>>, Error> {
    use cqrs_es::Aggregate as _;
    let sink = cqrs_es::event_sink::EventSink::default();
    context.aggregate().handle(command, &Bank::default(), &sink).await.unwrap();
    store.commit(sink.collect().await, context, HashMap::new()).await
}

/// Tables of `postgres-es`, as its own `db/init.sql` has them.
const TABLES: &str = "
    CREATE TABLE events (
        aggregate_type text                         NOT NULL,
        aggregate_id   text                         NOT NULL,
        sequence       bigint CHECK (sequence >= 0) NOT NULL,
        event_type     text                         NOT NULL,
        event_version  text                         NOT NULL,
        payload        json                         NOT NULL,
        metadata       json                         NOT NULL,
        PRIMARY KEY (aggregate_type, aggregate_id, sequence));
    CREATE TABLE snapshots (
        aggregate_type   text                                 NOT NULL,
        aggregate_id     text                                 NOT NULL,
        last_sequence    bigint CHECK (last_sequence >= 0)    NOT NULL,
        current_snapshot bigint CHECK (current_snapshot >= 0) NOT NULL,
        payload          json                                 NOT NULL,
        PRIMARY KEY (aggregate_type, aggregate_id, last_sequence));
    CREATE TABLE statements (
        view_id text                        NOT NULL,
        version bigint CHECK (version >= 0) NOT NULL,
        payload json                        NOT NULL,
        PRIMARY KEY (view_id));";

/// A pool for `postgres-es`, and its tables.
pub(crate) async fn their_pool(db: &Db) -> PgPool {
    let url = db.options().to_url_lossy();
    let pool = PgPoolOptions::new().max_connections(8).connect(url.as_str()).await.unwrap();
    pool.execute(raw_sql(TABLES)).await.unwrap();
    pool
}

/// An event, and the aggregate id it was dispatched under.
type Dispatched = (String, EventEnvelope<BankAccount>);

/// What a query was told, in order.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<Dispatched>>>);

impl Told {
    pub(crate) fn sequences(&self) -> Vec<usize> {
        self.0.lock().unwrap().iter().map(|(_, event)| event.sequence).collect()
    }

    pub(crate) fn take(&self) -> Vec<Dispatched> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Query<BankAccount> for Told {
    // What `async_trait` makes of `async fn dispatch(&self, …)`.
    fn dispatch<'a, 'b, 'c, 'd>(
        &'a self,
        id: &'b str,
        events: &'c [EventEnvelope<BankAccount>],
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'd>>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
    {
        let events = events.iter().map(|event| (id.to_owned(), event.clone()));
        self.0.lock().unwrap().extend(events);
        Box::pin(async {})
    }
}
