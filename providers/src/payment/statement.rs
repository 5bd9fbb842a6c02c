//! What a provider says of itself: its books, and what happened in them.

use chrono::{DateTime, Utc};
use event_schemas::money::Money;

/// A payment as it stands in the provider's books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The provider's name of the payment.
    pub reference: String,
    /// The key it was asked for under, which is our payment's id. None: somebody else's.
    pub key: Option<String>,
    /// When it was asked for.
    pub created: DateTime<Utc>,
    /// What can be captured now.
    pub reserved: Money,
    /// What was taken.
    pub captured: Money,
    /// What of it went back, or is on its way.
    pub refunded: Money,
}

/// Some of the provider's books.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatementPage {
    /// Newest first.
    pub statements: Vec<Statement>,
    /// Names the page that follows; none at the end.
    pub next: Option<String>,
}

/// Something that happened at the provider. It says where to look, and nothing that money rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderEvent {
    /// The provider's id of it; the same in every delivery.
    pub id: String,
    /// Such as `payment_intent.succeeded`.
    pub kind: String,
    /// When it happened.
    pub created: DateTime<Utc>,
    /// The provider's name of the payment that it is about.
    pub reference: Option<String>,
    /// The key that payment was asked for under, which is our payment's id, if the event has it.
    pub payment_key: Option<String>,
    /// The store that asked for it, if the event says so: an account may serve several.
    pub store_key: Option<String>,
}

/// Some of what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPage {
    /// Newest first.
    pub events: Vec<ProviderEvent>,
    /// Names the page that follows; none at the end.
    pub next: Option<String>,
}
