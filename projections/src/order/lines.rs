//! What an order is made of. Tables `order_lines` and `order_charges`.

use event_schemas::{
    ids::StoreId,
    order::{ChargeKind, OrderEvent},
};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Fact, column};

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

/// Two statements for all orders that were placed. What makes it happen once is the checkpoint in the
/// same transaction.
pub(super) async fn store(
    conn: &mut PgConnection,
    facts: &[Fact<'_, OrderEvent>],
) -> Result<(), sqlx::Error> {
    let (lines, charges) = parts(facts);
    store_lines(conn, &lines.iter().collect::<Vec<_>>()).await?;
    store_charges(conn, &charges.iter().collect::<Vec<_>>()).await
}

async fn store_lines(conn: &mut PgConnection, lines: &[&Line]) -> Result<(), sqlx::Error> {
    if lines.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO order_lines (store_id, order_id, position, line_id, product_id, variant_id,
             sku, title, quantity, unit_price_minor, currency)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::uuid[], $5::uuid[],
             $6::uuid[], $7::text[], $8::text[], $9::bigint[], $10::bigint[], $11::text[])",
        &column(lines, |line| line.store_id),
        &column(lines, |line| line.order_id),
        &column(lines, |line| line.position),
        &column(lines, |line| line.line_id),
        &column(lines, |line| line.product_id),
        &column(lines, |line| line.variant_id),
        &column(lines, |line| line.sku.as_deref()) as &[Option<&str>],
        &column(lines, |line| line.title.as_str()) as &[&str],
        &column(lines, |line| line.quantity),
        &column(lines, |line| line.unit_price_minor),
        &column(lines, |line| line.currency.as_str()) as &[&str]
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn store_charges(
    conn: &mut PgConnection,
    charges: &[&OrderCharge],
) -> Result<(), sqlx::Error> {
    if charges.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO order_charges (store_id, order_id, position, kind, code, title, amount_minor,
             currency)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::text[],
             $6::text[], $7::bigint[], $8::text[])",
        &column(charges, |charge| charge.store_id),
        &column(charges, |charge| charge.order_id),
        &column(charges, |charge| charge.position),
        &column(charges, |charge| charge.kind.as_str()) as &[&str],
        &column(charges, |charge| charge.code.as_str()) as &[&str],
        &column(charges, |charge| charge.title.as_str()) as &[&str],
        &column(charges, |charge| charge.amount_minor),
        &column(charges, |charge| charge.currency.as_str()) as &[&str]
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
        ChargeKind::Tax => "tax",
    }
}
