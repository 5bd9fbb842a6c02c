//! What both APIs share: problems, tokens, routes with permissions, bodies, pages, versions.
//!
//! A context of `write-api` (state `Ctx`) reads like this; `tests/example.rs` runs it:
//!
//! ```text
//! use api_kit::{Api, Body, Caller, Etag, FieldError, Idempotency, IfMatch, NoBody, Path,
//!     Permission, Position, Problem, Replayed, RequiredIdempotency, Validation};
//! use utoipa_axum::routes;
//!
//! pub(crate) fn api() -> Api<Ctx> {
//!     Api::new()
//!         .route(Permission::OrdersWrite, routes!(cancel))
//! }
//!
//! /// Cancels an order.
//! #[utoipa::path(post, path = "/api/v1/orders/{order_id}/cancel", tag = "orders",
//!     params(("order_id" = OrderId, Path), api_kit::headers::Command),
//!     request_body = CancelBody, responses((status = 200, body = OrderBody)))]
//! async fn cancel(
//!     State(ctx): State<Ctx>,
//!     Path(order_id): Path<OrderId>,  // 404, or 422 wrong_id_type
//!     sender: Sender,                 // your extractor: Caller, IfMatch, Idempotency in one,
//!                                     // as a handler has five arguments at most
//!     body: Body<CancelBody>,         // last; or `NoBody`
//! ) -> Result<impl IntoResponse, Problem> {
//!     let mut check = Validation::new();
//!     check.that(!body.value.reason.is_empty(), "/reason", "empty", "say why");
//!     check.finish()?;
//!     let expected = sender.if_match.required()?; // or .expected(), where it is optional
//!     let command_id = sender.key.command_id();
//!     let fingerprint = sender.key.fingerprint(&body.digest);
//!     let done = commands::order::cancel(…).await.map_err(problem)?;
//!     Ok((Etag(done.version), Position(done.position), Replayed(done.replayed), Json(…)))
//! }
//!
//! fn problem(error: CommandError<OrderError>) -> Problem {
//!     match error {
//!         CommandError::Rejected(OrderError::NotFound) => Problem::new("order_not_found"),
//!         CommandError::VersionMismatch { current } =>
//!             Problem::new("version_mismatch").extra("current_version", current),
//!         CommandError::Store(_) => Problem::internal(error),
//!         …
//!     }
//! }
//! ```
//!
//! Every code is a row of `problem/codes.rs`: add yours there.
//!
//! A list of `read-api`:
//!
//! ```text
//! #[derive(Deserialize, IntoParams)]
//! #[serde(deny_unknown_fields)]
//! #[into_params(parameter_in = Query)]
//! struct ListQuery {
//!     #[serde(default)]
//!     #[param(value_type = u16)]
//!     limit: Limit,
//!     after: Option<String>,
//!     before: Option<String>,
//!     #[serde(default, deserialize_with = "api_kit::params::date")]
//!     date_from: Option<NaiveDate>,
//! }
//!
//! #[utoipa::path(get, path = "/api/v1/orders", params(ListQuery, api_kit::headers::Read),
//!     responses((status = 200, body = Page<OrderSummary>)))]
//! async fn list(State(pool): State<PgPool>, caller: Caller, Query(query): Query<ListQuery>,
//!     MinPosition(min): MinPosition) -> Result<Page<OrderSummary>, Problem> {
//!     let ListQuery { limit, after, before, .. } = query;
//!     let paging = Paging::new(limit, after, before, caller.store_id, "orders")?;
//!     let key: Option<(DateTime<Utc>, OrderId)> = paging.key()?;
//!     // SELECT … WHERE (placed_at, order_id) < key ORDER BY … DESC LIMIT rows();
//!     // the other way round if paging.backward().
//!     Ok(paging.page(rows, |row| (row.placed_at, row.order_id)))
//! }
//! ```
//!
//! The program puts both together; an address served by both uses the same parameter names:
//!
//! ```text
//! let (write, write_doc) = write_api::api().finish()?;
//! let (read, read_doc) = read_api::api().finish()?;
//! let document = openapi::merged(write_doc, read_doc);
//! let router = write.with_state(ctx).merge(read.with_state(pool)).merge(problem::pages::router());
//! let app = Edge::new(keys, now, new_id).wrap(router); // once, last
//! ```

pub mod auth;
pub mod body;
pub mod edge;
pub mod headers;
pub mod idempotency;
pub mod journal;
pub mod load;
pub mod openapi;
pub mod page;
pub mod params;
pub mod position;
pub mod problem;
pub mod routes;
pub mod version;

#[cfg(test)]
mod tests;

pub use auth::{Caller, Expiry, Permission, TokenKeys, TokenRequest, Visitor};
pub use body::{Body, NoBody};
pub use edge::Edge;
pub use idempotency::{Idempotency, Replayed, RequiredIdempotency};
pub use journal::Refused;
pub use load::{Class, Deadline, Limits};
pub use page::{Limit, Page, PageLinks, Paging};
pub use params::{Path, Query};
pub use position::{MinPosition, Position};
pub use problem::{FieldError, Problem, Validation};
pub use routes::{Api, BootError};
pub use version::{Etag, IfMatch};
