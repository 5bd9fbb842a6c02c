//! Headers as the document shows them: name these structs in `params(…)` of a handler.

#![expect(dead_code, reason = "read by the derive only")]

use utoipa::openapi::path::Operation;
use utoipa::openapi::{Header, Object, RefOr, Type};

/// Of commands.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
pub struct Command {
    /// Names the intent: repeating the request with the same key changes nothing more.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
    /// Seconds the client waits for the answer, such as `2.5`. What has not begun by then is not
    /// begun: `503`.
    #[param(rename = "X-Request-Timeout", exclusive_minimum = 0)]
    request_timeout: Option<f64>,
}

/// Of commands that may be done once only.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
pub struct RequiredCommand {
    /// Names the intent: repeating the request with the same key changes nothing more.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255)]
    idempotency_key: String,
    /// Seconds the client waits for the answer, such as `2.5`. What has not begun by then is not
    /// begun: `503`.
    #[param(rename = "X-Request-Timeout", exclusive_minimum = 0)]
    request_timeout: Option<f64>,
}

/// Of commands that overwrite.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
pub struct Precondition {
    /// `ETag` of the resource as it was read, such as `"v17"`.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
}

/// Of queries.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
pub struct Read {
    /// `X-Position` of a write that the answer must include.
    #[param(rename = "X-Min-Position", minimum = 0)]
    min_position: Option<i64>,
    /// Seconds the client waits for the answer, such as `2.5`. What has not begun by then is not
    /// begun: `503`.
    #[param(rename = "X-Request-Timeout", exclusive_minimum = 0)]
    request_timeout: Option<f64>,
}

/// Of queries whose answers clients may keep.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
pub struct Validator {
    /// `ETag` of an answer the client has: `304` without a body if it is still the answer.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

/// Of answers that go on.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
pub struct Feed {
    /// Id of the last event you have got: what comes is after it.
    #[param(rename = "Last-Event-ID", minimum = 0)]
    last_event_id: Option<i64>,
}

/// Headers of every answer to [`Read`].
const READ_ANSWER: [(&str, Type, &str); 4] = [
    ("X-Position", Type::Integer, "How far the tables behind the answer are."),
    ("X-Stale", Type::Boolean, "`true` if that is before `X-Min-Position`: waiting was in vain."),
    ("X-Stale-Positions", Type::Integer, "By how many events of all stores; with `X-Stale`."),
    (
        "X-Stale-Seconds",
        Type::Number,
        "Age of the oldest event that is missing; with `X-Stale`, where it is known.",
    ),
];

/// Documents what an operation that takes [`Read`] answers beside the body.
pub(crate) fn answer(operation: &mut Operation) {
    let takes_position = operation.parameters.iter().flatten().any(
        |parameter| matches!(parameter, RefOr::T(parameter) if parameter.name == "X-Min-Position"),
    );
    let Some(RefOr::T(response)) = operation.responses.responses.get_mut("200") else { return };
    for (name, kind, description) in READ_ANSWER.into_iter().filter(|_| takes_position) {
        let mut header = Header::new(Object::with_type(kind));
        header.description = Some(description.to_owned());
        response.headers.insert(name.to_owned(), RefOr::T(header));
    }
}
