//! Headers as the document shows them: name these structs in `params(…)` of a handler.

#![expect(dead_code, reason = "read by the derive only")]

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
