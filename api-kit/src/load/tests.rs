use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use tower::ServiceExt as _;
use utoipa_axum::routes;

use super::*;
use crate::journal::Refused;
use crate::routes::Api;
use crate::tests::{Answer, answer, ask, edge, json, token_of};
use crate::{Caller, NoBody, Permission};

async fn wait() -> StatusCode {
    std::future::pending().await
}

#[utoipa::path(get, path = "/read")]
async fn read() -> StatusCode {
    wait().await
}

#[utoipa::path(post, path = "/low")]
async fn low() -> StatusCode {
    wait().await
}

#[utoipa::path(post, path = "/normal")]
async fn normal() -> StatusCode {
    wait().await
}

#[utoipa::path(post, path = "/high")]
async fn high(_: Caller) -> StatusCode {
    wait().await
}

#[utoipa::path(post, path = "/patience/{id}", tag = "patience")]
async fn patience(class: Class, deadline: Deadline, _: NoBody) -> String {
    let left = deadline.within(Duration::MAX).as_millis();
    format!("\"{class:?} {left}\"")
}

fn api() -> Api {
    Api::new()
        .route(Permission::OrdersRead, routes!(read))
        .route(Permission::OrdersWrite, routes!(low))
        .classed(Class::Normal, Permission::OrdersWrite, routes!(normal))
        .classed(Class::High, Permission::OrdersWrite, routes!(high))
        .classed(Class::High, Permission::OrdersWrite, routes!(patience))
        .public("probes carry no token", routes!(health))
}

#[utoipa::path(get, path = "/health")]
async fn health() -> StatusCode {
    StatusCode::NO_CONTENT
}

fn app(limits: Limits) -> Router {
    edge().limited(limits).wrap(api().finish().unwrap().0)
}

async fn send(app: &Router, request: Request<Body>) -> Answer {
    answer(app.clone().oneshot(request).await.unwrap()).await
}

/// Begins a request that waits in its handler, if there is a place for it.
#[expect(clippy::disallowed_methods, reason = "the test waits for it")]
async fn begin(app: &Router, method: &str, path: &str) -> tokio::task::JoinHandle<StatusCode> {
    let request = ask(method, path).body(Body::empty()).unwrap();
    let app = app.clone();
    let task = tokio::spawn(async move { send(&app, request).await.status });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    task
}

#[tokio::test]
async fn each_class_has_its_share_and_what_finds_none_is_told_at_once() {
    let app = app(Limits { commands: 8, queries: 1 });
    let mut begun = Vec::new();
    for (path, fit) in [("/low", 4), ("/normal", 3), ("/high", 1), ("/read", 1)] {
        let method = if path == "/read" { "GET" } else { "POST" };
        for _ in 0..fit {
            let task = begin(&app, method, path).await;
            assert!(!task.is_finished(), "{path}");
            begun.push(task);
        }
        let refused = send(&app, ask(method, path).body(Body::empty()).unwrap()).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (503, "overloaded"), "{path}");
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!(refused.body["retryable"], true);
    }
    // Who is not even known is told the same, and probes are for everybody.
    let naked = Request::post("/high").body(Body::empty()).unwrap();
    assert_eq!(send(&app, naked).await.code(), "overloaded");
    assert_eq!(send(&app, Request::get("/health").body(Body::empty()).unwrap()).await.status, 204);

    // Whoever ends makes room.
    for task in begun {
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    for (method, path) in [("POST", "/low"), ("GET", "/read")] {
        let task = begin(&app, method, path).await;
        assert!(!task.is_finished(), "{path}");
        task.abort();
    }
}

#[tokio::test]
async fn those_who_may_not_take_no_place() {
    let app = app(Limits { commands: 8, queries: 1 });
    for _ in 0..3 {
        let bearer = format!("Bearer {}", token_of("demo", &[]));
        let powerless = Request::get("/read").header("authorization", bearer);
        assert_eq!(send(&app, powerless.body(Body::empty()).unwrap()).await.code(), "forbidden");
    }
    let those_who_may = begin(&app, "GET", "/read").await;
    assert!(!those_who_may.is_finished());
    those_who_may.abort();
}

#[tokio::test(start_paused = true)]
async fn what_there_is_no_place_for_is_not_waited_for_either() {
    let app = app(Limits { commands: 0, queries: 0 });
    let never = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let began = Instant::now();
    let refused = send(&app, json("POST", "/high", never)).await;
    assert_eq!(refused.code(), "overloaded");
    assert!(began.elapsed() < Duration::from_millis(5), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_can_be_less_patient_and_not_more() {
    let app = app(Limits::default());
    let ask = |text: Option<&str>| {
        let request = ask("POST", "/patience/7");
        let request = text.into_iter().fold(request, |it, text| it.header(TIMEOUT_HEADER, text));
        request.body(Body::empty()).unwrap()
    };
    for (text, left) in [
        (None, 25_000),
        (Some("2"), 2_000),
        (Some("2.5"), 2_500),
        (Some("0.007"), 7),
        (Some("86400.001"), 25_000),
    ] {
        let got = send(&app, ask(text)).await;
        assert_eq!(got.body, format!("High {left}"), "{text:?}");
    }
    for text in ["", "0", "0.000", "-1", "+1", "1.", ".5", "1.0005", "1e3", "1,5", "9999999999"] {
        let got = send(&app, ask(Some(text))).await;
        let place = "X-Request-Timeout invalid".to_owned();
        assert_eq!(got.refusal(), (400, "malformed_header", place), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_impatient_request_is_ended_sooner() {
    let app = app(Limits::default());
    let began = Instant::now();
    let request = ask("GET", "/read").header(TIMEOUT_HEADER, "0.1").body(Body::empty()).unwrap();
    assert_eq!(send(&app, request).await.code(), "timeout");
    assert_eq!(began.elapsed(), Duration::from_millis(5_100));
}

#[tokio::test]
async fn refusals_of_known_people_are_told_to_the_journal() {
    let journal = Arc::new(Mutex::new(Vec::<Refused>::new()));
    let noted = Arc::clone(&journal);
    let note = move |refused| noted.lock().unwrap().push(refused);
    let app = edge().with_journal(note).wrap(api().finish().unwrap().0);
    let path = "/patience/ord_01JD5ZK6V8E4R9T2Q7WX3Y0ABC?mail=ada@example.com";

    assert_eq!(send(&app, json("POST", path, "")).await.status, 200);
    assert_eq!(send(&app, Request::post(path).body(Body::empty()).unwrap()).await.status, 401);
    let wrong = ask("GET", "/read").header("x-store-id", "other").body(Body::empty()).unwrap();
    assert_eq!(send(&app, wrong).await.status, 403);
    assert!(journal.lock().unwrap().is_empty());

    assert_eq!(send(&app, json("POST", path, "7")).await.code(), "unexpected_body");
    let bearer = format!("Bearer {}", token_of("demo", &[]));
    let powerless = Request::post(path).header("authorization", bearer);
    assert_eq!(send(&app, powerless.body(Body::empty()).unwrap()).await.code(), "forbidden");
    let wrong = ask("POST", path).header("x-store-id", "other").body(Body::empty()).unwrap();
    assert_eq!(send(&app, wrong).await.code(), "wrong_store");

    let noted = journal.lock().unwrap();
    let codes: Vec<_> = noted.iter().map(|it| (it.status, it.code)).collect();
    assert_eq!(codes, [(422, "unexpected_body"), (403, "forbidden"), (403, "wrong_store")]);
    for refused in &*noted {
        assert_eq!(refused.store_id, crate::tests::store());
        assert_eq!(refused.operation, "patience_patience");
        assert_eq!(refused.path, path.split_once('?').unwrap().0);
    }
}
