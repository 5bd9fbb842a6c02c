//! Pages that explain the codes: `type` of a problem leads here.

use axum::extract::Path;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};
use axum::{Json, Router, routing};
use serde_json::{Value, json};

use super::{CODES, Code, Problem, codes};

/// `GET /problems` and `GET /problems/{code}`: HTML for browsers, else JSON. Public: the text is
/// the same for everyone.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/problems", routing::get(list))
        .route("/problems/{code}", routing::get(show))
}

async fn list(headers: HeaderMap) -> Response {
    if wants_html(&headers) {
        let rows: String = CODES.iter().map(row).collect();
        return page("Problems", &format!("<table>{rows}</table>"));
    }
    let all: Vec<Value> = CODES.iter().map(value).collect();
    Json(json!({ "data": all })).into_response()
}

async fn show(Path(code): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let code = codes::find(&code).ok_or_else(|| Problem::new("not_found"))?;
    if wants_html(&headers) {
        return Ok(page(code.title, &format!("<table>{}</table>", row(code))));
    }
    Ok(Json(value(code)).into_response())
}

fn value(code: &Code) -> Value {
    let Code { code, status, title, advice, retryable } = code;
    json!({
        "type": format!("/problems/{code}"),
        "code": code,
        "status": status,
        "title": title,
        "advice": advice,
        "retryable": retryable,
    })
}

fn row(code: &Code) -> String {
    // Only texts of the catalogue, which holds no markup (tested).
    let Code { code, status, title, advice, .. } = code;
    format!(
        "<tr><td>{status}</td><td><a href=\"/problems/{code}\">{code}</a></td>\
         <td>{title}</td><td>{advice}</td></tr>"
    )
}

fn page(title: &str, body: &str) -> Response {
    let head = format!("<meta charset=\"utf-8\"><title>{title}</title>");
    Html(format!(
        "<!doctype html><html lang=\"en\"><head>{head}</head><body><h1>{title}</h1>{body}</body></html>"
    ))
    .into_response()
}

fn wants_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}
