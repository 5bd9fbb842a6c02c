//! The ledger of transactions: what was asked of payment providers, and what came of it.

use api_kit::{Api, Limit, Page, Paging, Path, Permission, Problem, Query};
use axum::Json;
use chrono::{DateTime, Utc};
use event_schemas::ids::{CheckoutId, OrderId, PaymentId};
use event_schemas::money::Money;
use projections::payment::{self, PROJECTION, Transaction, TransactionCursor};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;
use uuid::Uuid;

use crate::reader::{Freshness, Reader, unreadable};
use crate::reads::Reads;
use crate::value::money;

pub(crate) fn api() -> Api<Reads> {
    Api::new()
        .route(Permission::PaymentsRead, routes!(list))
        .route(Permission::PaymentsRead, routes!(of_order))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TransactionsQuery {
    /// Transactions of the page.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 100, default = 20)]
    limit: Limit,
    /// `next` of a page: those after it.
    after: Option<String>,
}

/// One thing asked of a payment provider.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Transaction)]
struct TransactionBody {
    /// Of an authorisation or a sale the payment's, of a refund the refund's, in base 16.
    id: Uuid,
    payment_id: PaymentId,
    checkout_id: CheckoutId,
    /// `authorisation`, `capture`, `sale` (taken at once), `refund` or `void`.
    #[schema(example = "capture")]
    kind: String,
    /// `pending`, `success` or `failure`.
    #[schema(example = "success")]
    status: String,
    amount: Money,
    /// Whom we asked.
    #[schema(example = "stripe")]
    provider: String,
    /// The provider's name of the payment, or of the refund.
    #[schema(example = "pi_3PqX2e")]
    reference: Option<String>,
    /// The provider's code of a failure.
    #[schema(example = "card_declined")]
    code: Option<String>,
    requested_at: DateTime<Utc>,
    /// When it succeeded, or failed for good.
    settled_at: Option<DateTime<Utc>>,
}

/// Transactions of an order.
#[derive(Debug, Serialize, ToSchema)]
struct OrderTransactions {
    /// Oldest first, those of attempts to pay that were declined included.
    data: Vec<TransactionBody>,
}

/// What was asked of payment providers, asked for last first.
#[utoipa::path(get, path = "/api/v1/transactions", tag = "payments", operation_id = "transactions",
    params(TransactionsQuery, api_kit::headers::Read),
    responses((status = 200, description = "A page of transactions.",
        body = Page<TransactionBody>)))]
async fn list(
    reader: Reader,
    Query(query): Query<TransactionsQuery>,
) -> Result<(Freshness, Page<TransactionBody>), Problem> {
    let TransactionsQuery { limit, after } = query;
    let paging = Paging::new(limit, after, None, reader.store_id(), "transactions")?;
    let after: Option<TransactionCursor> = paging.key()?;
    let mut view = reader.view(&PROJECTION).await?;
    let rows = paging.rows();
    let found = payment::list(view.conn(), reader.store_id(), after.as_ref(), rows).await;
    let mut page = paging.page(found.map_err(unreadable)?, Transaction::cursor);
    // There is no way back.
    page.page.prev = None;
    let data = page.data.into_iter().map(TransactionBody::new).collect();
    Ok((view.freshness, Page { data, page: page.page }))
}

/// What was asked of payment providers for one order.
#[utoipa::path(get, path = "/api/v1/orders/{order_id}/transactions", tag = "payments",
    operation_id = "of_order",
    params(("order_id" = OrderId, Path), api_kit::headers::Read),
    responses((status = 200, description = "All of them.", body = OrderTransactions)))]
async fn of_order(
    reader: Reader,
    Path(order_id): Path<OrderId>,
) -> Result<(Freshness, Json<OrderTransactions>), Problem> {
    let mut view = reader.view(&PROJECTION).await?;
    let found = payment::of_order(view.conn(), reader.store_id(), order_id.0).await;
    let found = found.map_err(unreadable)?.ok_or_else(|| Problem::new("order_not_found"))?;
    let data = found.into_iter().map(TransactionBody::new).collect();
    Ok((view.freshness, Json(OrderTransactions { data })))
}

impl TransactionBody {
    fn new(transaction: Transaction) -> TransactionBody {
        TransactionBody {
            id: transaction.transaction_id,
            payment_id: PaymentId(transaction.payment_id),
            checkout_id: CheckoutId(transaction.checkout_id),
            kind: transaction.kind,
            status: transaction.status,
            amount: money(transaction.amount_minor, &transaction.currency),
            provider: transaction.provider,
            reference: transaction.reference,
            code: transaction.code,
            requested_at: transaction.requested_at,
            settled_at: transaction.settled_at,
        }
    }
}
