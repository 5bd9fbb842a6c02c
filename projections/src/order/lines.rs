//! What an order is made of. Tables `order_lines` and `order_charges`.

use event_schemas::{
    ids::StoreId,
    order::{ChargeKind, OrderEvent},
};
use serde::Serialize;
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use crate::Fact;

/// A product line, as it was when the order was placed. Amounts are in minor units of `currency`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Line {
    pub store_id: Uuid,
    pub order_id: Uuid,
    /// Place in the order, from 1.
    pub position: i32,
    pub line_id: Uuid,
    pub product_id: Uuid,
    pub variant_id: Uuid,
    pub sku: Option<String>,
    pub title: String,
    /// Units.
    pub quantity: i64,
    pub unit_price_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
}

/// Money on an order that is no product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct OrderCharge {
    pub store_id: Uuid,
    pub order_id: Uuid,
    /// Place in the order, from 1.
    pub position: i32,
    /// `postage`, `discount`, `manual` or `fee`.
    pub kind: String,
    /// The merchant's code.
    pub code: String,
    pub title: String,
    /// In minor units of `currency`; negative where the shopper pays less for it.
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
}

/// Lines of an order, in its order.
pub async fn of_order(
    conn: &mut PgConnection,
    store_id: StoreId,
    order_id: Uuid,
) -> Result<Vec<Line>, sqlx::Error> {
    sqlx::query_as!(
        Line,
        "SELECT store_id, order_id, position, line_id, product_id, variant_id, sku, title,
                quantity, unit_price_minor, currency
           FROM order_lines WHERE store_id = $1 AND order_id = $2 ORDER BY position",
        store_id.0,
        order_id
    )
    .fetch_all(conn)
    .await
}

/// Charges of an order, in its order.
pub async fn charges_of_order(
    conn: &mut PgConnection,
    store_id: StoreId,
    order_id: Uuid,
) -> Result<Vec<OrderCharge>, sqlx::Error> {
    sqlx::query_as!(
        OrderCharge,
        "SELECT store_id, order_id, position, kind, code, title, amount_minor, currency
           FROM order_charges WHERE store_id = $1 AND order_id = $2 ORDER BY position",
        store_id.0,
        order_id
    )
    .fetch_all(conn)
    .await
}

/// Two statements for all orders that were placed.
pub(super) async fn store(
    conn: &mut PgConnection,
    facts: &[Fact<'_, OrderEvent>],
) -> Result<(), sqlx::Error> {
    let (lines, charges) = parts(facts);
    if lines.is_empty() && charges.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO order_lines (store_id, order_id, position, line_id, product_id, variant_id,
             sku, title, quantity, unit_price_minor, currency)
         SELECT store_id, order_id, position, line_id, product_id, variant_id, sku, title,
                quantity, unit_price_minor, currency
           FROM jsonb_populate_recordset(NULL::order_lines, $1)
         ON CONFLICT (store_id, order_id, position) DO NOTHING",
        Json(lines) as _
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO order_charges (store_id, order_id, position, kind, code, title, amount_minor,
             currency)
         SELECT store_id, order_id, position, kind, code, title, amount_minor, currency
           FROM jsonb_populate_recordset(NULL::order_charges, $1)
         ON CONFLICT (store_id, order_id, position) DO NOTHING",
        Json(charges) as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn parts(facts: &[Fact<'_, OrderEvent>]) -> (Vec<Line>, Vec<OrderCharge>) {
    let mut lines = Vec::new();
    let mut charges = Vec::new();
    for fact in facts {
        let OrderEvent::Placed(order) = &fact.event else { continue };
        let (store_id, order_id) = fact.key();
        lines.extend((1..).zip(&order.lines).map(|(position, line)| Line {
            store_id,
            order_id,
            position,
            line_id: line.line_id.0,
            product_id: line.product_id.0,
            variant_id: line.variant_id.0,
            sku: line.sku.clone(),
            title: line.title.clone(),
            quantity: i64::from(line.quantity),
            unit_price_minor: line.unit_price.amount_minor,
            currency: line.unit_price.currency.code().to_owned(),
        }));
        charges.extend((1..).zip(&order.charges).map(|(position, charge)| OrderCharge {
            store_id,
            order_id,
            position,
            kind: code(charge.kind).to_owned(),
            code: charge.code.clone(),
            title: charge.title.clone(),
            amount_minor: charge.amount.amount_minor,
            currency: charge.amount.currency.code().to_owned(),
        }));
    }
    (lines, charges)
}

fn code(kind: ChargeKind) -> &'static str {
    match kind {
        ChargeKind::Postage => "postage",
        ChargeKind::Discount => "discount",
        ChargeKind::Manual => "manual",
        ChargeKind::Fee => "fee",
    }
}
