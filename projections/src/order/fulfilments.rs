//! Parcels of orders. Table `order_fulfilments`.

use chrono::{DateTime, Utc};
use event_schemas::{
    fulfilment::FulfilmentLine,
    ids::StoreId,
    order::{OrderEvent, Restock},
};
use serde::Serialize;
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::{refunds::Refund, summaries::Order};

/// A parcel of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Fulfilment {
    pub store_id: Uuid,
    pub order_id: Uuid,
    pub fulfilment_id: Uuid,
    /// `pending`, `shipped`, `delivered` or `cancelled`.
    pub status: String,
    /// Code of the place it leaves from.
    pub location: String,
    /// What is in it.
    #[schema(value_type = Vec<FulfilmentLine>)]
    pub lines: Json<Vec<FulfilmentLine>>,
    pub carrier: Option<String>,
    /// The carrier's number of it.
    pub tracking_number: Option<String>,
    /// Where to see how far it is.
    pub tracking_url: Option<String>,
    /// Why it was cancelled.
    pub reason: Option<String>,
    /// Business time, as the others.
    pub created_at: DateTime<Utc>,
    pub shipped_at: Option<DateTime<Utc>>,
    pub delivered_at: Option<DateTime<Utc>>,
}

/// Parcels of an order, oldest first.
pub async fn of_order(
    conn: &mut PgConnection,
    store_id: StoreId,
    order_id: Uuid,
) -> Result<Vec<Fulfilment>, sqlx::Error> {
    sqlx::query_as!(
        Fulfilment,
        r#"SELECT store_id, order_id, fulfilment_id, status, location, lines AS "lines: _", carrier,
                  tracking_number, tracking_url, reason, created_at, shipped_at, delivered_at
             FROM order_fulfilments WHERE store_id = $1 AND order_id = $2
            ORDER BY created_at, fulfilment_id"#,
        store_id.0,
        order_id
    )
    .fetch_all(conn)
    .await
}

/// Applies an event to the parcels of `order`.
pub(super) fn apply(parcels: &mut Vec<Fulfilment>, order: &Order, event: &OrderEvent) {
    match event {
        OrderEvent::FulfilmentCreated(event) => parcels.push(Fulfilment {
            store_id: order.store_id,
            order_id: order.order_id,
            fulfilment_id: event.fulfilment_id.0,
            status: "pending".to_owned(),
            location: event.location.clone(),
            lines: Json(event.lines.clone()),
            carrier: None,
            tracking_number: None,
            tracking_url: None,
            reason: None,
            created_at: event.at,
            shipped_at: None,
            delivered_at: None,
        }),
        OrderEvent::FulfilmentShipped(event) => {
            let Some(parcel) = find(parcels, event.fulfilment_id.0) else { return };
            "shipped".clone_into(&mut parcel.status);
            parcel.shipped_at = Some(event.at);
            if let Some(tracking) = &event.tracking {
                parcel.carrier = Some(tracking.carrier.clone());
                parcel.tracking_number = Some(tracking.number.clone());
                parcel.tracking_url.clone_from(&tracking.url);
            }
        }
        OrderEvent::FulfilmentDelivered(event) => {
            let Some(parcel) = find(parcels, event.fulfilment_id.0) else { return };
            "delivered".clone_into(&mut parcel.status);
            parcel.delivered_at = Some(event.at);
        }
        OrderEvent::FulfilmentCancelled(event) => {
            let Some(parcel) = find(parcels, event.fulfilment_id.0) else { return };
            "cancelled".clone_into(&mut parcel.status);
            parcel.reason = Some(event.reason.clone());
        }
        OrderEvent::Placed(_)
        | OrderEvent::Confirmed(_)
        | OrderEvent::Paid(_)
        | OrderEvent::CancellationRequested(_)
        | OrderEvent::Cancelled(_)
        | OrderEvent::RefundRequested(_)
        | OrderEvent::RefundRecorded(_)
        | OrderEvent::RefundFailed(_) => {}
    }
}

fn find(parcels: &mut [Fulfilment], id: Uuid) -> Option<&mut Fulfilment> {
    parcels.iter_mut().find(|parcel| parcel.fulfilment_id == id)
}

/// How far an order is, of the units that are not cancelled.
pub(super) fn status(parcels: &[Fulfilment], refunds: &[Refund], order: &Order) -> &'static str {
    let units = |statuses: &[&str]| -> i64 {
        let counted = parcels.iter().filter(|parcel| statuses.contains(&parcel.status.as_str()));
        counted.flat_map(|parcel| &parcel.lines.0).map(|line| i64::from(line.quantity)).sum()
    };
    let live = refunds.iter().filter(|refund| refund.status != "failed");
    let lines = live.flat_map(|refund| &refund.lines.0);
    let kept = lines.filter(|line| line.restock == Restock::Cancel);
    let wanted = order.item_count - kept.map(|line| i64::from(line.quantity)).sum::<i64>();
    let (gone, arrived) = (units(&["shipped", "delivered"]), units(&["delivered"]));
    match gone {
        0 => "unfulfilled",
        _ if gone < wanted => "partially_shipped",
        _ if arrived < wanted => "shipped",
        _ => "delivered",
    }
}

/// All parcels of these orders (stores and ids).
pub(super) async fn load(
    conn: &mut PgConnection,
    (stores, orders): (&[Uuid], &[Uuid]),
) -> Result<Vec<Fulfilment>, sqlx::Error> {
    if orders.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as!(
        Fulfilment,
        r#"SELECT f.store_id, f.order_id, fulfilment_id, status, location, lines AS "lines: _",
                  carrier, tracking_number, tracking_url, reason, created_at, shipped_at,
                  delivered_at
             FROM unnest($1::uuid[], $2::uuid[]) AS wanted (store_id, order_id)
             JOIN order_fulfilments f
               ON f.store_id = wanted.store_id AND f.order_id = wanted.order_id"#,
        stores,
        orders
    )
    .fetch_all(conn)
    .await
}

/// What a parcel was made with does not change; the rest is replaced.
pub(super) async fn store(
    conn: &mut PgConnection,
    parcels: Vec<&Fulfilment>,
) -> Result<(), sqlx::Error> {
    if parcels.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO order_fulfilments (store_id, order_id, fulfilment_id, status, location, lines,
             carrier, tracking_number, tracking_url, reason, created_at, shipped_at, delivered_at)
         SELECT store_id, order_id, fulfilment_id, status, location, lines, carrier,
                tracking_number, tracking_url, reason, created_at, shipped_at, delivered_at
           FROM jsonb_populate_recordset(NULL::order_fulfilments, $1)
         ON CONFLICT (store_id, order_id, fulfilment_id) DO UPDATE SET
             status = excluded.status, carrier = excluded.carrier,
             tracking_number = excluded.tracking_number, tracking_url = excluded.tracking_url,
             reason = excluded.reason, shipped_at = excluded.shipped_at,
             delivered_at = excluded.delivered_at",
        Json(parcels) as _
    )
    .execute(conn)
    .await?;
    Ok(())
}
