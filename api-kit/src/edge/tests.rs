use axum::http::{Request, StatusCode};
use axum::routing::get;
use tower::ServiceExt as _;

use super::*;
use crate::tests::{Answer, answer, edge};

async fn boom() -> StatusCode {
    panic!("the password is hunter2")
}

async fn slow() -> StatusCode {
    std::future::pending().await
}

async fn plain_refusal() -> (StatusCode, [(HeaderName, &'static str); 1], &'static str) {
    (StatusCode::IM_A_TEAPOT, [(header::VARY, "mood")], "SELECT * FROM secrets")
}

async fn plain_failure() -> (StatusCode, &'static str) {
    (StatusCode::BAD_GATEWAY, "SELECT * FROM secrets")
}

async fn internal() -> Problem {
    Problem::internal(std::io::Error::other("connection to 10.0.0.7 lost"))
}

fn router() -> Router {
    Router::new()
        .route("/fine", get(|| async { "fine" }))
        .route("/page", get(|| async { axum::response::Html("<p>") }))
        .route("/boom", get(boom))
        .route("/slow", get(slow))
        .route("/teapot", get(plain_refusal))
        .route("/gateway", get(plain_failure))
        .route("/internal", get(internal))
        .route("/bytes", axum::routing::post(|body: axum::body::Bytes| async move { body }))
}

async fn send(request: Request<Body>) -> Answer {
    answer(edge().wrap(router()).oneshot(request).await.unwrap()).await
}

async fn fetch(path: &str) -> Answer {
    send(Request::get(path).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn every_error_is_a_problem_with_the_request_id() {
    for (path, status, code) in [
        ("/nothing", 404, "route_not_found"),
        ("/boom", 500, "internal"),
        ("/internal", 500, "internal"),
        ("/gateway", 500, "internal"),
        ("/teapot", 400, "bad_request"),
    ] {
        let got = fetch(path).await;
        assert_eq!((got.status.as_u16(), got.code()), (status, code), "{path}");
        assert_eq!(got.body["trace_id"].as_str(), got.header("x-request-id"));
        assert_eq!(got.body["instance"], path);
        assert_eq!(got.header("cache-control"), Some("no-store"));
        let text = got.body.to_string();
        for secret in ["hunter2", "SELECT", "10.0.0.7"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    assert_eq!(fetch("/teapot").await.header("vary"), Some("mood"));
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let got = send(Request::delete("/fine").body(Body::empty()).unwrap()).await;
    assert_eq!((got.status, got.code()), (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"));
    assert_eq!(got.header("allow"), Some("GET,HEAD"));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_ended() {
    let got = fetch("/slow").await;
    assert_eq!((got.status, got.code()), (StatusCode::SERVICE_UNAVAILABLE, "timeout"));
    assert_eq!(got.header("retry-after"), Some("1"));
    assert_eq!(got.body["retryable"], true);
}

#[tokio::test]
async fn a_body_over_a_mebibyte_is_refused_announced_or_not() {
    let fits = Request::post("/bytes").body(Body::from(vec![b'x'; MAX_BODY_BYTES])).unwrap();
    assert_eq!(send(fits).await.status, 200);
    let large = vec![b'x'; MAX_BODY_BYTES + 1];
    let announced = Request::post("/bytes").body(Body::from(large.clone())).unwrap();
    assert_eq!(send(announced).await.code(), "body_too_large");
    let chunk: Result<_, std::io::Error> = Ok(axum::body::Bytes::from(large));
    let stream = Body::from_stream(futures::stream::iter([chunk]));
    let got = send(Request::post("/bytes").body(stream).unwrap()).await;
    assert_eq!((got.status, got.code()), (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"));
}

#[tokio::test]
async fn a_sane_request_id_is_echoed_and_another_replaced() {
    let own = Uuid::from_u128(7).to_string();
    let long = "x".repeat(129);
    for (sent, kept) in [
        ("abc-123", true),
        ("0195f0a1-0000-7000-8000-000000000001", true),
        ("", false),
        ("a b", false),
        ("a\"b", false),
        (long.as_str(), false),
    ] {
        let request = Request::get("/fine").header("x-request-id", sent);
        let got = send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(got.header("x-request-id"), Some(if kept { sent } else { &own }), "{sent}");
    }
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    for path in ["/fine", "/nothing", "/boom"] {
        let got = fetch(path).await;
        assert_eq!(got.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(got.header("cache-control"), Some("no-store"));
        assert_eq!(got.header("x-frame-options"), Some("DENY"));
        assert_eq!(got.header("content-security-policy"), Some(API_POLICY));
        assert!(got.header("strict-transport-security").is_some());
    }
    let policy = fetch("/page").await;
    assert!(policy.header("content-security-policy").unwrap().contains("script-src 'self'"));
}

/// Sends `request` over a real connection and reads until the server closes.
async fn over_tcp(request: Vec<u8>) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = axum::serve(listener, edge().wrap(router()));
    let client = async {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(&request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    tokio::select! {
        end = server.into_future() => panic!("the server ended: {end:?}"),
        answer = client => answer,
    }
}

#[tokio::test]
async fn a_refused_client_that_still_sends_reads_why() {
    for (path, size, code) in [
        ("/bytes", MAX_BODY_BYTES + 1, "413"),
        ("/bytes", 10_000_000, "413"),
        ("/nothing", 1_000_000, "404"),
        ("/fine", 1_000_000, "405"),
    ] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {size}\r\n\r\n"
        );
        let request = [head.into_bytes(), vec![b'x'; size]].concat();
        let answer = over_tcp(request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{answer}");
        assert!(answer.ends_with('}'), "{answer}");
    }
}

#[tokio::test]
async fn an_error_to_head_has_no_body() {
    let request = b"HEAD /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = over_tcp(request.to_vec()).await;
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn what_never_ends_is_not_read_for_ever() {
    let piece = axum::body::Bytes::from(vec![b'x'; 1024 * 1024]);
    let endless = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()));
    let request = Request::post("/nothing").body(Body::from_stream(endless)).unwrap();
    assert_eq!(send(request).await.code(), "route_not_found");
}
