//! Making a read model again from everything that happened.
//!
//! `QueryReplay` reads through a channel that a task fills. If the task's connection breaks, the
//! task panics, the channel ends, and the replay takes that for the end of the events. Events that
//! do not decode are passed over unless there is an error handler. And there is no order across
//! aggregates.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cqrs_es::persist::QueryReplay;
use cqrs_es::{EventEnvelope, Query};
use event_store::cqrs::{CqrsStore, stream_id};
use event_store::read::{head, read_after};
use event_store::{NewEvent, StoreError, StreamKey, Unit};
use postgres_es::PostgresEventRepository;
use sqlx::PgConnection;
use sqlx_of_postgres_es::postgres::PgPool;

use super::bank::{BankAccount, BankCommand};
use super::sides::{Told, deposit, framework, ours, their_pool, theirs};
use crate::account::{ACCOUNT, Command, STORE};
use crate::db::{Db, new_id};

/// Events of a replay that breaks: several times what sockets and channels hold.
const MANY: usize = 1_000;
const BYTES_EACH: usize = 20_000;

/// Ends every other session of the database, as a server that restarts does.
const KILL: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                     WHERE datname = current_database() AND pid <> pg_backend_pid()";

/// Counts events, and breaks all connections at the first.
#[derive(Clone)]
struct Breaks {
    admin: sqlx::PgPool,
    seen: Arc<AtomicUsize>,
}

impl Query<BankAccount> for Breaks {
    fn dispatch<'a, 'b, 'c, 'd>(
        &'a self,
        _: &'b str,
        events: &'c [EventEnvelope<BankAccount>],
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'd>>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
    {
        Box::pin(async move {
            if self.seen.fetch_add(events.len(), Ordering::SeqCst) == 0 {
                let killed = sqlx::query_scalar::<_, i64>(KILL).fetch_one(&self.admin).await;
                assert!(killed.unwrap() > 0);
            }
        })
    }
}

fn replay_of<Q: Query<BankAccount>>(
    pool: &PgPool,
    query: Q,
) -> QueryReplay<PostgresEventRepository, Q, BankAccount> {
    QueryReplay::new(PostgresEventRepository::new(pool.clone()), query)
}

#[tokio::test]
async fn postgres_es_ends_a_replay_early_and_says_ok() {
    let db = Db::new().await;
    let pool = their_pool(&db).await;
    let fill =
        "INSERT INTO events SELECT 'bank_account', 'a', n, 'Deposited', '1.0', json_build_object(
        'Deposited', json_build_object('amount', 1, 'balance', n, 'note', repeat('x', $1))), '{}'
        FROM generate_series(1, $2) n";
    let fill = sqlx::query(fill).bind(i32::try_from(BYTES_EACH).unwrap());
    fill.bind(i32::try_from(MANY).unwrap()).execute(&db.admin).await.unwrap();
    let seen = Arc::new(AtomicUsize::new(0));

    let answer = replay_of(&pool, Breaks { admin: db.admin.clone(), seen: seen.clone() });
    let answer = answer.replay_all().await;

    let seen = seen.load(Ordering::SeqCst);
    assert!(answer.is_ok(), "{answer:?}");
    assert!((1..MANY).contains(&seen), "{seen} of {MANY}");
}

#[tokio::test]
async fn postgres_es_passes_over_events_it_cannot_read_and_gaps_and_says_ok() {
    let db = Db::new().await;
    let pool = their_pool(&db).await;
    let cqrs = framework(theirs(&pool));
    for _ in 0..5 {
        cqrs.execute("a", deposit(1)).await.unwrap();
    }
    let spoil = "UPDATE events SET payload = '{\"Unheard\":{}}' WHERE sequence = 2";
    sqlx::query(spoil).execute(&db.admin).await.unwrap();
    sqlx::query("DELETE FROM events WHERE sequence = 4").execute(&db.admin).await.unwrap();

    let told = Told::default();
    replay_of(&pool, told.clone()).replay_all().await.unwrap();

    assert_eq!(told.sequences(), [1, 3, 5]);
}

#[tokio::test]
async fn postgres_es_has_no_order_across_aggregates() {
    let db = Db::new().await;
    let pool = their_pool(&db).await;
    let cqrs = framework(theirs(&pool));
    for id in ["a", "a", "b"] {
        cqrs.execute(id, deposit(1)).await.unwrap();
    }

    let told = Told::default();
    replay_of(&pool, told.clone()).replay_all().await.unwrap();

    // By the number within the aggregate; what was last committed comes before the second.
    let order: Vec<_> = told.take().into_iter().map(|(id, event)| (event.sequence, id)).collect();
    assert_eq!(order[2], (2, "a".to_owned()));
    // And no column says more.
    let columns = "SELECT string_agg(column_name, ' ' ORDER BY ordinal_position)
                     FROM information_schema.columns
                    WHERE table_name = 'events' AND table_schema = 'public'";
    let columns: String = sqlx::query_scalar(columns).fetch_one(&db.admin).await.unwrap();
    assert_eq!(
        columns,
        "aggregate_type aggregate_id sequence event_type event_version payload metadata"
    );
}

/// What a replay here saw: positions, and sequences of whatever was of this aggregate.
async fn replay(
    conn: &mut PgConnection,
    store: &CqrsStore<BankAccount>,
    from: i64,
    window: i64,
) -> (Vec<i64>, Result<(), StoreError>) {
    let mut seen = vec![];
    loop {
        let after = seen.last().copied().unwrap_or(from);
        let events = match read_after(conn, after, window).await {
            Ok(events) if events.is_empty() => return (seen, Ok(())),
            Ok(events) => events,
            Err(error) => return (seen, Err(error)),
        };
        for recorded in events {
            if let Err(error) = store.envelope(&recorded) {
                return (seen, Err(error));
            }
            seen.push(recorded.position);
        }
    }
}

#[tokio::test]
async fn a_replay_here_that_breaks_says_so_and_goes_on_where_it_was() {
    let db = Db::new().await;
    let store = ours(&db);
    for _ in 0..4 {
        let often = BankCommand::DepositOften { times: 100 };
        framework(store.clone()).execute("a", often).await.unwrap();
    }
    let mut conn = db.writer.acquire().await.unwrap();
    let (seen, _) = replay(&mut conn, &store, 300, 10).await;
    assert_eq!(seen.len(), 100);
    sqlx::query_scalar::<_, i64>(KILL).fetch_one(&db.admin).await.unwrap();

    let (seen, answer) = replay(&mut conn, &store, 0, 100).await;
    assert!(matches!(&answer, Err(error) if error.is_passing()), "{answer:?}");
    assert!(seen.is_empty());

    // Broken in the middle and taken up again: all of it, once.
    let mut conn = db.writer.acquire().await.unwrap();
    let first = read_after(&mut conn, 0, 150).await.unwrap();
    sqlx::query_scalar::<_, i64>(KILL).fetch_one(&db.admin).await.unwrap();
    let (_, answer) = replay(&mut conn, &store, 150, 100).await;
    assert!(answer.is_err());
    let mut conn = db.writer.acquire().await.unwrap();
    let (rest, answer) = replay(&mut conn, &store, 150, 100).await;
    answer.unwrap();
    assert_eq!(first.len() + rest.len(), 400);
    assert_eq!(head(&mut conn).await.unwrap(), 400);
}

#[tokio::test]
async fn a_replay_here_stops_at_what_it_cannot_read_and_at_a_gap() {
    let db = Db::new().await;
    let store = ours(&db);
    let cqrs = framework(store.clone());
    cqrs.execute("a", deposit(1)).await.unwrap();
    let unheard = NewEvent {
        event_id: new_id(),
        event_type: "Unheard".into(),
        schema_version: 1,
        payload: br#"{"Unheard":{}}"#.to_vec(),
    };
    let stream = StreamKey { store_id: STORE, category: "bank_account", id: stream_id("a") };
    let unit = Unit {
        stream,
        expected: 1,
        command_id: new_id(),
        fingerprint: [7; 32],
        metadata: b"{}".to_vec(),
        keys: vec![],
        events: vec![unheard],
    };
    db.engine().append(vec![unit]).await.unwrap();
    let elsewhere = cqrs.execute("b", BankCommand::DepositOften { times: 3 }).await;
    elsewhere.unwrap();
    let mut conn = db.writer.acquire().await.unwrap();

    let (seen, answer) = replay(&mut conn, &store, 0, 100).await;
    assert!(matches!(answer, Err(StoreError::Decode { position: 2, .. })), "{answer:?}");
    assert_eq!(seen, [1]);
    let loaded = cqrs.execute("a", deposit(1)).await;
    assert!(matches!(loaded, Err(super::Error::DeserializationError(_))), "{loaded:?}");

    db.sabotage("DELETE FROM log.events WHERE position = 4").await;
    let (seen, answer) = replay(&mut conn, &store, 2, 1).await;
    let gap = StoreError::Gap { expected: 4, found: None };
    assert_eq!(format!("{answer:?}"), format!("{:?}", Err::<(), _>(gap)));
    assert_eq!(seen, [3]);
}

#[tokio::test]
async fn every_event_here_has_its_place_among_all() {
    let db = Db::new().await;
    let bank = framework(ours(&db));
    let kind = Box::leak(Box::new(ACCOUNT));
    let accounts = CqrsStore::new(db.engine(), STORE, kind);
    let accounts = cqrs_es::CqrsFramework::new(accounts, vec![], ());
    for id in ["a", "a", "b"] {
        bank.execute(id, deposit(1)).await.unwrap();
        accounts.execute(id, Command::Deposit { amount: 1 }).await.unwrap();
    }

    let mut conn = db.writer.acquire().await.unwrap();
    let events = read_after(&mut conn, 0, 100).await.unwrap();
    let name = HashMap::from([(stream_id("a"), "a"), (stream_id("b"), "b")]);
    let order: Vec<_> = events
        .iter()
        .map(|event| (event.position, &*event.category, name[&event.stream_id], event.version))
        .collect();
    let expected = [
        (1, "bank_account", "a", 1),
        (2, "account", "a", 1),
        (3, "bank_account", "a", 2),
        (4, "account", "a", 2),
        (5, "bank_account", "b", 1),
        (6, "account", "b", 1),
    ];
    assert_eq!(order, expected);
}
