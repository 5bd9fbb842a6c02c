//! Events that have failed twelve times: shown, and tried again when somebody says so.

use chrono::{DateTime, Utc};
use event_schemas::ids::{PaymentId, StoreId};
use sqlx::PgPool;

/// Rows shown at a time.
const LIST_MAX: i64 = 1_000;

/// A parked event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedEvent {
    /// Whose account.
    pub store_id: StoreId,
    /// The provider's id of it.
    pub event_id: String,
    /// What has happened.
    pub kind: String,
    /// To which payment.
    pub payment_id: Option<PaymentId>,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// When we heard of it.
    pub received_at: DateTime<Utc>,
    /// How often it was tried.
    pub attempts: i32,
    /// Why the last try failed.
    pub note: String,
}

/// Looks after parked events, on connections of `Role::Process`.
#[derive(Clone, Debug)]
pub struct Parked(PgPool);

impl Parked {
    /// On these connections.
    pub fn new(pool: PgPool) -> Parked {
        Parked(pool)
    }

    /// The oldest thousand, of one event or of all.
    pub async fn list(&self, event_id: Option<&str>) -> Result<Vec<ParkedEvent>, sqlx::Error> {
        let rows = sqlx::query!(
            "SELECT store_id, event_id, kind, payment_id, occurred_at, received_at, attempts, note
               FROM process.inbox
              WHERE state = 'parked' AND ($1::text IS NULL OR event_id = $1)
              ORDER BY received_at, event_id LIMIT $2",
            event_id,
            LIST_MAX
        )
        .fetch_all(&self.0)
        .await?;
        let events = rows.into_iter().map(|row| ParkedEvent {
            store_id: StoreId(row.store_id),
            event_id: row.event_id,
            kind: row.kind,
            payment_id: row.payment_id.map(PaymentId),
            occurred_at: row.occurred_at,
            received_at: row.received_at,
            attempts: row.attempts,
            note: row.note.unwrap_or_default(),
        });
        Ok(events.collect())
    }

    /// Has one parked event, or all, tried again from now on. Returns how many.
    pub async fn redrive(
        &self,
        event_id: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<u64, sqlx::Error> {
        let redriven = sqlx::query!(
            "UPDATE process.inbox SET state = 'waiting', attempts = 0, due_at = $2
              WHERE state = 'parked' AND ($1::text IS NULL OR event_id = $1)",
            event_id,
            now
        )
        .execute(&self.0)
        .await?;
        Ok(redriven.rows_affected())
    }
}
