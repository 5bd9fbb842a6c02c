//! What a feed reads: what is there after what it has sent.

use std::sync::Arc;

use api_kit::Problem;
use axum::response::sse::Event;
use chrono::{DateTime, Utc};
use event_schemas::ids::{CheckoutId, OrderId, ProductId, StoreId};
use projections::order::{self, payments, summaries, timeline};
use projections::{catalog, history};
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;
use uuid::Uuid;

use super::availability::{Availability, available};
use super::feeds::Listener;
use crate::order::timeline::TimelineEntry;
use crate::reader::{Reader, unreadable};

/// Entries of one reading; the rest is read when they are sent.
const ENTRIES_MAX: i64 = 100;

/// Category of a checkout's own stream.
const CHECKOUT: &str = "checkout";

/// What is followed, and how far it was sent.
pub(super) enum Source {
    Order { checkout_id: Uuid, after: i64 },
    Checkout { checkout_id: Uuid, after: i64 },
    Availability { product_id: Uuid, after: Option<i64>, sent: Option<Arc<Availability>> },
}

/// First event of a feed.
#[derive(Debug, Serialize, ToSchema)]
struct Open {
    /// What comes is after this.
    position: i64,
}

/// A step of a checkout.
#[derive(Debug, Serialize, ToSchema)]
struct CheckoutStep {
    position: i64,
    version: i64,
    #[serde(rename = "type")]
    event_type: String,
    recorded_at: DateTime<Utc>,
}

impl Source {
    /// `404` unless the store has the order.
    pub(super) async fn order(
        reader: &Reader,
        listener: &Listener,
        order_id: OrderId,
        after: Option<i64>,
    ) -> Result<Source, Problem> {
        let store_id = reader.store_id();
        listener.to([order_id.0]);
        let mut view = reader.view(&order::PROJECTION).await?;
        let found = summaries::get(view.conn(), store_id, order_id.0).await.map_err(unreadable)?;
        let order = found.ok_or_else(|| Problem::new("order_not_found"))?;
        let checkout_id = order.checkout_id;
        // An order is placed when it is paid: there will be no other payments.
        let payments = payments::of_checkout(view.conn(), store_id, checkout_id).await;
        let payments = payments.map_err(unreadable)?;
        listener.to(payments.iter().map(|payment| payment.payment_id));
        Ok(Source::Order { checkout_id, after: after.unwrap_or(view.position()) })
    }

    /// `404` unless the store has the checkout.
    pub(super) async fn checkout(
        reader: &Reader,
        listener: &Listener,
        checkout_id: CheckoutId,
        after: Option<i64>,
    ) -> Result<Source, Problem> {
        listener.to([checkout_id.0]);
        let stream = (CHECKOUT, checkout_id.0);
        let mut view = reader.log().await?;
        let found = history::stream_position(view.conn(), reader.store_id(), stream).await;
        let position = found.map_err(unreadable)?;
        let position = position.ok_or_else(|| Problem::new("checkout_not_found"))?;
        let after = after.unwrap_or(position);
        Ok(Source::Checkout { checkout_id: checkout_id.0, after })
    }

    /// `404` unless the store has the product.
    pub(super) async fn availability(
        reader: &Reader,
        listener: &Listener,
        product_id: ProductId,
        after: Option<i64>,
    ) -> Result<Source, Problem> {
        listener.to([product_id.0]);
        let mut view = reader.view(&catalog::PROJECTION).await?;
        let found = catalog::products::get(view.conn(), reader.store_id(), product_id.0).await;
        found.map_err(unreadable)?.ok_or_else(|| Problem::new("product_not_found"))?;
        Ok(Source::Availability { product_id: product_id.0, after, sent: None })
    }

    /// What the client hears before anything has happened.
    pub(super) fn open(&self) -> Option<Event> {
        match self {
            Source::Order { after, .. } | Source::Checkout { after, .. } => {
                Some(event(*after, "open", &Open { position: *after }))
            }
            Source::Availability { .. } => None,
        }
    }

    /// What is new. Remembers it as sent.
    pub(super) async fn read(&mut self, listener: &Listener) -> Result<Vec<Event>, sqlx::Error> {
        let pool = listener.reads().pool();
        let store_id = listener.store_id();
        match self {
            Source::Order { checkout_id, after } => {
                let (events, more) = entries(pool, store_id, *checkout_id, after).await?;
                if more {
                    listener.again();
                }
                Ok(events)
            }
            Source::Checkout { checkout_id, after } => {
                steps(pool, store_id, *checkout_id, after).await
            }
            Source::Availability { product_id, after, sent } => {
                let (now, changed) = available(listener, *product_id, *after).await?;
                if listener.to(now.variant_ids()) {
                    // What changed since it was read has been told to others only.
                    listener.again();
                }
                let tell = sent.as_ref().map_or(changed, |sent| !sent.same(&now));
                // A client that has seen what is not here yet has another state than this.
                if tell || after.is_none_or(|after| after <= now.position()) {
                    *sent = Some(Arc::clone(&now));
                }
                Ok(tell.then(|| event(now.position(), "availability", &*now)).into_iter().collect())
            }
        }
    }
}

async fn entries(
    pool: &PgPool,
    store_id: StoreId,
    checkout_id: Uuid,
    after: &mut i64,
) -> Result<(Vec<Event>, bool), sqlx::Error> {
    let mut snapshot = projections::as_store(pool, store_id).await?;
    let found = timeline::list(&mut snapshot, store_id, checkout_id, *after, ENTRIES_MAX).await?;
    drop(snapshot);
    let events = found.rows.into_iter().map(|entry| {
        *after = entry.position;
        let name = entry.entry.clone();
        event(entry.position, &name, &TimelineEntry::new(entry))
    });
    Ok((events.collect(), found.more))
}

async fn steps(
    pool: &PgPool,
    store_id: StoreId,
    checkout_id: Uuid,
    after: &mut i64,
) -> Result<Vec<Event>, sqlx::Error> {
    let mut snapshot = projections::as_store(pool, store_id).await?;
    // A checkout has fewer than a reading takes.
    let found =
        history::of_stream(&mut snapshot, store_id, (CHECKOUT, checkout_id), *after).await?;
    drop(snapshot);
    let events = found.into_iter().map(|stored| {
        *after = stored.position;
        let step = CheckoutStep {
            position: stored.position,
            version: stored.version,
            event_type: stored.event_type,
            recorded_at: stored.recorded_at,
        };
        event(step.position, &step.event_type, &step)
    });
    Ok(events.collect())
}

fn event(position: i64, name: &str, data: &impl Serialize) -> Event {
    let event = Event::default().id(position.to_string()).event(name);
    event.json_data(data).expect("what an answer shows is JSON")
}
