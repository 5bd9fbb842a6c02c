//! Orders as they are now. Table `order_summaries`; lists are in `list.rs`.

use chrono::{DateTime, Utc};
use event_schemas::{
    ids::StoreId,
    order::{OrderEvent, OrderPlaced},
};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Key, column};

/// An order without its parts. Amounts are in minor units of `currency`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Order {
    pub store_id: Uuid,
    pub order_id: Uuid,
    /// Number for people, unique in the store.
    pub number: String,
    /// `placed`, `confirmed`, `paid`, `cancelling` or `cancelled`.
    pub status: String,
    /// `authorised`, `paid`, `partially_refunded`, `refunded` or `voided`.
    pub financial_status: String,
    /// `unfulfilled`, `partially_shipped`, `shipped` or `delivered`, of what is not cancelled.
    pub fulfilment_status: String,
    /// Lines and charges.
    pub total_minor: i64,
    /// Money taken.
    pub captured_minor: i64,
    /// Money given back.
    pub refunded_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// Units of all lines.
    pub item_count: i64,
    /// The merchant's own reference; `None` for a guest.
    pub customer_reference: Option<String>,
    /// Country the order goes to, as given.
    pub country: Option<String>,
    /// `api` or `import`.
    pub channel: String,
    pub checkout_id: Uuid,
    pub payment_id: Uuid,
    /// Business time.
    pub placed_at: DateTime<Utc>,
    /// When the last change was recorded.
    pub updated_at: DateTime<Utc>,
    /// Version of the stream.
    pub version: i64,
}

impl Order {
    pub(super) fn key(&self) -> Key {
        (self.store_id, self.order_id)
    }

    /// A new order, before its first event is applied.
    pub(super) fn placed((store_id, order_id): Key, event: &OrderPlaced) -> Order {
        Order {
            store_id,
            order_id,
            number: event.number.clone(),
            status: "placed".to_owned(),
            financial_status: "authorised".to_owned(),
            fulfilment_status: "unfulfilled".to_owned(),
            total_minor: event.total.amount_minor,
            captured_minor: 0,
            refunded_minor: 0,
            currency: event.total.currency.code().to_owned(),
            item_count: event.lines.iter().map(|line| i64::from(line.quantity)).sum(),
            customer_reference: event.customer_reference.clone(),
            country: event.country.clone(),
            channel: event.channel.code().to_owned(),
            checkout_id: event.checkout_id.0,
            payment_id: event.payment_id.0,
            placed_at: event.at,
            updated_at: event.at,
            version: 0,
        }
    }

    pub(super) fn apply(&mut self, event: &OrderEvent) {
        match event {
            OrderEvent::Confirmed(_) => "confirmed".clone_into(&mut self.status),
            OrderEvent::Paid(event) => {
                "paid".clone_into(&mut self.status);
                "paid".clone_into(&mut self.financial_status);
                self.captured_minor = event.amount.amount_minor;
            }
            OrderEvent::CancellationRequested(_) => "cancelling".clone_into(&mut self.status),
            OrderEvent::Cancelled(_) => {
                "cancelled".clone_into(&mut self.status);
                if self.financial_status == "authorised" {
                    "voided".clone_into(&mut self.financial_status);
                }
            }
            OrderEvent::RefundRecorded(event) => {
                self.refunded_minor += event.amount.amount_minor;
                let all = self.refunded_minor >= self.captured_minor;
                let status = if all { "refunded" } else { "partially_refunded" };
                status.clone_into(&mut self.financial_status);
            }
            // The first is what the row was made of; the others show in tables of their own.
            OrderEvent::Placed(_)
            | OrderEvent::RefundRequested(_)
            | OrderEvent::RefundFailed(_)
            | OrderEvent::FulfilmentCreated(_)
            | OrderEvent::FulfilmentShipped(_)
            | OrderEvent::FulfilmentDelivered(_)
            | OrderEvent::FulfilmentCancelled(_) => {}
        }
    }
}

/// One order.
pub async fn get(
    conn: &mut PgConnection,
    store_id: StoreId,
    order_id: Uuid,
) -> Result<Option<Order>, sqlx::Error> {
    sqlx::query_as!(
        Order,
        "SELECT store_id, order_id, number, status, financial_status, fulfilment_status,
                total_minor, captured_minor, refunded_minor, currency, item_count, customer_reference, country, channel,
                checkout_id, payment_id, placed_at, updated_at, version
           FROM order_summaries WHERE store_id = $1 AND order_id = $2",
        store_id.0,
        order_id
    )
    .fetch_optional(conn)
    .await
}

/// The orders of these stores and ids that there are.
pub(super) async fn load(
    conn: &mut PgConnection,
    (stores, orders): (&[Uuid], &[Uuid]),
) -> Result<Vec<Order>, sqlx::Error> {
    if orders.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as!(
        Order,
        "SELECT o.store_id, o.order_id, number, status, financial_status,
                fulfilment_status, total_minor, captured_minor, refunded_minor, currency,
                item_count, customer_reference, country, channel, checkout_id, payment_id, placed_at, updated_at, version
           FROM unnest($1::uuid[], $2::uuid[]) AS wanted (store_id, order_id)
           JOIN order_summaries o
             ON o.store_id = wanted.store_id AND o.order_id = wanted.order_id",
        stores,
        orders
    )
    .fetch_all(conn)
    .await
}

/// What an order was placed with does not change; the rest is replaced.
pub(super) async fn store(conn: &mut PgConnection, orders: &[&Order]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO order_summaries (store_id, order_id, number, status, financial_status,
             fulfilment_status, total_minor, captured_minor, refunded_minor, currency, item_count,
             customer_reference, country, channel, checkout_id, payment_id, placed_at, updated_at,
             version)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[],
             $6::text[], $7::bigint[], $8::bigint[], $9::bigint[], $10::text[], $11::bigint[],
             $12::text[], $13::text[], $14::text[], $15::uuid[], $16::uuid[], $17::timestamptz[],
             $18::timestamptz[], $19::bigint[])
         ON CONFLICT (store_id, order_id) DO UPDATE SET
             status = excluded.status, financial_status = excluded.financial_status,
             fulfilment_status = excluded.fulfilment_status,
             captured_minor = excluded.captured_minor, refunded_minor = excluded.refunded_minor,
             updated_at = excluded.updated_at, version = excluded.version",
        &column(orders, |order| order.store_id),
        &column(orders, |order| order.order_id),
        &column(orders, |order| order.number.as_str()) as &[&str],
        &column(orders, |order| order.status.as_str()) as &[&str],
        &column(orders, |order| order.financial_status.as_str()) as &[&str],
        &column(orders, |order| order.fulfilment_status.as_str()) as &[&str],
        &column(orders, |order| order.total_minor),
        &column(orders, |order| order.captured_minor),
        &column(orders, |order| order.refunded_minor),
        &column(orders, |order| order.currency.as_str()) as &[&str],
        &column(orders, |order| order.item_count),
        &column(orders, |order| order.customer_reference.as_deref()) as &[Option<&str>],
        &column(orders, |order| order.country.as_deref()) as &[Option<&str>],
        &column(orders, |order| order.channel.as_str()) as &[&str],
        &column(orders, |order| order.checkout_id),
        &column(orders, |order| order.payment_id),
        &column(orders, |order| order.placed_at),
        &column(orders, |order| order.updated_at),
        &column(orders, |order| order.version)
    )
    .execute(conn)
    .await?;
    Ok(())
}
