//! What is asked and what is answered.

use serde_json::{Value, json};

/// A request as it comes over the wire.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `GET`, `POST` or `DELETE`.
    pub method: &'a str,
    /// Such as `/v1/payment_intents`.
    pub path: &'a str,
    /// What follows the `?`, encoded.
    pub query: &'a str,
    /// The key of `Authorization: Bearer …`.
    pub bearer: &'a str,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<&'a str>,
    /// The form.
    pub body: &'a [u8],
}

/// What is answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Status of HTTP.
    pub status: u16,
    /// The document.
    pub body: Value,
    /// It is the saved answer of an earlier request: `Idempotent-Replayed: true`.
    pub replayed: bool,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// The answer does not arrive: the connection breaks. Whether the request took effect, nobody
    /// can tell.
    pub lost: bool,
}

impl Reply {
    pub(crate) fn new(status: u16, body: Value) -> Reply {
        Reply { status, body, replayed: false, retry_after: None, lost: false }
    }

    pub(crate) fn lost() -> Reply {
        Reply { lost: true, ..Reply::new(0, Value::Null) }
    }
}

/// A request that is not done.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    /// `error` of the answer.
    pub(crate) error: Value,
    /// Whether the answer is saved under the key: yes once the endpoint began its work.
    pub(crate) saved: bool,
}

impl Refused {
    /// Parameters that do not pass: nothing began, nothing is saved.
    pub(crate) fn invalid(code: &str, param: &str, message: &str) -> Refused {
        let error = json!({
            "type": "invalid_request_error", "code": code, "param": param, "message": message,
        });
        Refused { status: 400, error, saved: false }
    }

    /// The object is not where the request wants it.
    pub(crate) fn state(code: &str, message: String, object: (&str, Value)) -> Refused {
        let mut error = json!({
            "type": "invalid_request_error", "code": code, "message": message,
        });
        error[object.0] = object.1;
        Refused { status: 400, error, saved: true }
    }

    pub(crate) fn missing(what: &str, id: &str) -> Refused {
        let error = json!({
            "type": "invalid_request_error", "code": "resource_missing", "param": "id",
            "message": format!("No such {what}: '{id}'"),
        });
        Refused { status: 404, error, saved: false }
    }

    pub(crate) fn reply(self) -> Reply {
        Reply::new(self.status, json!({ "error": self.error }))
    }
}

/// One page of a list, newest first.
pub(crate) fn page(url: &str, objects: Vec<Value>, limit: usize) -> Value {
    let has_more = objects.len() > limit;
    let data: Vec<Value> = objects.into_iter().take(limit).collect();
    json!({ "object": "list", "url": url, "has_more": has_more, "data": data })
}
