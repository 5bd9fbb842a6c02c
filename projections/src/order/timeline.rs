//! What happened to an order and its payments, in the order it was recorded. Table
//! `order_timeline`.
//!
//! The table is keyed by the checkout, because payments are there before the order is.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use event_schemas::{
    ids::StoreId,
    metadata::{Actor, ActorKind},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use sqlx::PgConnection;
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
    "fulfilment_id",
    "location",
    "number",
    "payment_id",
    "provider",
    "provider_reference",
    "reason",
    "reference",
    "refund_id",
    "total",
    "tracking",
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

/// Entries of a batch, as columns.
#[derive(Default)]
pub(super) struct Additions {
    stores: Vec<Uuid>,
    checkouts: Vec<Uuid>,
    positions: Vec<i64>,
    entries: Vec<String>,
    at: Vec<DateTime<Utc>>,
    recorded_at: Vec<DateTime<Utc>>,
    actor_kinds: Vec<&'static str>,
    actor_ids: Vec<Uuid>,
    /// JSON.
    details: Vec<String>,
}

/// What an entry says of the metadata.
#[derive(Deserialize)]
struct Who {
    actor: Actor,
}

impl Additions {
    /// Adds what happened, to the timeline of a checkout.
    pub(super) fn add<E: Serialize>(
        &mut self,
        fact: &Fact<'_, E>,
        checkout_id: Uuid,
    ) -> Result<(), ProjectionError> {
        let recorded = fact.recorded;
        let Who { actor } =
            serde_json::from_slice(&recorded.metadata).map_err(|error| fact.poison(error))?;
        // Written and read once more, because the stored payload may have an older shape. The
        // values stay the text they are: a tree of them would cost as much as all the rest.
        let event = serde_json::to_string(&fact.event).map_err(|error| fact.poison(error))?;
        let mut fields: BTreeMap<&str, &RawValue> =
            serde_json::from_str(&event).map_err(|error| fact.poison(error))?;
        let at = fields.get("at").map_or("null", |at| at.get());
        let at = serde_json::from_str(at).map_err(|error| fact.poison(error))?;
        fields.retain(|name, value| SHOWN.contains(name) && value.get() != "null");
        let detail = serde_json::to_string(&fields).map_err(|error| fact.poison(error))?;
        self.stores.push(recorded.store_id);
        self.checkouts.push(checkout_id);
        self.positions.push(recorded.position);
        self.entries.push(snake_case(&recorded.event_type));
        self.at.push(at);
        self.recorded_at.push(recorded.recorded_at);
        self.actor_kinds.push(code(actor.kind));
        self.actor_ids.push(actor.id.0);
        self.details.push(detail);
        Ok(())
    }
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

/// An entry never changes. No `ON CONFLICT`, which costs a third of the insertion: what makes it
/// happen once is the checkpoint in the same transaction.
pub(super) async fn store(conn: &mut PgConnection, new: &Additions) -> Result<(), sqlx::Error> {
    if new.stores.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO order_timeline (store_id, checkout_id, position, entry, at, recorded_at,
             actor_kind, actor_id, detail)
         SELECT store_id, checkout_id, position, entry, at, recorded_at, actor_kind, actor_id,
                detail::jsonb
           FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::timestamptz[],
                       $6::timestamptz[], $7::text[], $8::uuid[], $9::text[])
                AS t (store_id, checkout_id, position, entry, at, recorded_at, actor_kind, actor_id,
                      detail)",
        &new.stores,
        &new.checkouts,
        &new.positions,
        &new.entries,
        &new.at,
        &new.recorded_at,
        &new.actor_kinds as &[&str],
        &new.actor_ids,
        &new.details
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
