//! Orders: lists, one order with all that belongs to it, its timeline; refunds without an order.

use api_kit::{Api, Etag, Path, Permission, Problem};
use axum::Json;
use event_schemas::ids::OrderId;
use projections::order::summaries::{self, Order};
use projections::order::{PROJECTION, fulfilments, lines, payments, refunds};
use utoipa_axum::routes;

use crate::reader::{Freshness, Reader, View, unreadable};
use crate::reads::Reads;

mod adjustments;
mod body;
mod export;
mod filter;
mod list;
pub(crate) mod timeline;

use body::{OrderBody, Parts};
pub(crate) use export::ExportedOrders;

pub(crate) fn api() -> Api<Reads> {
    Api::new()
        .route(Permission::OrdersRead, routes!(list::list))
        .route(Permission::OrdersRead, routes!(export::export))
        .route(Permission::OrdersRead, routes!(get))
        .route(Permission::OrdersRead, routes!(timeline::list))
        .route(Permission::OrdersRead, routes!(adjustments::list))
}

/// One order with its lines, charges, payments, refunds and fulfilments.
#[utoipa::path(get, path = "/api/v1/orders/{order_id}", tag = "orders",
    params(("order_id" = OrderId, Path), api_kit::headers::Read),
    responses((status = 200, description = "The order; `ETag` is its version.",
        body = OrderBody)))]
async fn get(
    reader: Reader,
    Path(order_id): Path<OrderId>,
) -> Result<(Etag, Freshness, Json<OrderBody>), Problem> {
    let mut view = reader.view(&PROJECTION).await?;
    let order = find(&reader, &mut view, order_id).await?;
    let version = Etag(order.version);
    let parts = parts(&reader, &mut view, &order).await.map_err(unreadable)?;
    Ok((version, view.freshness, Json(OrderBody::new(order, parts))))
}

/// `404` unless the store has the order.
async fn find(reader: &Reader, view: &mut View, order_id: OrderId) -> Result<Order, Problem> {
    let found = summaries::get(view.conn(), reader.store_id(), order_id.0).await;
    found.map_err(unreadable)?.ok_or_else(|| Problem::new("order_not_found"))
}

async fn parts(reader: &Reader, view: &mut View, order: &Order) -> Result<Parts, sqlx::Error> {
    let (store_id, id) = (reader.store_id(), order.order_id);
    Ok(Parts {
        lines: lines::of_order(view.conn(), store_id, id).await?,
        charges: lines::charges_of_order(view.conn(), store_id, id).await?,
        payments: payments::of_checkout(view.conn(), store_id, order.checkout_id).await?,
        refunds: refunds::of_order(view.conn(), store_id, id).await?,
        fulfilments: fulfilments::of_order(view.conn(), store_id, id).await?,
    })
}
