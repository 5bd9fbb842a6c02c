//! What payment providers tell us, of themselves: stored at once, worked on afterwards.
//!
//! A delivery is one row by the provider's id of the event, and is acknowledged once that row is on
//! the disk. What has happened to the payment is then asked of the provider ([`attend_payment`]),
//! so a delivery that is late, repeated, out of order or made up changes nothing that looking
//! would not have found.
//!
//! [`attend_payment`]: crate::attend_payment

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use chrono::{DateTime, Duration, Utc};
use event_schemas::ids::{PaymentId, StoreId};
use providers::payment::ProviderEvent;
use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

mod fill;
mod health;
mod ingest;
mod parked;
mod work;

pub use fill::fill;
pub use health::{Health, Reason, Totals};
pub use ingest::Ingest;
pub use parked::{Parked, ParkedEvent};
pub use work::drain;

pub(crate) use fill::serve as read_lists;
pub(crate) use work::serve;

/// The only provider that sends anything.
pub const STRIPE: &str = "stripe";

/// Tries before an event is parked. With waits of 5, 10, 20 … s, an hour at most, that is after
/// about two and a half hours.
pub const TRIES_MAX: i32 = 12;

/// How long settled events are kept: longer than a provider repeats a delivery (three days) or
/// lists its events (thirty), so that none takes effect again.
pub const KEPT: Duration = Duration::days(35);

/// Longest id and kind of an event, in bytes, as in the table. Stripe promises 255 for ids.
const EVENT_ID_BYTES_MAX: usize = 255;
const KIND_BYTES_MAX: usize = 100;

/// Deliveries of one process that wait to be stored, of some 300 bytes each. More are refused, and
/// the provider sends them again.
const QUEUE_MAX: usize = 4_096;

/// Bodies of deliveries that one process holds in memory at once, of 256 KiB at most: 64 MiB. They
/// come from anyone, and are checked only when they are complete.
const BODIES_MAX: usize = 256;

/// One delivery, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Whose account.
    pub store_id: StoreId,
    /// The provider's id of the event.
    pub event_id: String,
    /// What has happened.
    pub kind: String,
    /// To which payment of ours; none if it is about none.
    pub payment_id: Option<PaymentId>,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// When we heard of it.
    pub received_at: DateTime<Utc>,
}

impl Delivery {
    /// An event that reached us at a time; none if it is not named as a provider names events, and
    /// could be neither stored nor printed.
    pub fn of(
        store_id: StoreId,
        event: ProviderEvent,
        received_at: DateTime<Utc>,
    ) -> Option<Delivery> {
        if !is_name(&event.id, EVENT_ID_BYTES_MAX) || !is_name(&event.kind, KIND_BYTES_MAX) {
            return None;
        }
        // An account may serve other shops too, and tells each of all.
        let ours = event.store_key.is_none_or(|key| key.parse() == Ok(store_id));
        Some(Delivery {
            store_id,
            payment_id: event.payment_key.filter(|_| ours).and_then(|key| key.parse().ok()),
            event_id: event.id,
            kind: event.kind,
            occurred_at: event.created,
            received_at,
        })
    }
}

fn is_name(text: &str, bytes_max: usize) -> bool {
    let fits = (1..=bytes_max).contains(&text.len());
    fits && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// Why a delivery was not stored. The provider sends it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStored {
    /// More deliveries wait already than are worked for.
    #[error("too many deliveries wait to be stored")]
    Busy,
    /// The database did not take it.
    #[error("the database did not take the delivery")]
    Away,
}

/// Takes deliveries. Cheap to clone; [`Ingest::run`] ends when the last clone is gone.
#[derive(Clone, Debug)]
pub struct Inbox {
    queue: mpsc::Sender<(Delivery, oneshot::Sender<bool>)>,
    bodies: Arc<Semaphore>,
    refused: Arc<[AtomicU64; Refusal::ALL.len()]>,
    pool: PgPool,
}

/// Why a request was not taken for a provider's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No signature that is ours.
    Signature,
    /// Signed too long ago, or in the future.
    Stale,
    /// Signed, and no event.
    Malformed,
    /// Larger than an event is.
    TooLarge,
    /// No place for it.
    Busy,
}

impl Refusal {
    /// Each of them.
    pub const ALL: [Refusal; 5] =
        [Self::Signature, Self::Stale, Self::Malformed, Self::TooLarge, Self::Busy];

    /// As a label of a metric.
    pub fn name(self) -> &'static str {
        match self {
            Self::Signature => "signature_invalid",
            Self::Stale => "timestamp_outside_tolerance",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Busy => "busy",
        }
    }
}

/// An inbox, and what stores for it. `pool` is one of `Role::Process`, to look into it.
pub fn inbox(pool: PgPool) -> (Inbox, Ingest) {
    let (queue, deliveries) = mpsc::channel(QUEUE_MAX);
    let refused = Arc::new(std::array::from_fn(|_| AtomicU64::new(0)));
    let bodies = Arc::new(Semaphore::new(BODIES_MAX));
    (Inbox { queue, bodies, refused, pool }, Ingest::new(deliveries))
}

impl Inbox {
    /// A place for the body of one delivery, until it is dropped; `None` if all are taken.
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.bodies).try_acquire_owned().ok()
    }

    /// Stores a delivery. When this returns it is on the disk, or was before.
    pub async fn store(&self, delivery: Delivery) -> Result<(), NotStored> {
        let (stored, outcome) = oneshot::channel();
        self.queue.try_send((delivery, stored)).map_err(|_| NotStored::Busy)?;
        match outcome.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(NotStored::Away),
        }
    }

    /// Counts a request that was not taken.
    pub fn refuse(&self, why: Refusal) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests this process has not taken, by why.
    pub fn refused(&self) -> [(Refusal, u64); Refusal::ALL.len()] {
        Refusal::ALL.map(|why| (why, self.refused[why as usize].load(Ordering::Relaxed)))
    }

    /// How the inbox of one store is.
    pub async fn health(
        &self,
        store_id: StoreId,
        now: DateTime<Utc>,
    ) -> Result<Health, sqlx::Error> {
        health::of_store(&self.pool, store_id, now).await
    }

    /// How the inboxes of all stores are.
    pub async fn totals(&self) -> Result<Totals, sqlx::Error> {
        health::totals(&self.pool).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> ProviderEvent {
        let (id, kind, created) = (String::new(), String::new(), DateTime::UNIX_EPOCH);
        ProviderEvent { id, kind, created, reference: None, payment_key: None, store_key: None }
    }

    #[test]
    fn what_happens_in_another_shop_of_the_account_is_about_no_payment_of_ours() {
        let (here, payment) = (StoreId::of_slug("demo"), PaymentId::derive(&[b"payment"]));
        let found = |store_key: Option<String>| {
            let (id, kind) = ("evt_1".to_owned(), "a.b".to_owned());
            let payment_key = Some(payment.to_string());
            let event = ProviderEvent { id, kind, payment_key, store_key, ..nothing() };
            Delivery::of(here, event, DateTime::UNIX_EPOCH).unwrap().payment_id
        };
        assert_eq!(found(Some(here.to_string())), Some(payment));
        // Asked for before stores were told apart.
        assert_eq!(found(None), Some(payment));
        assert_eq!(found(Some(StoreId::of_slug("other").to_string())), None);
        assert_eq!(found(Some("somebody else's".to_owned())), None);
    }

    #[test]
    fn only_what_has_the_name_of_an_event_is_stored() {
        let delivery = |id: &str, kind: &str| {
            let (id, kind, at) = (id.to_owned(), kind.to_owned(), DateTime::UNIX_EPOCH);
            let event = ProviderEvent { id, kind, created: at, ..nothing() };
            Delivery::of(StoreId::of_slug("demo"), event, at)
        };
        assert!(delivery("evt_1", "payment_intent.succeeded").is_some());
        assert!(delivery(&"e".repeat(255), &"k".repeat(100)).is_some());
        for (id, kind) in [
            ("", "a.b"),
            ("evt_1", ""),
            ("evt\0", "a.b"),
            ("evt_1", "a b"),
            ("evt_\u{1b}[31m", "a.b"),
            (&"e".repeat(256), "a.b"),
            ("evt_1", &"k".repeat(101)),
        ] {
            assert_eq!(delivery(id, kind), None, "{id:?} {kind:?}");
        }
    }
}
