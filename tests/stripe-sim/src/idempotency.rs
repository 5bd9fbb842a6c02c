//! What was answered under which key.

use std::collections::BTreeMap;

use serde_json::json;

use crate::answer::{Refused, Reply, Request};

/// How long a key is remembered, in seconds: the shortest that Stripe promises.
const KEPT_SECONDS: i64 = 24 * 3600;

/// Most characters of a key.
const KEY_CHARS_MAX: usize = 255;

/// A saved answer.
#[derive(Clone, Debug)]
struct Saved {
    request: (String, Vec<u8>),
    reply: Reply,
    at: i64,
    /// Until then the request is said to be at work.
    busy_until: i64,
}

/// The keys of an account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys(BTreeMap<String, Saved>);

impl Keys {
    /// The answer of an earlier request with this key; none if this is the first.
    pub(crate) fn find(
        &mut self,
        request: &Request<'_>,
        now: i64,
    ) -> Result<Option<Reply>, Refused> {
        let Some(key) = request.idempotency_key else { return Ok(None) };
        if key.chars().count() > KEY_CHARS_MAX {
            let message = "Idempotency keys have at most 255 characters";
            return Err(Refused::invalid("idempotency_key_too_long", "idempotency_key", message));
        }
        self.0.retain(|_, saved| now - saved.at < KEPT_SECONDS);
        let Some(saved) = self.0.get(key) else { return Ok(None) };
        if saved.request != fingerprint(request) {
            return Err(mismatch(key));
        }
        if now < saved.busy_until {
            return Err(in_use(key));
        }
        Ok(Some(Reply { replayed: true, ..saved.reply.clone() }))
    }

    pub(crate) fn save(&mut self, request: &Request<'_>, reply: &Reply, now: i64, busy_until: i64) {
        let Some(key) = request.idempotency_key else { return };
        let request = fingerprint(request);
        let saved = Saved { request, reply: reply.clone(), at: now, busy_until };
        self.0.insert(key.to_owned(), saved);
    }
}

fn fingerprint(request: &Request<'_>) -> (String, Vec<u8>) {
    (format!("{} {}", request.method, request.path), request.body.to_vec())
}

fn mismatch(key: &str) -> Refused {
    let error = json!({
        "type": "idempotency_error",
        "message": format!("Keys for idempotent requests can only be used with the parameters \
            they were first used with. Key: {key}"),
    });
    Refused { status: 400, error, saved: false }
}

pub(crate) fn in_use(key: &str) -> Refused {
    let error = json!({
        "type": "idempotency_error", "code": "idempotency_key_in_use",
        "message": format!("Another request with the key is at work. Key: {key}"),
    });
    Refused { status: 409, error, saved: false }
}
