//! Money that goes back on orders. Table `order_refunds`.

use chrono::{DateTime, Utc};
use event_schemas::{
    ids::StoreId,
    order::{OrderEvent, RefundLine},
};
use serde::Serialize;
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::summaries::Order;

/// A refund of an order, that of its cancellation included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Refund {
    pub store_id: Uuid,
    pub order_id: Uuid,
    pub refund_id: Uuid,
    /// `requested`, `succeeded` or `failed`.
    pub status: String,
    /// Document behind it, such as the number of a credit note.
    pub reference: Option<String>,
    /// In minor units of `currency`.
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    pub reason: Option<String>,
    /// Units it is for, and what becomes of them.
    #[schema(value_type = Vec<RefundLine>)]
    pub lines: Json<Vec<RefundLine>>,
    /// The provider's code of a failure.
    pub failure_code: Option<String>,
    /// Business time.
    pub requested_at: DateTime<Utc>,
    /// Business time of the success or the final failure.
    pub completed_at: Option<DateTime<Utc>>,
}

/// Refunds of an order, oldest first.
pub async fn of_order(
    conn: &mut PgConnection,
    store_id: StoreId,
    order_id: Uuid,
) -> Result<Vec<Refund>, sqlx::Error> {
    sqlx::query_as!(
        Refund,
        r#"SELECT store_id, order_id, refund_id, status, reference, amount_minor, currency, reason,
                  lines AS "lines: _", failure_code, requested_at, completed_at
             FROM order_refunds WHERE store_id = $1 AND order_id = $2
            ORDER BY requested_at, refund_id"#,
        store_id.0,
        order_id
    )
    .fetch_all(conn)
    .await
}

/// Applies an event to the refunds of `order`, which has not seen the event yet.
pub(super) fn apply(refunds: &mut Vec<Refund>, order: &Order, event: &OrderEvent) {
    match event {
        OrderEvent::CancellationRequested(event) => {
            let live = refunds.iter().filter(|refund| refund.status != "failed");
            let given_back: i64 = live.map(|refund| refund.amount_minor).sum();
            let amount = order.captured_minor - given_back;
            if amount > 0 {
                let new = requested(order, event.refund_id.0, amount, event.at);
                find(refunds, new).reason = Some(event.reason.clone());
            }
        }
        OrderEvent::RefundRequested(event) => {
            let amount = event.amount.amount_minor;
            let refund = find(refunds, requested(order, event.refund_id.0, amount, event.at));
            refund.reference.clone_from(&event.reference);
            refund.reason = Some(event.reason.clone());
            refund.lines.0.clone_from(&event.lines);
        }
        OrderEvent::RefundRecorded(event) => {
            let amount = event.amount.amount_minor;
            let refund = find(refunds, requested(order, event.refund_id.0, amount, event.at));
            refund.amount_minor = amount;
            if event.reference.is_some() {
                refund.reference.clone_from(&event.reference);
            }
            "succeeded".clone_into(&mut refund.status);
            refund.completed_at = Some(event.at);
        }
        OrderEvent::RefundFailed(event) => {
            let refund = find(refunds, requested(order, event.refund_id.0, 0, event.at));
            "failed".clone_into(&mut refund.status);
            refund.failure_code = Some(event.code.clone());
            refund.completed_at = Some(event.at);
        }
        OrderEvent::Placed(_)
        | OrderEvent::Confirmed(_)
        | OrderEvent::Paid(_)
        | OrderEvent::Cancelled(_)
        | OrderEvent::FulfilmentCreated(_)
        | OrderEvent::FulfilmentShipped(_)
        | OrderEvent::FulfilmentDelivered(_)
        | OrderEvent::FulfilmentCancelled(_) => {}
    }
}

fn requested(order: &Order, refund_id: Uuid, amount_minor: i64, at: DateTime<Utc>) -> Refund {
    Refund {
        store_id: order.store_id,
        order_id: order.order_id,
        refund_id,
        status: "requested".to_owned(),
        reference: None,
        amount_minor,
        currency: order.currency.clone(),
        reason: None,
        lines: Json(Vec::new()),
        failure_code: None,
        requested_at: at,
        completed_at: None,
    }
}

/// The refund with the id that `new` has; `new` itself if it is not there.
fn find(refunds: &mut Vec<Refund>, new: Refund) -> &mut Refund {
    let nth = refunds.iter().position(|refund| refund.refund_id == new.refund_id);
    let nth = nth.unwrap_or_else(|| {
        refunds.push(new);
        refunds.len() - 1
    });
    &mut refunds[nth]
}

/// All refunds of these orders (stores and ids).
pub(super) async fn load(
    conn: &mut PgConnection,
    (stores, orders): (&[Uuid], &[Uuid]),
) -> Result<Vec<Refund>, sqlx::Error> {
    if orders.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as!(
        Refund,
        r#"SELECT r.store_id, r.order_id, refund_id, status, reference, amount_minor, currency,
                  reason, lines AS "lines: _", failure_code, requested_at, completed_at
             FROM unnest($1::uuid[], $2::uuid[]) AS wanted (store_id, order_id)
             JOIN order_refunds r
               ON r.store_id = wanted.store_id AND r.order_id = wanted.order_id"#,
        stores,
        orders
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn store(
    conn: &mut PgConnection,
    refunds: Vec<&Refund>,
) -> Result<(), sqlx::Error> {
    if refunds.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO order_refunds (store_id, order_id, refund_id, status, reference, amount_minor,
             currency, reason, lines, failure_code, requested_at, completed_at)
         SELECT store_id, order_id, refund_id, status, reference, amount_minor, currency, reason,
                lines, failure_code, requested_at, completed_at
           FROM jsonb_populate_recordset(NULL::order_refunds, $1)
         ON CONFLICT (store_id, order_id, refund_id) DO UPDATE SET
             status = excluded.status, reference = excluded.reference,
             amount_minor = excluded.amount_minor, failure_code = excluded.failure_code,
             completed_at = excluded.completed_at",
        Json(refunds) as _
    )
    .execute(conn)
    .await?;
    Ok(())
}
