//! Money given back that belongs to no order we know. Table `order_adjustments`.

use chrono::{DateTime, Utc};
use event_schemas::{
    ids::StoreId,
    order::{AdjustmentEvent, AdjustmentLine},
};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use crate::Fact;

/// A stand-alone refund.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Adjustment {
    pub store_id: Uuid,
    pub adjustment_id: Uuid,
    /// Document behind it, unique in the store.
    pub reference: String,
    /// In minor units of `currency`.
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// What it was for.
    pub lines: Json<Vec<AdjustmentLine>>,
    /// The merchant's own reference of the customer.
    pub customer_reference: Option<String>,
    pub reason: String,
    /// Business time.
    pub given_at: DateTime<Utc>,
    pub recorded_at: DateTime<Utc>,
}

/// A place in the list: right behind this adjustment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdjustmentCursor {
    pub given_at: DateTime<Utc>,
    pub adjustment_id: Uuid,
}

/// A page, newest first.
#[derive(Clone, Debug)]
pub struct Adjustments {
    pub rows: Vec<Adjustment>,
    /// Whether there are older ones.
    pub more: bool,
}

impl Adjustment {
    /// The place right behind this adjustment.
    pub fn cursor(&self) -> AdjustmentCursor {
        AdjustmentCursor { given_at: self.given_at, adjustment_id: self.adjustment_id }
    }
}

/// At most `limit` adjustments older than `after`, given last first.
pub async fn list(
    conn: &mut PgConnection,
    store_id: StoreId,
    after: Option<&AdjustmentCursor>,
    limit: i64,
) -> Result<Adjustments, sqlx::Error> {
    let rows = sqlx::query_as!(
        Adjustment,
        r#"SELECT store_id, adjustment_id, reference, amount_minor, currency, lines AS "lines: _",
                  customer_reference, reason, given_at, recorded_at
             FROM order_adjustments
            WHERE store_id = $1
              AND ($2::timestamptz IS NULL OR (given_at, adjustment_id) < ($2, $3::uuid))
            ORDER BY given_at DESC, adjustment_id DESC LIMIT $4"#,
        store_id.0,
        after.map(|cursor| cursor.given_at),
        after.map(|cursor| cursor.adjustment_id),
        limit + 1
    );
    let mut rows = rows.fetch_all(conn).await?;
    let limit = usize::try_from(limit).unwrap_or(0);
    let more = rows.len() > limit;
    rows.truncate(limit);
    Ok(Adjustments { rows, more })
}

/// An adjustment never changes.
pub(super) async fn store(
    conn: &mut PgConnection,
    facts: &[Fact<'_, AdjustmentEvent>],
) -> Result<(), sqlx::Error> {
    let rows: Vec<Adjustment> = facts.iter().map(row).collect();
    sqlx::query!(
        "INSERT INTO order_adjustments (store_id, adjustment_id, reference, amount_minor, currency,
             lines, customer_reference, reason, given_at, recorded_at)
         SELECT store_id, adjustment_id, reference, amount_minor, currency, lines,
                customer_reference, reason, given_at, recorded_at
           FROM jsonb_populate_recordset(NULL::order_adjustments, $1)
         ON CONFLICT (store_id, adjustment_id) DO NOTHING",
        Json(rows) as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn row(fact: &Fact<'_, AdjustmentEvent>) -> Adjustment {
    let AdjustmentEvent::Recorded(event) = &fact.event;
    let (store_id, adjustment_id) = fact.key();
    Adjustment {
        store_id,
        adjustment_id,
        reference: event.reference.clone(),
        amount_minor: event.amount.amount_minor,
        currency: event.amount.currency.code().to_owned(),
        lines: Json(event.lines.clone()),
        customer_reference: event.customer_reference.clone(),
        reason: event.reason.clone(),
        given_at: event.at,
        recorded_at: fact.recorded.recorded_at,
    }
}
