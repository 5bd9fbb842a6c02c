//! Money given back, on orders and alone. Tables `analytics_refunds` and, to tell a document that
//! comes again from a new one, `analytics_credit_notes`.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use event_schemas::order::AdjustmentEvent;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::spans::Sales;
use crate::Fact;

/// A row of the table.
#[derive(Debug, Serialize)]
pub(super) struct Refund {
    pub(super) store_id: Uuid,
    /// Of the event, in the log.
    pub(super) position: i64,
    pub(super) order_id: Option<Uuid>,
    /// What it was given back with; one document may be several refunds.
    pub(super) document: String,
    pub(super) customer_reference: Option<String>,
    pub(super) currency: String,
    pub(super) amount_minor: i64,
    pub(super) lines: Json<Vec<ReturnedLine>>,
    pub(super) given_at: DateTime<Utc>,
}

/// Units of a product that came back, at the price they were sold at.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReturnedLine {
    pub(super) product_id: Uuid,
    pub(super) units: i64,
    pub(super) amount_minor: i64,
}

impl Refund {
    /// It names no product: its document does, in words.
    pub(super) fn adjustment(fact: &Fact<'_, AdjustmentEvent>) -> Refund {
        let AdjustmentEvent::Recorded(event) = &fact.event;
        Refund {
            store_id: fact.recorded.store_id,
            position: fact.recorded.position,
            order_id: None,
            document: event.reference.clone(),
            customer_reference: event.customer_reference.clone(),
            currency: event.amount.currency.code().to_owned(),
            amount_minor: event.amount.amount_minor,
            lines: Json(Vec::new()),
            given_at: event.at,
        }
    }
}

/// Stores what was given back and adds it to the figures; a document that comes again is no
/// further cancellation. Two statements.
pub(super) async fn store(
    conn: &mut PgConnection,
    mut refunds: Vec<Refund>,
    sales: &mut Sales,
) -> Result<(), sqlx::Error> {
    if refunds.is_empty() {
        return Ok(());
    }
    // The span of the first refund of a document counts, whatever context it comes from.
    refunds.sort_by_key(|refund| refund.position);
    let keys = refunds.iter().map(|refund| (refund.store_id, refund.document.clone()));
    let (stores, documents): (Vec<Uuid>, Vec<String>) =
        keys.collect::<BTreeSet<_>>().into_iter().unzip();
    let new = sqlx::query!(
        "INSERT INTO analytics_credit_notes (store_id, document)
         SELECT * FROM unnest($1::uuid[], $2::text[])
         ON CONFLICT (store_id, document) DO NOTHING
         RETURNING store_id, document",
        &stores,
        &documents
    );
    let new = new.fetch_all(&mut *conn).await?;
    let mut new: BTreeSet<_> = new.into_iter().map(|row| (row.store_id, row.document)).collect();
    for refund in &refunds {
        let figures = sales.at(refund.store_id, refund.given_at, &refund.currency);
        let is_new = new.remove(&(refund.store_id, refund.document.clone()));
        figures.cancellations += i64::from(is_new);
        figures.refunds += refund.amount_minor;
    }
    sqlx::query!(
        "INSERT INTO analytics_refunds (store_id, position, order_id, document, customer_reference,
             currency, amount_minor, lines, given_at)
         SELECT store_id, position, order_id, document, customer_reference, currency, amount_minor,
                lines, given_at
           FROM jsonb_populate_recordset(NULL::analytics_refunds, $1)",
        Json(refunds) as _
    )
    .execute(conn)
    .await?;
    Ok(())
}
