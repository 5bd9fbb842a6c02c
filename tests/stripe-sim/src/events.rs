//! What happened in an account: the events that are listed and sent.

use serde_json::{Value, json};

/// How long events are listed, in seconds.
pub(crate) const LISTED_SECONDS: i64 = 30 * 24 * 3600;

/// The version of Stripe's API whose shapes these are.
pub(crate) const API_VERSION: &str = "2025-04-30.basil";

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Such as `evt_…`.
    pub id: String,
    /// Such as `payment_intent.succeeded`.
    pub kind: String,
    /// When, in seconds.
    pub created: i64,
    /// What it happened to, as it was then.
    pub object: Value,
    /// The key of the request that did it.
    pub request_key: Option<String>,
}

impl Event {
    /// As Stripe sends it.
    pub fn document(&self) -> Value {
        json!({
            "id": self.id, "object": "event", "api_version": API_VERSION, "created": self.created,
            "data": { "object": self.object }, "livemode": false, "pending_webhooks": 0,
            "request": { "id": null, "idempotency_key": self.request_key }, "type": self.kind,
        })
    }
}
