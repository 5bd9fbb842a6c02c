//! What every route owes everybody: refusals that are problems, and no way in without a token.

use api_kit::Permission;
use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};

use crate::app::{App, STORE, story};

#[test]
fn a_route_without_a_token_or_permission_is_closed() {
    story(async |app: App| {
        let document = conche::http::document().unwrap();
        let document = serde_json::to_value(document).unwrap();
        let reader = app.token(STORE, &[]);
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                if operation.get("x-public").is_some() {
                    continue;
                }
                let method: Method = method.to_uppercase().parse().unwrap();
                let path = concrete(path);
                let request = || Request::builder().method(method.clone()).uri(&path);
                let stranger = app.send(request().body(Body::empty()).unwrap()).await;
                assert_eq!(stranger.status, StatusCode::UNAUTHORIZED, "{method} {path}");
                let powerless = request().header(header::AUTHORIZATION, format!("Bearer {reader}"));
                let powerless = app.send(powerless.body(Body::empty()).unwrap()).await;
                assert_eq!(powerless.status, StatusCode::FORBIDDEN, "{method} {path}");
            }
        }
    });
}

#[test]
fn no_unknown_id_gives_anything_but_a_problem() {
    story(async |app: App| {
        let document = serde_json::to_value(conche::http::document().unwrap()).unwrap();
        let mut tried = 0;
        for (path, item) in document["paths"].as_object().unwrap() {
            if !path.contains('{') {
                continue;
            }
            for method in item.as_object().unwrap().keys() {
                let method: Method = method.to_uppercase().parse().unwrap();
                let path = concrete(path);
                let request = app.request(method.clone(), &path);
                let request = request.header("idempotency-key", "k").header("if-match", "\"v1\"");
                let request = request.header(header::CONTENT_TYPE, "application/json");
                let body = if method == Method::GET { "" } else { "{}" };
                let answer = app.send(request.body(Body::from(body)).unwrap()).await;
                assert!(answer.status.is_client_error(), "{method} {path}: {:#}", answer.body);
                assert_eq!(answer.header("content-type"), "application/problem+json");
                tried += 1;
            }
        }
        assert!(tried > 10, "the document has {tried} routes with ids");
    });
}

#[test]
fn hostile_bodies_are_refused_before_anything_is_looked_at() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let large = format!("{{\"title\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    let cases: [(&str, Vec<u8>, u16); 9] = [
        ("cut off", b"{\"title\":".to_vec(), 400),
        ("not JSON", b"title=bar".to_vec(), 400),
        ("empty", b"".to_vec(), 400),
        ("not UTF-8", b"{\"title\":\"\xff\xfe\"}".to_vec(), 400),
        ("deep", deep.into_bytes(), 400),
        ("NaN", b"{\"title\":NaN}".to_vec(), 400),
        ("large", large.into_bytes(), 413),
        ("twice", b"{\"title\":\"a\",\"title\":\"b\"}".to_vec(), 422),
        ("a list", b"[]".to_vec(), 422),
    ];
    story(async move |app: App| {
        for (name, body, status) in cases {
            let request = app.request(Method::POST, "/api/v1/products");
            let request = request.header(header::CONTENT_TYPE, "application/json");
            let answer = app.send(request.body(Body::from(body)).unwrap()).await;
            assert_eq!(answer.status.as_u16(), status, "{name}: {:#}", answer.body);
            assert_eq!(answer.header("content-type"), "application/problem+json", "{name}");
        }
        let form = app.request(Method::POST, "/api/v1/products");
        let form = form.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = app.send(form.body(Body::from("title=bar")).unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    });
}

#[test]
fn odd_queries_are_refused_and_never_a_fault() {
    let cases = [
        ("/api/v1/products?limit=0", 422),
        ("/api/v1/products?limit=101", 422),
        ("/api/v1/products?limit=ten", 422),
        ("/api/v1/products?colour=brown", 422),
        ("/api/v1/products?after=rubbish", 400),
        ("/api/v1/products/search?q=%00", 422),
        ("/api/v1/products?vendor=%25%27%22%5C_%F0%9F%8D%AB%E2%80%AE", 200),
        ("/api/v1/orders?status=eaten", 422),
        ("/api/v1/analytics/sales?dateFrom=2026-02-30&dateTo=2026-03-01&granularity=day", 422),
        ("/api/v1/analytics/sales?dateFrom=2026-03-02&dateTo=2026-03-01&granularity=day", 422),
        ("/api/v1/analytics/sales?dateFrom=0001-01-01&dateTo=9999-12-31&granularity=day", 422),
        ("/api/v1/analytics/sales?dateFrom=2026-03-01&dateTo=2026-03-02&granularity=century", 422),
        ("/api/v1/analytics/sales", 422),
        ("/api/v1/products/ord_00000000000000000000000000", 422),
        ("/api/v1/products/prd_zzz", 404),
        ("/api/v1/nothing", 404),
    ];
    story(async move |app: App| {
        for (path, status) in cases {
            let answer = app.get(path).await;
            assert_eq!(answer.status.as_u16(), status, "{path}: {:#}", answer.body);
        }
        let long = format!("/api/v1/products/search?q={}", "a".repeat(10_000));
        let answer = app.get(&long).await;
        assert!(answer.status.is_client_error() || answer.status.is_success());
    });
}

#[test]
fn a_token_of_another_installation_opens_nothing() {
    story(async |app: App| {
        let (foreign, _) = api_kit::TokenKeys::generate().unwrap();
        let request = api_kit::TokenRequest {
            actor_id: event_schemas::ids::ActorId::derive(&[b"mallory"]),
            store_id: event_schemas::ids::StoreId::of_slug(STORE),
            store_slug: STORE.to_owned(),
            permissions: Permission::ALL.to_vec(),
            lifetime: chrono::TimeDelta::days(1),
        };
        let token = foreign.issue(&request, app.ctx.now());
        let request = Request::get("/api/v1/products");
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        let answer = app.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    });
}

#[test]
fn probes_answer_without_a_token() {
    story(async |app: App| {
        app.project().await;
        for path in ["/health/live", "/health/ready", "/metrics", "/openapi.json", "/problems"] {
            let answer = app.send(Request::get(path).body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {:#}", answer.body);
        }
        let page = app.send(Request::get("/docs/").body(Body::empty()).unwrap()).await;
        assert_eq!(page.status, StatusCode::OK);
        let door = app.send(Request::get("/").body(Body::empty()).unwrap()).await;
        assert_eq!(door.header("location"), "/docs/");
    });
}

/// The path with an id of the right kind in place of each parameter.
fn concrete(path: &str) -> String {
    let mut path = path.to_owned();
    while let Some((start, end)) = path.find('{').zip(path.find('}')) {
        let prefix = match &path[start + 1..end] {
            "product_id" => "prd",
            "variant_id" => "var",
            "checkout_id" => "chk",
            "order_id" => "ord",
            _ => "",
        };
        let id = match prefix {
            "" => "nothing".to_owned(),
            prefix => format!("{prefix}_01JD5ZK6V8E4R9T2Q7WX3Y0ABC"),
        };
        path.replace_range(start..=end, &id);
    }
    path
}
