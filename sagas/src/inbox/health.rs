//! Numbers about the inbox.

use chrono::{DateTime, Duration, Utc};
use event_schemas::ids::StoreId;
use sqlx::PgPool;

/// What is counted of what has come and of what was settled.
const WINDOW: Duration = Duration::hours(24);

/// How the inbox of one store is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// Events of the last 24 hours, each counted once.
    pub received: i64,
    /// Of these: took effect.
    pub applied: i64,
    /// Of these: were of no consequence, by why.
    pub ignored: Vec<Reason>,
    /// Wait for their first try or another one, whenever they came.
    pub waiting: i64,
    /// Of those that wait: have failed before.
    pub failed: i64,
    /// Have failed twelve times: somebody has to look.
    pub parked: i64,
    /// Seconds since the oldest that waits came; 0 if none does.
    pub lag_seconds: f64,
    /// When the last event came.
    pub last_received_at: Option<DateTime<Utc>>,
}

/// Why events were of no consequence, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Such as `no_payment_of_ours`.
    pub reason: String,
    /// How many.
    pub count: i64,
}

/// How the inboxes of all stores are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// As in [`Health`].
    pub waiting: i64,
    /// As in [`Health`].
    pub failed: i64,
    /// As in [`Health`].
    pub parked: i64,
    /// As in [`Health`].
    pub lag_seconds: f64,
}

pub(super) async fn of_store(
    pool: &PgPool,
    store_id: StoreId,
    now: DateTime<Utc>,
) -> Result<Health, sqlx::Error> {
    let settled = sqlx::query!(
        r#"SELECT state, note, count(*) AS "count!", max(received_at) AS last
             FROM process.inbox
            WHERE store_id = $1 AND received_at > $2
            GROUP BY state, note
            ORDER BY count(*) DESC, note"#,
        store_id.0,
        now - WINDOW
    )
    .fetch_all(pool)
    .await?;
    let open = sqlx::query!(
        r#"SELECT count(*) FILTER (WHERE state = 'waiting') AS "waiting!",
                  count(*) FILTER (WHERE state = 'waiting' AND attempts > 0) AS "failed!",
                  count(*) FILTER (WHERE state = 'parked') AS "parked!",
                  min(received_at) FILTER (WHERE state = 'waiting') AS oldest
             FROM process.inbox WHERE store_id = $1 AND state IN ('waiting', 'parked')"#,
        store_id.0
    )
    .fetch_one(pool)
    .await?;
    let mut health = Health {
        waiting: open.waiting,
        failed: open.failed,
        parked: open.parked,
        lag_seconds: lag(open.oldest, now),
        ..Health::default()
    };
    for row in settled {
        health.received += row.count;
        health.last_received_at = health.last_received_at.max(row.last);
        match row.state.as_str() {
            "applied" => health.applied += row.count,
            "ignored" => health
                .ignored
                .push(Reason { reason: row.note.unwrap_or_default(), count: row.count }),
            _ => {}
        }
    }
    Ok(health)
}

pub(super) async fn totals(pool: &PgPool) -> Result<Totals, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT count(*) FILTER (WHERE state = 'waiting') AS "waiting!",
                  count(*) FILTER (WHERE state = 'waiting' AND attempts > 0) AS "failed!",
                  count(*) FILTER (WHERE state = 'parked') AS "parked!",
                  -- By the database's clock: whoever scrapes has no store, and no other.
                  coalesce(extract(epoch FROM now() - min(received_at)
                           FILTER (WHERE state = 'waiting')), 0)::float8 AS "lag!"
             FROM process.inbox WHERE state IN ('waiting', 'parked')"#
    )
    .fetch_one(pool)
    .await?;
    Ok(Totals {
        waiting: row.waiting,
        failed: row.failed,
        parked: row.parked,
        lag_seconds: row.lag.max(0.0),
    })
}

fn lag(oldest: Option<DateTime<Utc>>, now: DateTime<Utc>) -> f64 {
    oldest.map_or(0.0, |oldest| (now - oldest).as_seconds_f64().max(0.0))
}
