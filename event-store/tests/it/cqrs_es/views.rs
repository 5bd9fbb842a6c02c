//! Read models under concurrency.
//!
//! `GenericQuery` reads a view, applies the events and writes it back if nobody else has; if
//! somebody has, it drops the events, and unless it was given an error handler nobody is told. Two
//! commands that follow each other closely are enough.

use std::sync::Arc;

use cqrs_es::persist::{GenericQuery, PersistenceError, ViewContext, ViewRepository};
use cqrs_es::{CqrsFramework, EventStore as _, View as _};
use event_store::StoreError;
use event_store::checkpoint::{lock_checkpoint, write_checkpoint};
use event_store::read::{WINDOW, read_after};
use postgres_es::PostgresViewRepository;
use sqlx::PgPool;
use sqlx::types::Json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::bank::{Bank, BankAccount, Statement};
use super::sides::{Error, Ours, deposit, framework, ours, their_pool, theirs};
use crate::db::Db;

/// Rounds of two commands each.
const ROUNDS: usize = 10;

/// `PostgresViewRepository`, whose readers wait for each other in pairs.
struct Pairs {
    views: PostgresViewRepository<Statement, BankAccount>,
    readers: Arc<watch::Sender<usize>>,
}

impl ViewRepository<Statement, BankAccount> for Pairs {
    async fn load(&self, view_id: &str) -> Result<Option<Statement>, PersistenceError> {
        self.views.load(view_id).await
    }

    async fn load_with_context(
        &self,
        view_id: &str,
    ) -> Result<Option<(Statement, ViewContext)>, PersistenceError> {
        let view = self.views.load_with_context(view_id).await;
        let mut pair = 0;
        self.readers.send_modify(|readers| {
            *readers += 1;
            pair = readers.div_ceil(2);
        });
        self.readers.subscribe().wait_for(|readers| 2 * pair <= *readers).await.unwrap();
        view
    }

    async fn update_view(
        &self,
        view: Statement,
        context: ViewContext,
    ) -> Result<(), PersistenceError> {
        self.views.update_view(view, context).await
    }
}

#[tokio::test]
async fn postgres_es_views_lose_events_and_nobody_is_told() {
    let db = Db::new().await;
    let pool = their_pool(&db).await;
    let readers = Arc::new(watch::Sender::new(0));
    let views = || PostgresViewRepository::new("statements", pool.clone());
    let pairs = Pairs { views: views(), readers: readers.clone() };
    let query = GenericQuery::new(Arc::new(pairs));
    let cqrs = CqrsFramework::new(theirs(&pool), vec![Box::new(query)], Bank::default());

    for round in 0..ROUNDS {
        let first = cqrs.execute("a", deposit(1));
        let second = async {
            // The first is committed and updates its view.
            readers.subscribe().wait_for(|readers| *readers > 2 * round).await.unwrap();
            cqrs.execute("a", deposit(1)).await
        };
        let answers = tokio::join!(first, second);
        assert!(matches!(answers, (Ok(()), Ok(()))), "{answers:?}");
    }

    let stored = theirs(&pool).load_events("a").await.unwrap();
    let view: Statement = views().load("a").await.unwrap().unwrap();
    assert_eq!((stored.len(), view.seen.len()), (2 * ROUNDS, ROUNDS), "half of them are lost");
    assert_eq!(view.balance, 10);
}

/// A table for the view here. The checkpoint is moved in the same transaction.
async fn create_table(db: &Db) {
    let table = "CREATE TABLE public.statement (id text PRIMARY KEY, view json NOT NULL)";
    sqlx::query(table).execute(&db.admin).await.unwrap();
}

/// Brings the view up to the end of the log, window by window.
pub(super) async fn catch_up(pool: &PgPool, store: &Ours, window: i64) -> Result<i64, StoreError> {
    loop {
        let mut tx = pool.begin().await?;
        let from = lock_checkpoint(&mut tx, "statement").await?;
        let events = read_after(&mut tx, from, window).await?;
        let Some(last) = events.last() else { return Ok(from) };
        for recorded in &events {
            let event = store.envelope(recorded)?;
            let id = &event.aggregate_id;
            let view = "SELECT view FROM public.statement WHERE id = $1";
            let view = sqlx::query_scalar(view).bind(id).fetch_optional(&mut *tx).await?;
            let mut view = view.map_or_else(Statement::default, |Json(view)| view);
            view.update(&event);
            let save = "INSERT INTO public.statement VALUES ($1, $2)
                            ON CONFLICT (id) DO UPDATE SET view = excluded.view";
            sqlx::query(save).bind(id).bind(Json(view)).execute(&mut *tx).await?;
        }
        write_checkpoint(&mut tx, "statement", last.position).await?;
        tx.commit().await?;
    }
}

#[tokio::test]
async fn a_view_made_from_the_log_has_every_event_once_and_in_order() {
    let db = Db::new().await;
    create_table(&db).await;
    let mut work = JoinSet::new();
    for _ in 0..2 {
        let cqrs = framework(ours(&db));
        work.spawn(async move {
            for _ in 0..ROUNDS {
                while let Err(error) = cqrs.execute("a", deposit(1)).await {
                    assert!(matches!(error, Error::AggregateConflict), "{error:?}");
                }
            }
        });
        // Two of them, at the same time as the commands.
        let (admin, store) = (db.admin.clone(), ours(&db));
        work.spawn(async move {
            for _ in 0..5 {
                catch_up(&admin, &store, 3).await.unwrap();
            }
        });
    }
    work.join_all().await;

    // Whoever stops in the middle leaves nothing behind.
    let cqrs = framework(ours(&db));
    cqrs.execute("a", deposit(1)).await.unwrap();
    let mut tx = db.admin.begin().await.unwrap();
    let from = lock_checkpoint(&mut tx, "statement").await.unwrap();
    write_checkpoint(&mut tx, "statement", from + 1).await.unwrap();
    tx.rollback().await.unwrap();

    let end = catch_up(&db.admin, &ours(&db), WINDOW).await.unwrap();

    let view = "SELECT view FROM public.statement WHERE id = 'a'";
    let Json(view) =
        sqlx::query_scalar::<_, Json<Statement>>(view).fetch_one(&db.admin).await.unwrap();
    assert_eq!((end, view.balance), (21, 21));
    assert!(view.seen.into_iter().eq(1..=2 * ROUNDS + 1));
}
