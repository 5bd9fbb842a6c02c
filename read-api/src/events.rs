//! Everything that happened in a store, from the log itself: no horizon, nothing left out.

use api_kit::{Api, FieldError, Limit, PageLinks, Paging, Permission, Problem, Query};
use axum::Json;
use chrono::{DateTime, Utc};
use event_schemas::ids::{
    ActorId, AdjustmentId, CartId, CheckoutId, CommandId, CouponId, EventId, OrderId, PaymentId,
    ProductId, StoreId, VariantId,
};
use event_schemas::metadata::Metadata;
use event_schemas::upcast;
use projections::history::{self, EventFilter, Found, Range, StoredEvent};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;
use uuid::Uuid;

use crate::reader::{Freshness, Reader, View, unreadable};
use crate::reads::Reads;
use crate::value;

/// Fields that are nobody's business but the provider's: its token of a card, and what the bank of
/// the shopper handed back. Left out of events of every type, also of those this program does not
/// know.
const SECRET: [&str; 2] = ["payment_method", "answer"];

pub(crate) fn api() -> Api<Reads> {
    Api::new().route(Permission::EventsRead, routes!(list))
}

/// What an event is about.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum EventCategory {
    Product,
    StockItem,
    Cart,
    Checkout,
    Order,
    RefundAdjustment,
    Payment,
    Coupon,
    ShippingProfile,
    TaxPolicy,
}

impl EventCategory {
    fn code(self) -> &'static str {
        match self {
            EventCategory::Product => "product",
            EventCategory::StockItem => "stock_item",
            EventCategory::Cart => "cart",
            EventCategory::Checkout => "checkout",
            EventCategory::Order => "order",
            EventCategory::RefundAdjustment => "refund_adjustment",
            EventCategory::Payment => "payment",
            EventCategory::Coupon => "coupon",
            EventCategory::ShippingProfile => "shipping_profile",
            EventCategory::TaxPolicy => "tax_policy",
        }
    }
}

/// Order of the list.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, ToSchema)]
enum EventOrder {
    /// As they happened.
    #[default]
    #[serde(rename = "position")]
    Oldest,
    /// Newest first.
    #[serde(rename = "-position")]
    Newest,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventsQuery {
    /// Events of the page.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 100, default = 20)]
    limit: Limit,
    /// `next` of a page: what comes after it.
    after: Option<String>,
    /// `position` (oldest first) or `-position`.
    #[serde(default)]
    #[param(inline, required = false)]
    sort: EventOrder,
    /// Any of these, with commas between: `product`, `stock_item`, `checkout`, `order`,
    /// `refund_adjustment`, `payment`.
    #[serde(rename = "filter[category]", default, deserialize_with = "value::listed")]
    #[param(value_type = Option<String>, example = "order,payment")]
    categories: Vec<EventCategory>,
    /// Any of these types, with commas between.
    #[serde(rename = "filter[type]", alias = "types", default)]
    #[serde(deserialize_with = "types")]
    #[param(value_type = Option<String>, example = "OrderPlaced,OrderPaid")]
    types: Vec<String>,
    /// Id of a product, variant (its stock), checkout, order, payment, adjustment or coupon: its events
    /// only, oldest first.
    #[serde(rename = "filter[stream]", default, deserialize_with = "stream")]
    #[param(value_type = Option<String>, example = "ord_01JD5ZK6V8E4R9T2Q7WX3Y0ABC")]
    stream: Option<(&'static str, Uuid)>,
    /// Who did it.
    #[serde(rename = "filter[actor]", default)]
    #[param(value_type = Option<String>, example = "act_01JD5ZK6V8E4R9T2Q7WX3Y0ABC")]
    actor: Option<ActorId>,
    /// The journey it belongs to: id of a checkout, from the first line to the last refund.
    #[serde(rename = "filter[correlation_id]", default, deserialize_with = "value::text")]
    correlation_id: Option<String>,
    /// Recorded at this time or later.
    #[serde(rename = "filter[recorded_at][gte]", default)]
    #[serde(deserialize_with = "api_kit::params::time")]
    #[param(example = "2026-03-01T00:00:00Z")]
    recorded_from: Option<DateTime<Utc>>,
    /// Recorded before this time.
    #[serde(rename = "filter[recorded_at][lt]", default)]
    #[serde(deserialize_with = "api_kit::params::time")]
    #[param(example = "2026-04-01T00:00:00Z")]
    recorded_before: Option<DateTime<Utc>>,
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
struct EventsPage {
    data: Vec<EventBody>,
    /// There is always a `next`: what comes after the end of the log is there when it has happened.
    page: PageLinks,
    /// Every event that matches, up to this position (down to it, newest first), is here or was on
    /// a page before. A page looks through 20,000 positions (1,000 events of a stream) at most, so
    /// one of few matches may be short, or empty, and have more after it.
    scanned_through: i64,
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
struct EventBody {
    id: EventId,
    /// Place in the log; others see the positions in between.
    position: i64,
    #[serde(rename = "type")]
    #[schema(example = "OrderPlaced")]
    event_type: String,
    /// What it is about; more may come.
    #[schema(example = "order")]
    category: String,
    /// Id of what it is about.
    #[schema(example = "ord_01JD5ZK6V8E4R9T2Q7WX3Y0ABC")]
    stream: String,
    /// Its place among the events of the same.
    version: i64,
    recorded_at: DateTime<Utc>,
    /// Who, why, and as part of what; `null` if this program cannot read it.
    #[schema(value_type = Option<EventCircumstances>)]
    metadata: Option<EventCircumstances>,
    /// Its facts in their current form, whatever form they were stored in; as stored if this
    /// program does not know the type. Without what only the provider of a payment may know.
    #[schema(value_type = Object)]
    data: Value,
}

/// Circumstances of an event.
#[derive(Debug, Serialize, ToSchema)]
struct EventCircumstances {
    actor: EventActor,
    command_id: CommandId,
    correlation_id: String,
    /// Time in the business; that of the other system for what was taken over.
    occurred_at: DateTime<Utc>,
    request_id: Option<String>,
}

/// Who did it.
#[derive(Debug, Serialize, ToSchema)]
struct EventActor {
    /// `user`, `system` or `import`; more may come.
    #[schema(value_type = String, example = "user")]
    kind: event_schemas::metadata::ActorKind,
    id: ActorId,
}

/// Everything that happened in the store, as it is in the log.
#[utoipa::path(get, path = "/api/v1/events", tag = "events",
    params(EventsQuery, api_kit::headers::Read),
    responses((status = 200, description = "A page of events.", body = EventsPage)))]
async fn list(
    reader: Reader,
    Query(query): Query<EventsQuery>,
) -> Result<(Freshness, Json<EventsPage>), Problem> {
    let newest_first = query.sort == EventOrder::Newest;
    if newest_first && query.stream.is_some() {
        let detail = "events of a stream come oldest first";
        let error = FieldError::parameter("sort", "conflict", detail);
        return Err(Problem::new("validation_failed").error(error));
    }
    let name = if newest_first { "events, newest first" } else { "events" };
    let after = query.after.clone();
    let paging = Paging::new(query.limit, after, None, reader.store_id(), name)?;
    let key: Option<i64> = paging.key()?;
    let mut view = reader.log().await?;
    let range = reader.in_time(range(&reader, &view, &query, key)).await?;
    let found = find(&reader, &mut view, &query, range).await.map_err(unreadable)?;
    let page =
        PageLinks { has_more: found.more, next: Some(paging.cursor(&found.through)), prev: None };
    let data = found.events.into_iter().map(EventBody::new).collect();
    Ok((view.freshness, Json(EventsPage { data, page, scanned_through: found.through })))
}

/// What is left of the log to look through.
async fn range(
    reader: &Reader,
    view: &View,
    query: &EventsQuery,
    key: Option<i64>,
) -> Result<Range, sqlx::Error> {
    let newest_first = query.sort == EventOrder::Newest;
    let mut range = Range { first: 1, last: view.position(), newest_first };
    if let Some(time) = query.recorded_from {
        range.first = reader.reads().position_at(time).await?;
    }
    if let Some(time) = query.recorded_before {
        let end = reader.reads().position_at(time).await?;
        range.last = range.last.min(end - 1);
    }
    Ok(after(range, key))
}

/// What is left of a range when it was looked through up to (down to) `key`, which is what a client
/// says.
fn after(mut range: Range, key: Option<i64>) -> Range {
    match key {
        Some(key) if range.newest_first => range.last = range.last.min(key.saturating_sub(1)),
        Some(key) => range.first = range.first.max(key.saturating_add(1)),
        None => {}
    }
    range
}

async fn find(
    reader: &Reader,
    view: &mut View,
    query: &EventsQuery,
    range: Range,
) -> Result<Found, sqlx::Error> {
    let limit = i64::from(query.limit.get());
    // Where the next page begins if there is nothing to find.
    let nothing = if range.newest_first { range.first } else { range.first - 1 };
    if range.last < range.first {
        return Ok(Found { events: Vec::new(), through: nothing.max(0), more: false });
    }
    let codes = query.categories.iter().map(|category| category.code().to_owned());
    let filter = EventFilter {
        categories: codes.collect(),
        types: query.types.clone(),
        actor_id: query.actor.map(|actor| actor.to_string()),
        correlation_id: query.correlation_id.clone(),
    };
    let Some(stream) = query.stream else {
        return history::list(view.conn(), reader.store_id(), &filter, range, limit).await;
    };
    let from = range.first - 1;
    let events = history::of_stream(view.conn(), reader.store_id(), stream, from).await?;
    let end = history::stream_position(view.conn(), reader.store_id(), stream).await?;
    Ok(chosen(events, &filter, range, (limit, end.unwrap_or(0))))
}

/// Those of one stream that match.
fn chosen(
    read: Vec<StoredEvent>,
    filter: &EventFilter,
    range: Range,
    (limit, end): (i64, i64),
) -> Found {
    let end = end.min(range.last);
    let mut events = Vec::new();
    let mut through = range.first - 1;
    for event in read {
        if range.last < event.position {
            through = end;
            break;
        }
        if i64::try_from(events.len()) == Ok(limit) {
            break;
        }
        through = event.position;
        if matches(&event, filter) {
            events.push(event);
        }
    }
    Found { events, through, more: through < end }
}

fn matches(event: &StoredEvent, filter: &EventFilter) -> bool {
    let metadata: Option<Metadata> = serde_json::from_slice(&event.metadata).ok();
    let says = |wanted: &Option<String>, says: fn(&Metadata) -> String| {
        let Some(wanted) = wanted else { return true };
        metadata.as_ref().is_some_and(|metadata| says(metadata) == *wanted)
    };
    let any = |of: &[String], one: &String| of.is_empty() || of.contains(one);
    any(&filter.categories, &event.category)
        && any(&filter.types, &event.event_type)
        && says(&filter.actor_id, |metadata| metadata.actor.id.to_string())
        && says(&filter.correlation_id, |metadata| metadata.correlation_id.clone())
}

impl EventBody {
    fn new(event: StoredEvent) -> EventBody {
        let StoredEvent { category, event_type, schema_version, payload, .. } = &event;
        let version = u16::try_from(*schema_version).unwrap_or(0);
        let mut data = upcast::current(category, event_type, version, payload)
            .unwrap_or_else(|_| serde_json::from_slice(payload).unwrap_or_default());
        if let Value::Object(fields) = &mut data {
            fields.retain(|name, _| !SECRET.contains(&name.as_str()));
        }
        let metadata = serde_json::from_slice::<Metadata>(&event.metadata).ok();
        EventBody {
            id: EventId(event.event_id),
            position: event.position,
            stream: stream_name(category, event.stream_id),
            version: event.version,
            recorded_at: event.recorded_at,
            metadata: metadata.map(|metadata| EventCircumstances {
                actor: EventActor { kind: metadata.actor.kind, id: metadata.actor.id },
                command_id: metadata.command_id,
                correlation_id: metadata.correlation_id,
                occurred_at: metadata.occurred_at,
                request_id: metadata.request_id,
            }),
            data,
            event_type: event.event_type,
            category: event.category,
        }
    }
}

fn stream_name(category: &str, id: Uuid) -> String {
    match category {
        "product" => ProductId(id).to_string(),
        "stock_item" => VariantId(id).to_string(),
        "cart" => CartId(id).to_string(),
        "checkout" => CheckoutId(id).to_string(),
        "order" => OrderId(id).to_string(),
        "refund_adjustment" => AdjustmentId(id).to_string(),
        "payment" => PaymentId(id).to_string(),
        "coupon" => CouponId(id).to_string(),
        "shipping_profile" | "tax_policy" => StoreId(id).to_string(),
        _ => id.to_string(),
    }
}

/// Types as they are stored, with commas between. Letters only, so that a mistake is not an empty
/// list.
fn types<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let text = value::text(from)?.unwrap_or_default();
    let types: Vec<String> = text.split(',').map(|part| part.trim().to_owned()).collect();
    let is_type = |text: &String| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphabetic());
    if types.iter().all(is_type) {
        return Ok(types);
    }
    Err(serde::de::Error::custom("must be types such as OrderPlaced, with commas between"))
}

/// An id says by its prefix of what it is.
fn stream<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<(&'static str, Uuid)>, D::Error> {
    let text = String::deserialize(from)?;
    let id = None
        .or_else(|| text.parse::<ProductId>().ok().map(|id| ("product", id.0)))
        .or_else(|| text.parse::<VariantId>().ok().map(|id| ("stock_item", id.0)))
        .or_else(|| text.parse::<CartId>().ok().map(|id| ("cart", id.0)))
        .or_else(|| text.parse::<CheckoutId>().ok().map(|id| ("checkout", id.0)))
        .or_else(|| text.parse::<OrderId>().ok().map(|id| ("order", id.0)))
        .or_else(|| text.parse::<AdjustmentId>().ok().map(|id| ("refund_adjustment", id.0)))
        .or_else(|| text.parse::<PaymentId>().ok().map(|id| ("payment", id.0)));
    let id = id.or_else(|| text.parse::<CouponId>().ok().map(|id| ("coupon", id.0)));
    let detail = "must be an id that starts with prd_, var_, crt_, chk_, ord_, adj_, pay_ or cpn_";
    id.map(Some).ok_or_else(|| serde::de::Error::custom(detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_cursor_leaves_nothing_to_look_through() {
        for (key, newest_first) in [(i64::MIN, true), (0, true), (i64::MAX, false), (9, false)] {
            let range = after(Range { first: 1, last: 9, newest_first }, Some(key));
            assert!(range.last < range.first, "{key}");
        }
    }
}
