//! What happened to an order and its payments, in the order it was recorded. Table
//! `order_timeline`.
//!
//! The table is keyed by the checkout, because payments are there before the order is.

use chrono::{DateTime, Utc};
use event_schemas::{
    ids::StoreId,
    metadata::{ActorKind, Metadata},
};
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use crate::{Fact, ProjectionError};

/// Fields of events that a timeline shows. A list of what is shown, so that a new field of an
/// event stays inside until somebody has thought about it: tokens of cards are fields too.
const SHOWN: &[&str] = &[
    "action",
    "advice",
    "amount",
    "attempt",
    "call",
    "cause",
    "channel",
    "code",
    "number",
    "payment_id",
    "provider",
    "provider_reference",
    "reason",
    "reference",
    "refund_id",
    "total",
];

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Entry {
    pub store_id: Uuid,
    pub checkout_id: Uuid,
    /// Position of the event in the log.
    pub position: i64,
    /// Type of the event in snake case, such as `order_placed`.
    pub entry: String,
    /// Business time.
    pub at: DateTime<Utc>,
    pub recorded_at: DateTime<Utc>,
    /// `user`, `system` or `import`.
    pub actor_kind: String,
    pub actor_id: Uuid,
    /// Facts of the entry, such as `amount`, `reason`, `code`.
    #[schema(value_type = Object)]
    pub detail: Value,
}

/// A page, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    pub rows: Vec<Entry>,
    /// Whether there are more after these.
    pub more: bool,
}

/// At most `limit` entries after the position `after`; 0 is the beginning. An order carries the id
/// of its checkout.
pub async fn list(
    conn: &mut PgConnection,
    store_id: StoreId,
    checkout_id: Uuid,
    after: i64,
    limit: i64,
) -> Result<Entries, sqlx::Error> {
    let rows = sqlx::query_as!(
        Entry,
        "SELECT store_id, checkout_id, position, entry, at, recorded_at, actor_kind, actor_id,
                detail
           FROM order_timeline WHERE store_id = $1 AND checkout_id = $2 AND position > $3
          ORDER BY position LIMIT $4",
        store_id.0,
        checkout_id,
        after,
        limit + 1
    );
    let mut rows = rows.fetch_all(conn).await?;
    let limit = usize::try_from(limit).unwrap_or(0);
    let more = rows.len() > limit;
    rows.truncate(limit);
    Ok(Entries { rows, more })
}

impl Entries {
    /// Adds what happened, to the timeline of a checkout.
    pub(super) fn add<E: Serialize>(
        &mut self,
        fact: &Fact<'_, E>,
        checkout_id: Uuid,
    ) -> Result<(), ProjectionError> {
        let recorded = fact.recorded;
        let metadata: Metadata =
            serde_json::from_slice(&recorded.metadata).map_err(|error| fact.poison(error))?;
        let event = serde_json::to_value(&fact.event).map_err(|error| fact.poison(error))?;
        let at = event.get("at").cloned().unwrap_or_default();
        let at = serde_json::from_value(at).map_err(|error| fact.poison(error))?;
        let Value::Object(fields) = event else {
            return Err(fact.poison("not an object"));
        };
        self.rows.push(Entry {
            store_id: recorded.store_id,
            checkout_id,
            position: recorded.position,
            entry: snake_case(&recorded.event_type),
            at,
            recorded_at: recorded.recorded_at,
            actor_kind: code(metadata.actor.kind).to_owned(),
            actor_id: metadata.actor.id.0,
            detail: Value::Object(shown(fields)),
        });
        Ok(())
    }
}

fn shown(fields: Map<String, Value>) -> Map<String, Value> {
    let shown = fields.into_iter().filter(|(name, _)| SHOWN.contains(&name.as_str()));
    shown.filter(|(_, value)| !value.is_null()).collect()
}

fn code(kind: ActorKind) -> &'static str {
    match kind {
        ActorKind::User => "user",
        ActorKind::System => "system",
        ActorKind::Import => "import",
    }
}

/// `OrderPlaced` → `order_placed`.
fn snake_case(event_type: &str) -> String {
    let mut text = String::with_capacity(event_type.len() + 4);
    for letter in event_type.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// An entry never changes.
pub(super) async fn store(conn: &mut PgConnection, entries: Entries) -> Result<(), sqlx::Error> {
    if entries.rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO order_timeline (store_id, checkout_id, position, entry, at, recorded_at,
             actor_kind, actor_id, detail)
         SELECT store_id, checkout_id, position, entry, at, recorded_at, actor_kind, actor_id,
                detail
           FROM jsonb_populate_recordset(NULL::order_timeline, $1)
         ON CONFLICT (store_id, checkout_id, position) DO NOTHING",
        Json(entries.rows) as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_becomes_an_entry_code() {
        assert_eq!(snake_case("OrderPlaced"), "order_placed");
        assert_eq!(snake_case("ProviderOutcomeUnknown"), "provider_outcome_unknown");
    }
}
