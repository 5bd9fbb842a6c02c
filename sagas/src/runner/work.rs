//! Rows of `process.work`. Times are the context's and not the database's, so that tests can
//! stand still.

use chrono::{DateTime, Duration, Utc};
use event_schemas::ids::StoreId;
use uuid::Uuid;

use crate::{BACK_OFF_MAX, SagaCtx};

/// How long a worker may be at it before another one tries: three calls of a provider that does
/// not answer.
const LEASE: Duration = Duration::seconds(30);

/// Shortest time until a row is due again.
const SHORTEST_WAIT: Duration = Duration::milliseconds(1);

/// Longest error kept, in characters.
const ERROR_CHARS_MAX: usize = 500;

/// Which process a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Process {
    /// `checkout.rs`, by checkout id.
    Checkout,
    /// `refund.rs`, by order id.
    Order,
    /// Money that nothing counts on, by payment id.
    Payment,
}

impl Process {
    /// As stored.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Checkout => "checkout",
            Self::Order => "order",
            Self::Payment => "payment",
        }
    }

    fn of_name(name: &str) -> Process {
        match name {
            "order" => Self::Order,
            "payment" => Self::Payment,
            _ => Self::Checkout,
        }
    }
}

/// A row that was taken.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) store_id: StoreId,
    pub(super) process: Process,
    pub(super) id: Uuid,
    /// Position of the log up to which events had woken it when it was taken.
    pub(super) generation: i64,
    /// Failures in a row before it was taken.
    pub(super) attempts: i32,
}

/// Takes up to `limit` rows that are due, those due longest first. One round trip.
pub(super) async fn claim(ctx: &SagaCtx, limit: usize) -> Result<Vec<Work>, sqlx::Error> {
    let now = ctx.now();
    let rows = sqlx::query!(
        // Materialised: as a plain subquery a join may run it once per row, past its limit.
        "WITH due AS MATERIALIZED (
              SELECT store_id, process, id FROM process.work
               WHERE due_at <= $1 AND (leased_until IS NULL OR leased_until <= $1)
               ORDER BY due_at LIMIT $3
                 FOR UPDATE SKIP LOCKED)
         UPDATE process.work w SET leased_until = $2 FROM due
          WHERE (w.store_id, w.process, w.id) = (due.store_id, due.process, due.id)
         RETURNING w.store_id, w.process, w.id, w.generation, w.attempts",
        now,
        now + LEASE,
        i64::try_from(limit).unwrap_or(i64::MAX)
    )
    .fetch_all(&ctx.pool)
    .await?;
    let rows = rows.into_iter().map(|row| Work {
        store_id: StoreId(row.store_id),
        process: Process::of_name(&row.process),
        id: row.id,
        generation: row.generation,
        attempts: row.attempts,
    });
    Ok(rows.collect())
}

/// Puts a row away, unless it was woken meanwhile: then it is due again.
pub(super) async fn finish(ctx: &SagaCtx, work: &Work) -> Result<(), sqlx::Error> {
    let (store_id, process, id) = (work.store_id.0, work.process.name(), work.id);
    let removed = sqlx::query!(
        "DELETE FROM process.work
          WHERE store_id = $1 AND process = $2 AND id = $3 AND generation = $4",
        store_id,
        process,
        id,
        work.generation
    );
    if removed.execute(&ctx.pool).await?.rows_affected() == 0 {
        free(ctx, work, ctx.now()).await?;
    }
    Ok(())
}

/// Puts a row to its next time, unless it was woken meanwhile: then it is due as it says.
pub(super) async fn reschedule(
    ctx: &SagaCtx,
    work: &Work,
    due_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    // A process that waited for the past would spin.
    free(ctx, work, due_at.max(ctx.now() + SHORTEST_WAIT)).await
}

async fn free(ctx: &SagaCtx, work: &Work, due_at: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE process.work
            SET leased_until = NULL, attempts = 0, last_error = NULL,
                due_at = CASE WHEN generation = $4 THEN $5 ELSE due_at END
          WHERE store_id = $1 AND process = $2 AND id = $3",
        work.store_id.0,
        work.process.name(),
        work.id,
        work.generation,
        due_at
    )
    .execute(&ctx.pool)
    .await?;
    Ok(())
}

/// Puts a row that failed to a later time: 1, 2, 4 … 60 s.
pub(super) async fn fail(
    ctx: &SagaCtx,
    work: &Work,
    attempts: i32,
    error: &str,
) -> Result<(), sqlx::Error> {
    let doublings = u32::try_from(attempts - 1).unwrap_or(0).min(6);
    let wait = Duration::seconds(i64::from(2_u32.pow(doublings))).min(BACK_OFF_MAX);
    let error: String = error.chars().take(ERROR_CHARS_MAX).collect();
    sqlx::query!(
        "UPDATE process.work
            SET leased_until = NULL, attempts = $4, last_error = $5,
                due_at = CASE WHEN generation = $6 THEN $7 ELSE due_at END
          WHERE store_id = $1 AND process = $2 AND id = $3",
        work.store_id.0,
        work.process.name(),
        work.id,
        attempts,
        error,
        work.generation,
        ctx.now() + wait
    )
    .execute(&ctx.pool)
    .await?;
    Ok(())
}

/// A row that is taken from its beginning.
pub(super) async fn lease(
    ctx: &SagaCtx,
    store_id: StoreId,
    (process, id): (Process, Uuid),
) -> Result<(), sqlx::Error> {
    let now = ctx.now();
    sqlx::query!(
        "INSERT INTO process.work (store_id, process, id, due_at, leased_until)
         VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (store_id, process, id) DO UPDATE SET leased_until = $5",
        store_id.0,
        process.name(),
        id,
        now,
        now + LEASE
    )
    .execute(&ctx.pool)
    .await?;
    Ok(())
}

/// Puts a row away, whatever woke it: its process has ended.
pub(super) async fn remove(
    ctx: &SagaCtx,
    store_id: StoreId,
    (process, id): (Process, Uuid),
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM process.work WHERE store_id = $1 AND process = $2 AND id = $3",
        store_id.0,
        process.name(),
        id
    )
    .execute(&ctx.pool)
    .await?;
    Ok(())
}

/// Gives a row that was leased to the runners. It stays due, so that they look themselves when
/// to come back: it may have been woken meanwhile.
pub(super) async fn hand_over(
    ctx: &SagaCtx,
    store_id: StoreId,
    (process, id): (Process, Uuid),
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE process.work SET leased_until = NULL
          WHERE store_id = $1 AND process = $2 AND id = $3",
        store_id.0,
        process.name(),
        id
    )
    .execute(&ctx.pool)
    .await?;
    Ok(())
}
