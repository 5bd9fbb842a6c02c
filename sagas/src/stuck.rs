//! Which processes do not go on. What is stuck is tried again all the same, once a minute; here a
//! person sees that somebody has to look.

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::runner::STUCK_AFTER;

/// Rows of a list: a page that a person reads; more than that is one cause and not many.
const LISTED_MAX: i64 = 500;

/// A process that has failed again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StuckProcess {
    /// Whose it is.
    pub store_id: Uuid,
    /// `checkout`, `order` (a refund or cancellation) or `payment` (money that goes back).
    pub process: String,
    /// The checkout, order or payment.
    pub id: Uuid,
    /// Failures in a row.
    pub attempts: i32,
    /// When it is tried again.
    pub due_at: DateTime<Utc>,
    /// What the last failure said.
    pub last_error: Option<String>,
}

/// Every process that has failed at least six times in a row, the most stubborn first; at most 500.
/// `pool` is one of `Role::Process`.
pub async fn stuck(pool: &PgPool) -> Result<Vec<StuckProcess>, sqlx::Error> {
    sqlx::query_as!(
        StuckProcess,
        "SELECT store_id, process, id, attempts, due_at, last_error FROM process.work
          WHERE attempts >= $1 ORDER BY attempts DESC, id LIMIT $2",
        STUCK_AFTER,
        LISTED_MAX
    )
    .fetch_all(pool)
    .await
}

/// How much the processes have before them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Backlog {
    /// Processes that have failed at least six times in a row.
    pub stuck: i64,
    /// How long the one that is due longest has been due, in seconds; nothing if none is.
    pub overdue_seconds: f64,
}

/// What the runners have not done yet. `pool` is one of `Role::Process` or `Role::Projector`.
pub async fn backlog(pool: &PgPool) -> Result<Backlog, sqlx::Error> {
    sqlx::query_as!(
        Backlog,
        r#"SELECT count(*) FILTER (WHERE attempts >= $1) AS "stuck!",
                  coalesce(extract(epoch FROM now() - min(due_at) FILTER (
                      WHERE due_at <= now() AND (leased_until IS NULL OR leased_until <= now())
                  )), 0)::float8 AS "overdue_seconds!"
             FROM process.work"#,
        STUCK_AFTER
    )
    .fetch_one(pool)
    .await
}
