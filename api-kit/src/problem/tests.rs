use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use tower::ServiceExt as _;

use super::*;
use crate::tests::{Answer, answer, edge};

async fn sent(problem: Problem) -> Answer {
    answer(problem.into_response()).await
}

#[tokio::test]
async fn a_problem_has_the_members_of_the_standard_and_ours() {
    let problem = Problem::new("insufficient_stock")
        .detail("3 of 5 are left")
        .extra("available", 3)
        .error(FieldError::field("/lines/0/quantity", "too_many", "only 3 are left"));
    let got = sent(problem).await;
    assert_eq!(
        got.body,
        json!({
            "type": "/problems/insufficient_stock",
            "title": "There is not enough stock",
            "status": 409,
            "code": "insufficient_stock",
            "detail": "3 of 5 are left",
            "errors": [{
                "pointer": "/lines/0/quantity",
                "code": "too_many",
                "detail": "only 3 are left",
            }],
            "retryable": false,
            "available": 3,
        })
    );
    assert_eq!(got.code(), "insufficient_stock");
}

#[tokio::test]
async fn waiting_is_at_least_a_second() {
    for (wait, seconds) in [(0, "1"), (1, "1"), (1500, "2"), (60_000, "60")] {
        let got = sent(Problem::unavailable(Duration::from_millis(wait))).await;
        assert_eq!((got.status.as_u16(), got.header("retry-after")), (503, Some(seconds)));
        assert_eq!(got.body["retryable"], true);
    }
}

#[tokio::test]
async fn the_cause_of_an_internal_problem_stays_inside() {
    let got = sent(Problem::internal(std::io::Error::other("relation \"x\" is missing"))).await;
    assert_eq!(got.code(), "internal");
    assert!(!got.body.to_string().contains("relation"));
}

#[test]
fn a_cause_is_told_with_everything_beneath() {
    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);
    assert_eq!(chain(&Outer(std::io::Error::other("inner"))), "outer: inner");
}

#[test]
#[should_panic(expected = "no_such_code is missing")]
fn a_code_outside_the_catalogue_is_a_mistake() {
    let _ = Problem::new("no_such_code");
}

#[tokio::test]
async fn all_refusals_are_told_at_once() {
    let mut check = Validation::new();
    check.that(true, "/fine", "never", "never");
    assert!(check.finish().is_ok());
    let mut check = Validation::new();
    check.that(false, "/title", "empty", "a product needs a title");
    check.refuse(FieldError::parameter("limit", "too_large", "at most 100"));
    let got = sent(check.finish().unwrap_err()).await;
    assert_eq!(got.refusal(), (422, "validation_failed", "/title empty".to_owned()));
    assert_eq!(got.body["errors"][1]["parameter"], "limit");
}

#[test]
fn the_catalogue_is_well_formed() {
    let codes: BTreeSet<&str> = CODES.iter().map(|row| row.code).collect();
    assert_eq!(codes.len(), CODES.len());
    assert!(CODES.is_sorted_by_key(|row| row.status));
    for Code { code, status, title, advice, .. } in CODES {
        assert!(code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{code}");
        assert!((400..600).contains(status), "{code}");
        assert!(!title.is_empty() && !advice.is_empty(), "{code}");
        assert!(![title, advice].iter().any(|text| text.contains(['<', '&'])), "{code}");
    }
    for status in 400..600 {
        assert!(known(codes::for_status(status)), "{status}");
    }
}

#[tokio::test]
async fn every_code_has_its_page() {
    let app = edge().wrap(pages::router());
    let list = Request::get("/problems").body(Body::empty()).unwrap();
    let list = answer(app.clone().oneshot(list).await.unwrap()).await;
    for row in list.body["data"].as_array().unwrap() {
        let page = Request::get(row["type"].as_str().unwrap()).body(Body::empty()).unwrap();
        let page = answer(app.clone().oneshot(page).await.unwrap()).await;
        assert_eq!((page.status.as_u16(), &page.body), (200, row));
    }
    let html = Request::get("/problems/internal").header("accept", "text/html,*/*");
    let html = app.clone().oneshot(html.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(html.headers()["content-type"], "text/html; charset=utf-8");
    let none = Request::get("/problems/none").body(Body::empty()).unwrap();
    assert_eq!(answer(app.oneshot(none).await.unwrap()).await.code(), "not_found");
}

/// `Problem::new` is called with a literal nearly everywhere: those can be checked without running
/// the line.
#[test]
fn every_code_named_in_the_apis_is_in_the_catalogue() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders: Vec<_> =
        ["api-kit/src", "write-api/src", "read-api/src", "src"].map(|name| root.join(name)).into();
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.ends_with("problem/tests.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for call in text.split("Problem::new(\"").skip(1) {
                let code = call.split('"').next().unwrap();
                assert!(known(code), "{code} in {}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "{seen}");
}
