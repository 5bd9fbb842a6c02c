//! The journal of refused commands: who tried what, and why it was not done.
//!
//! Beside the log and not in it. Telling it of a refusal never waits and costs no query; a task of
//! its own writes what has gathered. In a flood, and while the database is away, it loses entries
//! and says how many. SQL side: `migrations/*_refusals.sql`, which also says how long they stay.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use tokio::sync::mpsc;
use tokio::time::sleep;
use uuid::Uuid;

use crate::StoreError;

/// Entries that wait to be written, of about 300 bytes each. More are lost.
const QUEUE_MAX: usize = 10_000;

/// Entries of one statement.
const BATCH_MAX: usize = 1_000;

/// Pause between two statements. Bounds what a flood of refusals can cost the database to 10,000
/// rows in a second, and gathers the few of ordinary days.
const PAUSE: Duration = Duration::from_millis(100);

/// Pause before a batch that could not be written is tried once more.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// A command that was refused. Holds nothing about persons but their id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedCommand {
    pub store_id: Uuid,
    pub refused_at: DateTime<Utc>,
    /// `user`, `system`, … as in the metadata of events.
    pub actor_kind: &'static str,
    pub actor_id: Uuid,
    /// What was tried, such as `checkouts_begin`.
    pub operation: String,
    /// Why it was refused, and the HTTP status of that.
    pub code: &'static str,
    pub status: i16,
    pub request_id: String,
    pub correlation_id: Uuid,
    /// What it was tried on.
    pub path: String,
}

/// Takes refusals. Cheap to clone; [`Journal::run`] ends when the last clone is gone.
#[derive(Clone, Debug)]
pub struct Refusals {
    queue: mpsc::Sender<RefusedCommand>,
    lost: Arc<AtomicU64>,
}

/// Writes them.
#[derive(Debug)]
pub struct Journal {
    queue: mpsc::Receiver<RefusedCommand>,
    lost: Arc<AtomicU64>,
}

/// Both ends of a journal.
pub fn journal() -> (Refusals, Journal) {
    let (send, receive) = mpsc::channel(QUEUE_MAX);
    let lost = Arc::new(AtomicU64::new(0));
    (Refusals { queue: send, lost: Arc::clone(&lost) }, Journal { queue: receive, lost })
}

impl Refusals {
    /// Notes a refusal, to be written soon. Never waits: what does not fit is lost.
    pub fn record(&self, refused: RefusedCommand) {
        if self.queue.try_send(refused).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Journal {
    /// Writes what is recorded, until nobody is left to record anything and all is written. `pool`
    /// is of [`crate::pool::Role::Writer`]; one connection is enough.
    pub async fn run(mut self, pool: PgPool) {
        let mut batch = Vec::new();
        while 0 < self.queue.recv_many(&mut batch, BATCH_MAX).await {
            if let Err(error) = write(&pool, &batch).await {
                tracing::warn!(%error, "refusals could not be written, trying once more");
                sleep(PAUSE_AFTER_FAILURE).await;
                if write(&pool, &batch).await.is_err() {
                    self.lost.fetch_add(batch.len() as u64, Ordering::Relaxed);
                }
            }
            batch.clear();
            self.report();
            sleep(PAUSE).await;
        }
        self.report();
    }

    fn report(&self) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if 0 < lost {
            tracing::warn!(lost, "refusals are missing in the journal");
        }
    }
}

async fn write(pool: &PgPool, batch: &[RefusedCommand]) -> Result<(), StoreError> {
    let mut conn = pool.acquire().await?;
    insert(&mut conn, batch).await
}

async fn insert(conn: &mut PgConnection, batch: &[RefusedCommand]) -> Result<(), StoreError> {
    let stores: Vec<Uuid> = batch.iter().map(|it| it.store_id).collect();
    let times: Vec<DateTime<Utc>> = batch.iter().map(|it| it.refused_at).collect();
    let kinds: Vec<&str> = batch.iter().map(|it| it.actor_kind).collect();
    let actors: Vec<Uuid> = batch.iter().map(|it| it.actor_id).collect();
    let operations: Vec<&str> = batch.iter().map(|it| it.operation.as_str()).collect();
    let codes: Vec<&str> = batch.iter().map(|it| it.code).collect();
    let statuses: Vec<i16> = batch.iter().map(|it| it.status).collect();
    let requests: Vec<&str> = batch.iter().map(|it| it.request_id.as_str()).collect();
    let correlations: Vec<Uuid> = batch.iter().map(|it| it.correlation_id).collect();
    let paths: Vec<&str> = batch.iter().map(|it| it.path.as_str()).collect();
    let insert = sqlx::query!(
        "INSERT INTO log.refusals (store_id, refused_at, actor_kind, actor_id, operation, code,
                                   status, request_id, correlation_id, path)
         SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::uuid[], $5::text[],
                              $6::text[], $7::smallint[], $8::text[], $9::uuid[], $10::text[])",
        &stores,
        &times,
        &kinds as &[&str],
        &actors,
        &operations as &[&str],
        &codes as &[&str],
        &statuses,
        &requests as &[&str],
        &correlations,
        &paths as &[&str]
    );
    insert.execute(conn).await?;
    Ok(())
}

/// Drops entries past their keeping; returns how many. As the owner of the table, every minute.
pub async fn prune(conn: &mut PgConnection) -> Result<i64, StoreError> {
    let pruned = sqlx::query_scalar!(r#"SELECT log.prune_refusals() AS "pruned!""#);
    Ok(pruned.fetch_one(conn).await?)
}
