//! Webhooks: who is told of what, when, and signed with which secret.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{events::Event, faults::Chance};

/// Longest delay of a webhook that is reordered, in seconds.
const REORDERED_SECONDS: i64 = 60;

/// Longest delay of a webhook that is late, and how long one is tried, in seconds: three days.
const TRIED_SECONDS: i64 = 3 * 24 * 3600;

/// Wait after the first refusal, in seconds; it doubles.
const RETRY_SECONDS: i64 = 60;

/// Longest wait between two tries, in seconds.
const RETRY_SECONDS_MAX: i64 = 12 * 3600;

/// An address that is told.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) id: String,
    pub(crate) url: String,
    pub(crate) secret: String,
    /// Kinds, or `*`.
    pub(crate) kinds: Vec<String>,
}

impl Endpoint {
    pub(crate) fn document(&self, created: i64) -> Value {
        json!({
            "id": self.id, "object": "webhook_endpoint", "url": self.url, "status": "enabled",
            "enabled_events": self.kinds, "secret": self.secret, "created": created,
            "livemode": false, "api_version": crate::events::API_VERSION, "metadata": {},
        })
    }
}

/// A webhook to be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Which one.
    pub(crate) id: u64,
    /// Whose.
    pub(crate) account: String,
    /// Where to.
    pub url: String,
    /// The bytes that are signed.
    pub body: String,
    /// `Stripe-Signature`.
    pub signature: String,
    /// The event's id.
    pub event_id: String,
}

#[derive(Clone, Debug)]
struct Waiting {
    endpoint: usize,
    event: Event,
    first: i64,
    due: i64,
    tries: u32,
    sent: bool,
}

/// The webhooks of an account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Webhooks {
    pub(crate) endpoints: Vec<Endpoint>,
    waiting: BTreeMap<u64, Waiting>,
    last: u64,
}

impl Webhooks {
    /// Plans an event for everybody who wants to be told.
    pub(crate) fn plan(&mut self, event: &Event, chance: &mut Chance) {
        for index in 0..self.endpoints.len() {
            let kinds = &self.endpoints[index].kinds;
            if !kinds.iter().any(|kind| kind == "*" || *kind == event.kind) {
                continue;
            }
            let faults = chance.faults.clone();
            if chance.hits(faults.webhook_lost) {
                continue;
            }
            let times = if chance.hits(faults.webhook_twice) { 2 } else { 1 };
            for _ in 0..times {
                let late = if chance.hits(faults.webhook_late) {
                    chance.up_to(TRIED_SECONDS)
                } else if chance.hits(faults.webhook_reordered) {
                    chance.up_to(REORDERED_SECONDS)
                } else {
                    0
                };
                let due = event.created + late;
                let waiting = Waiting {
                    endpoint: index,
                    event: event.clone(),
                    first: due,
                    due,
                    tries: 0,
                    sent: false,
                };
                self.last += 1;
                self.waiting.insert(self.last, waiting);
            }
        }
    }

    /// What is to be sent by now, the longest due first.
    pub(crate) fn due(&mut self, account: &str, now: i64) -> Vec<Delivery> {
        let open = self.waiting.iter_mut().filter(|(_, waiting)| !waiting.sent);
        let mut due: Vec<_> = open.filter(|(_, waiting)| waiting.due <= now).collect();
        due.sort_by_key(|(id, waiting)| (waiting.due, **id));
        let send = |(id, waiting): (&u64, &mut Waiting)| {
            waiting.sent = true;
            let endpoint = &self.endpoints[waiting.endpoint];
            let body = waiting.event.document().to_string();
            let signature = sign(&endpoint.secret, now, &body);
            let (event_id, account) = (waiting.event.id.clone(), account.to_owned());
            Delivery { id: *id, account, url: endpoint.url.clone(), body, signature, event_id }
        };
        due.into_iter().map(send).collect()
    }

    /// A webhook was taken, or is tried again later, for three days.
    pub(crate) fn answered(&mut self, id: u64, taken: bool, now: i64) {
        let Some(waiting) = self.waiting.get_mut(&id) else { return };
        if taken || now - waiting.first >= TRIED_SECONDS {
            self.waiting.remove(&id);
            return;
        }
        let wait = (RETRY_SECONDS << waiting.tries.min(10)).min(RETRY_SECONDS_MAX);
        waiting.tries += 1;
        waiting.due = now + wait;
        waiting.sent = false;
    }

    /// When the next is due.
    pub(crate) fn next(&self) -> Option<i64> {
        self.waiting.values().filter(|waiting| !waiting.sent).map(|waiting| waiting.due).min()
    }
}

/// `Stripe-Signature` of a body, by docs.stripe.com/webhooks: HMAC-SHA-256 of time and body.
///
/// # Panics
///
/// Never: HMAC takes keys of every length.
pub fn sign(secret: &str, at: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes any key");
    mac.update(format!("{at}.{body}").as_bytes());
    let hex: Vec<String> =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={at},v1={}", hex.concat())
}
