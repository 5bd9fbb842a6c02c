//! Errors as clients see them: RFC 9457 problem documents.
//!
//! The code of a problem decides its status, title and advice; see [`codes`] for the catalogue.

use std::error::Error;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::openapi::{RefOr, schema::Schema};

pub use codes::{CODES, Code, known};

pub mod codes;
pub mod pages;

/// Media type of every error answer.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Characters of a sentence or pointer. Parsers quote what the client sent, at any length.
const MAX_CHARS: usize = 500;

/// An error as a client sees it.
///
/// Its code is the contract: it never changes and clients may branch on it. Title and detail are
/// for people and may change at any time.
#[derive(Clone, Debug)]
pub struct Problem(Box<Document>);

/// RFC 9457 with our members.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
struct Document {
    /// Page that explains the code.
    #[serde(rename = "type")]
    #[schema(example = "/problems/validation_failed")]
    page: String,
    /// What the code means, for people.
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 422)]
    status: u16,
    /// Stable name of what went wrong.
    #[schema(example = "validation_failed")]
    code: &'static str,
    /// What happened this time, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    /// Every field that was refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// Whether the same request, with the same `Idempotency-Key`, may succeed later.
    retryable: bool,
    /// Id of the request, as in `X-Request-Id`. Quote it when you ask for help.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    /// Members of this code, such as `current_version` or `available`.
    #[serde(flatten)]
    extra: Map<String, Value>,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

/// What is wrong with one field of the body or one parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// JSON pointer into the body (RFC 6901); empty for the body as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/lines/0/quantity")]
    pub pointer: Option<String>,
    /// Name of the query, path or header parameter, when it is not the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// Stable name of what is wrong.
    #[schema(example = "out_of_range")]
    pub code: &'static str,
    /// The same for people.
    pub detail: String,
}

impl FieldError {
    /// A refused field of the body; `pointer` as in RFC 6901, such as `/lines/0/quantity`.
    pub fn field(pointer: impl AsRef<str>, code: &'static str, detail: impl AsRef<str>) -> Self {
        let pointer = Some(shorten(pointer.as_ref()));
        FieldError { pointer, parameter: None, code, detail: shorten(detail.as_ref()) }
    }

    /// A refused query, path or header parameter.
    pub fn parameter(name: impl AsRef<str>, code: &'static str, detail: impl AsRef<str>) -> Self {
        let parameter = Some(shorten(name.as_ref()));
        FieldError { pointer: None, parameter, code, detail: shorten(detail.as_ref()) }
    }
}

impl Problem {
    /// A problem of the catalogue.
    ///
    /// # Panics
    ///
    /// In debug builds if `code` is not in [`CODES`]; in release builds the answer is then a 500.
    pub fn new(code: &'static str) -> Problem {
        let known = codes::find(code);
        debug_assert!(known.is_some(), "problem code {code} is missing in api_kit::problem::CODES");
        let entry = known.unwrap_or_else(|| {
            tracing::error!(code, "problem code is not in the catalogue");
            &codes::INTERNAL
        });
        Problem(Box::new(Document {
            page: format!("/problems/{}", entry.code),
            title: entry.title,
            status: entry.status,
            code: entry.code,
            detail: None,
            instance: None,
            errors: Vec::new(),
            retryable: entry.retryable,
            trace_id: None,
            extra: Map::new(),
            retry_after: None,
        }))
    }

    /// Adds a sentence about this occurrence. Never put ids of other stores or secrets here.
    pub fn detail(mut self, detail: impl Into<String>) -> Problem {
        self.0.detail = Some(shorten(&detail.into()));
        self
    }

    /// Adds a member of this code, such as `current_version`. The names of RFC 9457 are taken.
    pub fn extra(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.0.extra.insert(name.to_owned(), value.into());
        self
    }

    /// Adds what is wrong with one field or parameter.
    pub fn error(mut self, error: FieldError) -> Problem {
        self.0.errors.push(error);
        self
    }

    /// Says when a retry makes sense: `Retry-After` in whole seconds, at least 1.
    pub fn retry_after(mut self, wait: Duration) -> Problem {
        self.0.retry_after = Some(wait);
        self
    }

    /// `500`. Logs the cause, with everything beneath it, because the client must not see it; this
    /// is the only place that does, so a failure is logged once.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Problem {
        let cause = cause.into();
        tracing::error!(error = %chain(&*cause), "request failed");
        Problem::new("internal")
    }

    /// `503` with `Retry-After`: a part we depend on is away. Log the cause where it is known.
    pub fn unavailable(retry_after: Duration) -> Problem {
        Problem::new("unavailable").retry_after(retry_after)
    }

    /// `422` about one field of the body.
    pub fn invalid(pointer: &str, code: &'static str, detail: impl AsRef<str>) -> Problem {
        Problem::new("validation_failed").error(FieldError::field(pointer, code, detail))
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// Fills in what only the edge knows.
    pub(crate) fn about(mut self, trace_id: &str, path: &str) -> Problem {
        self.0.trace_id = Some(trace_id.to_owned());
        self.0.instance = Some(path.to_owned());
        self
    }
}

/// An error and all its sources, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&*self.0).expect("a problem is JSON");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(wait) = self.0.retry_after {
            let seconds = wait.as_secs_f64().ceil().max(1.0);
            let seconds = HeaderValue::try_from(seconds.to_string());
            headers.insert(header::RETRY_AFTER, seconds.expect("a number is a header value"));
        }
        if self.0.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // For the edge, which adds the request id.
        response.extensions_mut().insert(self);
        response
    }
}

impl utoipa::PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        Document::schema()
    }
}

impl utoipa::ToSchema for Problem {
    fn name() -> std::borrow::Cow<'static, str> {
        "Problem".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push(("FieldError".to_owned(), <FieldError as utoipa::PartialSchema>::schema()));
    }
}

/// Gathers everything that is wrong with a body, so that the client hears of all of it at once.
///
/// ```text
/// let mut check = Validation::new();
/// check.that(!body.title.is_empty(), "/title", "empty", "a product needs a title");
/// check.finish()?;
/// ```
#[derive(Debug, Default)]
pub struct Validation(Vec<FieldError>);

impl Validation {
    pub fn new() -> Validation {
        Validation::default()
    }

    /// Notes a refusal of the field at `pointer` unless `holds`.
    pub fn that(&mut self, holds: bool, pointer: &str, code: &'static str, detail: &str) {
        if !holds {
            self.0.push(FieldError::field(pointer, code, detail));
        }
    }

    /// Notes a refusal.
    pub fn refuse(&mut self, error: FieldError) {
        self.0.push(error);
    }

    /// `422` with every refusal, if there is one.
    pub fn finish(self) -> Result<(), Problem> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(self.0.into_iter().fold(Problem::new("validation_failed"), Problem::error))
    }
}

#[cfg(test)]
mod tests;
