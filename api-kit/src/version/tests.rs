use axum::body::Body;
use axum::http::Request;

use super::*;
use crate::position::{MinPosition, Position};

async fn read(values: &[&str]) -> Result<IfMatch, &'static str> {
    let mut request = Request::builder();
    for value in values {
        request = request.header("if-match", *value);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    IfMatch::from_request_parts(&mut parts, &()).await.map_err(|problem| problem.code())
}

#[tokio::test]
async fn a_version_is_read_and_anything_else_refused() {
    assert_eq!(read(&[]).await, Ok(IfMatch::Absent));
    assert_eq!(read(&["*"]).await, Ok(IfMatch::Any));
    assert_eq!(read(&["\"v17\""]).await, Ok(IfMatch::Version(17)));
    assert_eq!(read(&[" W/\"v17\" "]).await, Ok(IfMatch::Version(17)));
    assert_eq!(read(&["\"v17-x_-9\""]).await, Ok(IfMatch::Version(17)));
    assert_eq!(read(&["\"v0\""]).await, Ok(IfMatch::Version(0)));
    for text in [
        "v17",
        "\"17\"",
        "\"v\"",
        "\"v-1\"",
        "\"v1-\"",
        "\"v+1\"",
        "\"v1",
        "17",
        "",
        "\"v1\", \"v2\"",
        "\"v99999999999999999999\"",
        "\"v1.0\"",
        "W/*",
        "\"V1\"",
        "ü",
    ] {
        assert_eq!(read(&[text]).await, Err("malformed_header"), "{text}");
    }
    assert_eq!(read(&["\"v1\"", "\"v1\""]).await, Err("malformed_header"));
}

#[test]
fn what_overwrites_needs_a_condition() {
    assert_eq!(IfMatch::Absent.expected(), None);
    assert_eq!(IfMatch::Version(3).expected(), Some(3));
    assert_eq!(IfMatch::Absent.required().unwrap_err().status(), 428);
    assert_eq!(IfMatch::Any.required().unwrap(), None);
    assert_eq!(IfMatch::Version(3).required().unwrap(), Some(3));
}

#[tokio::test]
async fn an_answer_says_version_and_position() {
    use axum::response::IntoResponse as _;
    let response = (Etag(17), Position(184_467), Body::empty()).into_response();
    assert_eq!(response.headers()["etag"], "\"v17\"");
    assert_eq!(response.headers()["x-position"], "184467");
}

#[tokio::test]
async fn a_least_position_is_a_whole_number() {
    let read = async |values: &[&str]| {
        let mut request = Request::builder();
        for value in values {
            request = request.header("x-min-position", *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let read = MinPosition::from_request_parts(&mut parts, &()).await;
        read.map(|MinPosition(position)| position).map_err(|problem| problem.code())
    };
    assert_eq!(read(&[]).await, Ok(None));
    assert_eq!(read(&["0"]).await, Ok(Some(0)));
    assert_eq!(read(&["184467"]).await, Ok(Some(184_467)));
    for text in ["", "-1", "+1", "1.5", "x", "9223372036854775808", "1 2"] {
        assert_eq!(read(&[text]).await, Err("malformed_header"), "{text}");
    }
    assert_eq!(read(&["1", "2"]).await, Err("malformed_header"));
}
