use std::collections::BTreeMap;

use axum::body::Body as Bytes;
use axum::http::Request;
use serde::Deserialize;
use utoipa_axum::routes;

use super::*;
use crate::auth::Permission;
use crate::routes::Api;
use crate::tests::{Answer, ask, json, send};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lines {
    #[expect(dead_code, reason = "read only")]
    name: String,
    #[serde(default)]
    #[expect(dead_code, reason = "read only")]
    lines: Vec<Line>,
    #[serde(default)]
    #[expect(dead_code, reason = "read only")]
    notes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[expect(dead_code, reason = "read only")]
    #[serde(rename = "a/b~c")]
    count: i64,
    #[expect(dead_code, reason = "read only")]
    variant_id: Option<event_schemas::ids::VariantId>,
}

#[utoipa::path(post, path = "/lines")]
async fn take(body: Body<Lines>) -> String {
    format!("{:?}", body.digest.len())
}

#[utoipa::path(post, path = "/nothing")]
async fn take_nothing(_: NoBody) -> String {
    "\"fine\"".to_owned()
}

async fn to(path: &str, kind: Option<&str>, body: Vec<u8>) -> Answer {
    let api = Api::new()
        .route(Permission::OrdersWrite, routes!(take))
        .route(Permission::OrdersWrite, routes!(take_nothing));
    let mut request = ask("POST", path);
    if let Some(kind) = kind {
        request = request.header("content-type", kind);
    }
    send(api, request.body(Bytes::from(body)).unwrap()).await
}

async fn post(body: impl Into<Vec<u8>>) -> Answer {
    to("/lines", Some("application/json"), body.into()).await
}

#[tokio::test]
async fn a_good_body_is_read() {
    for kind in ["application/json", "Application/JSON; charset=utf-8", "application/x.y+json"] {
        let got = to("/lines", Some(kind), br#" {"name":"x"} "#.to_vec()).await;
        assert_eq!((got.status.as_u16(), got.body), (200, 32.into()), "{kind}");
    }
}

#[tokio::test]
async fn what_is_not_json_is_malformed() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let deep_inside = format!(r#"{{"name":"x","unknown":{deep}}}"#);
    let open = "[".repeat(1_000_000);
    for body in [
        "{",
        "{\"name\":}",
        "nonsense",
        "{\"name\":\"x\"} trailing",
        "{'name':'x'}",
        "{\"name\":NaN}",
        "{\"name\":Infinity}",
        "{\"name\":1e999}",
        "{\"name\":01}",
        "{\"name\":\"line\nbreak\"}",
        "{\"name\":\"\\ud800\"}",
        "\u{feff}{\"name\":\"x\"}",
        // Wrong and malformed: the text as a whole is not JSON.
        "{\"name\":5, \"lines\":[}",
        &deep,
        &deep_inside,
        &open,
        "   ",
    ] {
        let got = post(body).await;
        let start: String = body.chars().take(30).collect();
        assert_eq!((got.status.as_u16(), got.code()), (400, "malformed_json"), "{start}");
    }
    for bytes in [&b"{\"name\":\"\xff\"}"[..], b"\xc3\x28", b"{\"name\":\"\xed\xa0\x80\"}"] {
        assert_eq!(post(bytes).await.code(), "malformed_json");
    }
    assert_eq!(post("").await.code(), "empty_body");
    assert_eq!(to("/lines", None, vec![]).await.code(), "empty_body");
}

#[tokio::test]
async fn what_is_not_declared_as_json_is_refused() {
    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("json"),
        Some("multipart/form-data; boundary=x"),
        Some("application/jsonx"),
        Some(""),
    ] {
        let got = to("/lines", kind, br#"{"name":"x"}"#.to_vec()).await;
        let got = (got.status.as_u16(), got.code());
        assert_eq!(got, (415, "unsupported_media_type"), "{kind:?}");
    }
}

#[tokio::test]
async fn two_megabytes_are_too_large() {
    let got = post(format!(r#"{{"name":"{}"}}"#, "x".repeat(2_000_000))).await;
    assert_eq!((got.status.as_u16(), got.code()), (413, "body_too_large"));
}

#[tokio::test]
async fn a_wrong_field_is_pointed_at() {
    for (body, place) in [
        (r"{}", "/name missing"),
        (r#"{"name":5}"#, "/name wrong_type"),
        (r#"{"name":null}"#, "/name wrong_type"),
        (r#"{"name":"x","name":"y"}"#, "/name duplicate_field"),
        (r#"{"name":"x","price":1}"#, "/price unknown_field"),
        (r#"{"name":"x","store_id":"sto_1"}"#, "/store_id unknown_field"),
        (r#"{"name":"x","lines":[{"a/b~c":1},{"a/b~c":1.5}]}"#, "/lines/1/a~1b~0c wrong_type"),
        (r#"{"name":"x","lines":[{}]}"#, "/lines/0/a~1b~0c missing"),
        (r#"{"name":"x","lines":[{"a/b~c":9223372036854775808}]}"#, "/lines/0/a~1b~0c invalid"),
        (r#"{"name":"x","lines":[{"a/b~c":1,"variant_id":"xyz"}]}"#, "/lines/0/variant_id invalid"),
        (
            r#"{"name":"x","lines":[{"a/b~c":1,"variant_id":"ord_00000000000000000000000001"}]}"#,
            "/lines/0/variant_id wrong_id_type",
        ),
        (r#"{"name":"x\u0000y"}"#, "/name nul_character"),
        (r#"{"name":"x","notes":{"k":"\u0000"}}"#, "/notes/k nul_character"),
        (r#"{"name":"x","notes":{"\u0000":"v"}}"#, "/notes nul_character"),
        (r#""text""#, " wrong_type"),
        ("null", " wrong_type"),
        ("17", " wrong_type"),
    ] {
        let got = post(body).await;
        assert_eq!(got.refusal(), (422, "validation_failed", place.to_owned()), "{body}");
    }
    // A name that does not exist is not repeated at any length.
    let got = post(format!(r#"{{"{}":1}}"#, "x".repeat(100_000))).await;
    assert!(got.body["errors"][0]["detail"].as_str().unwrap().len() < 600);
    assert!(got.body.to_string().len() < 2_000, "{}", got.body.to_string().len());
}

#[tokio::test]
async fn a_command_without_a_body_takes_none_or_an_empty_object() {
    for body in ["", "  ", "{}", " { \n } "] {
        assert_eq!(to("/nothing", None, body.into()).await.status, 200, "{body}");
    }
    for body in ["[]", "{\"a\":1}", "x", "{", "}", "null"] {
        assert_eq!(to("/nothing", None, body.into()).await.code(), "unexpected_body", "{body}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_bad_request() {
    let broken: Result<&str, _> = Err(std::io::Error::other("reset"));
    let stream = Bytes::from_stream(futures::stream::iter([Ok("{\"name\":"), broken]));
    let api = Api::new().route(Permission::OrdersWrite, routes!(take));
    let request: Request<Bytes> = json("POST", "/lines", stream);
    assert_eq!(send(api, request).await.code(), "bad_request");
}
