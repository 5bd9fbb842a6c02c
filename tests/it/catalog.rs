//! Products and stock through the API: made, described, published, received, refused.

use api_kit::Permission;
use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use serde_json::{Value, json};

use crate::app::{App, STORE, story};

#[test]
fn a_product_is_made_published_and_found_with_its_price_and_stock() {
    story(async |app: App| {
        let product = app.product("Sea Salt Bar", 450, 12).await;
        app.project().await;

        let shown = app.get(&format!("/api/v1/products/{}", product.id)).await;
        assert_eq!(shown.status, StatusCode::OK, "{:#}", shown.body);
        assert_eq!(shown.text("/handle"), "sea-salt-bar");
        assert_eq!(shown.text("/status"), "active");
        let variant = &shown.body["variants"][0];
        assert_eq!(variant["price"], json!({ "amount_minor": 450, "currency": "GBP" }));
        assert_eq!(variant["available"], 12, "{variant:#}");

        let listed = app.get("/api/v1/products?status=active").await;
        assert_eq!(listed.body["data"].as_array().unwrap().len(), 1);
        assert_eq!(listed.body["page"]["has_more"], false);
    });
}

#[test]
fn a_repeated_command_has_one_effect_and_the_same_answer() {
    story(async |app: App| {
        let body = json!({ "title": "Praline box", "variants": [{ "sku": "PRA-9" }] });
        let first = app.post_keyed("/api/v1/products", "key-1", &body).await;
        let again = app.post_keyed("/api/v1/products", "key-1", &body).await;
        assert_eq!(first.status, StatusCode::CREATED);
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_eq!(again.header("idempotent-replayed"), "true");
        assert_eq!(first.header("idempotent-replayed"), "");
        assert_eq!(again.header("x-position"), first.header("x-position"));

        let other = json!({ "title": "Another box" });
        let refused = app.post_keyed("/api/v1/products", "key-1", &other).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(refused.text("/code"), "idempotency_key_reused");
        app.project().await;
        let listed = app.get("/api/v1/products").await;
        assert_eq!(listed.body["data"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn two_requests_with_one_key_at_once_have_one_effect() {
    story(async |app: App| {
        let body = json!({ "title": "Praline box" });
        let (a, b) = tokio::join!(
            app.post_keyed("/api/v1/products", "key-1", &body),
            app.post_keyed("/api/v1/products", "key-1", &body),
        );
        assert_eq!((a.status, b.status), (StatusCode::CREATED, StatusCode::CREATED));
        assert_eq!(a.body, b.body);
    });
}

#[test]
fn an_edit_needs_the_version_it_was_made_on() {
    story(async |app: App| {
        let product = app.product("Dark bar", 400, 0).await;
        let path = format!("/api/v1/products/{}", product.id);
        let edit = async |if_match: Option<&str>, title: &str| {
            let mut request = app.request(Method::PATCH, &path);
            request = request.header(header::CONTENT_TYPE, "application/json");
            if let Some(version) = if_match {
                request = request.header(header::IF_MATCH, version);
            }
            let body = json!({ "title": title }).to_string();
            app.send(request.body(Body::from(body)).unwrap()).await
        };
        let blind = edit(None, "Darker bar").await;
        assert_eq!(blind.status, StatusCode::PRECONDITION_REQUIRED);
        app.project().await;
        let shown = app.get(&path).await;
        let etag = shown.header("etag").to_owned();
        let edited = edit(Some(&etag), "Darker bar").await;
        assert_eq!(edited.status, StatusCode::OK, "{:#}", edited.body);
        let stale = edit(Some(&etag), "Darkest bar").await;
        assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
        assert_eq!(stale.body["current_version"], edited.body["version"]);
        app.project().await;
        assert_eq!(app.get(&path).await.text("/title"), "Darker bar");
    });
}

#[test]
fn names_are_unique_in_a_store() {
    story(async |app: App| {
        let product = |title: &str, sku: &str| json!({ "title": title, "handle": "bar", "variants": [{ "sku": sku }] });
        app.post("/api/v1/products", &product("One", "BAR-1")).await;
        let refused = app.post("/api/v1/products", &product("Two", "BAR-2")).await;
        assert_eq!(refused.status, StatusCode::CONFLICT);
        assert_eq!(refused.text("/code"), "handle_taken");
        let body = json!({ "title": "Three", "variants": [{ "sku": "BAR-1" }] });
        let refused = app.post("/api/v1/products", &body).await;
        assert_eq!(refused.status, StatusCode::CONFLICT);
        assert_eq!(refused.text("/code"), "sku_taken");
    });
}

#[test]
fn a_product_without_a_price_is_not_published() {
    story(async |app: App| {
        let made = app.post("/api/v1/products", &json!({ "title": "Mystery bar" })).await;
        let path = format!("/api/v1/products/{}/publish", made.text("/id"));
        let refused = app.post(&path, &json!({})).await;
        assert_eq!(refused.status, StatusCode::CONFLICT);
        assert_eq!(refused.text("/code"), "product_not_publishable");
    });
}

#[test]
fn stock_is_corrected_with_a_reason_and_never_below_zero() {
    story(async |app: App| {
        let product = app.product("Nib bar", 500, 3).await;
        let path = format!("/api/v1/stock/{}/adjust", product.variant_id);
        let silent = app.post(&path, &json!({ "delta": -1 })).await;
        assert_eq!(silent.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(silent.text("/code"), "reason_required", "{:#}", silent.body);
        assert_eq!(silent.text("/errors/0/pointer"), "/reason");
        let melted = app.post(&path, &json!({ "delta": -2, "reason": "melted" })).await;
        assert_eq!(melted.status, StatusCode::OK, "{:#}", melted.body);
        let too_many = app.post(&path, &json!({ "delta": -2, "reason": "melted" })).await;
        assert_eq!(too_many.status, StatusCode::CONFLICT);
        assert_eq!(too_many.text("/code"), "insufficient_stock");
        app.project().await;
        let shown = app.get(&format!("/api/v1/stock/{}", product.variant_id)).await;
        assert_eq!(shown.body["available"], 1, "{:#}", shown.body);
    });
}

#[test]
fn ones_own_write_is_visible_at_once() {
    story(async |app: App| {
        let made = app.post("/api/v1/products", &json!({ "title": "Fresh bar" })).await;
        let position = made.header("x-position").to_owned();
        let path = format!("/api/v1/products/{}", made.text("/id"));
        let read = async |app: &App| {
            let request = app.request(Method::GET, &path).header("x-min-position", &position);
            app.send(request.body(Body::empty()).unwrap()).await
        };
        let (found, ()) = tokio::join!(read(&app), app.project());
        assert_eq!(found.status, StatusCode::OK, "{:#}", found.body);
    });
}

#[test]
fn lists_are_walked_by_cursors() {
    story(async |app: App| {
        for number in 1..=5 {
            app.product(&format!("Bar {number}"), 100, 0).await;
        }
        app.project().await;
        let mut titles = Vec::new();
        let mut path = "/api/v1/products?limit=2".to_owned();
        loop {
            let page = app.get(&path).await;
            assert_eq!(page.status, StatusCode::OK, "{:#}", page.body);
            let rows = page.body["data"].as_array().unwrap().clone();
            titles.extend(rows.iter().map(|row| row["title"].as_str().unwrap().to_owned()));
            let Some(next) = page.body["page"]["next"].as_str() else { break };
            path = format!("/api/v1/products?limit=2&after={next}");
        }
        titles.sort();
        assert_eq!(titles, ["Bar 1", "Bar 2", "Bar 3", "Bar 4", "Bar 5"]);
        let page = app.get("/api/v1/products?limit=2").await;
        let cursor = page.text("/page/next");
        let elsewhere = app.token("elsewhere", Permission::ALL);
        let request = axum::http::Request::get(format!("/api/v1/products?after={cursor}"))
            .header(header::AUTHORIZATION, format!("Bearer {elsewhere}"));
        let refused = app.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert_eq!(refused.text("/code"), "bad_cursor");
    });
}

#[test]
fn wrong_input_is_named_and_changes_nothing() {
    let price = |minor: Value, currency: &str| {
        json!({ "title": "Bar", "variants": [
            { "price": { "amount_minor": minor, "currency": currency } }] })
    };
    let cases = [
        (json!({ "title": "" }), "/title"),
        (json!({ "title": "x".repeat(256) }), "/title"),
        (json!({ "title": "nul\u{0}" }), "/title"),
        (json!({}), "/title"),
        (json!({ "title": "Bar", "handle": "Not A Handle" }), "/handle"),
        (json!({ "title": "Bar", "price": 3 }), "/price"),
        (json!({ "title": "Bar", "store_id": STORE }), "/store_id"),
        (price(json!(-1), "GBP"), "/variants/0/price"),
        (price(json!(1.5), "GBP"), "/variants/0/price/amount_minor"),
        (price(json!(1), "XYZ"), "/variants/0/price/currency"),
        (json!({ "title": "Bar", "options": ["a", "b", "c", "d"] }), "/options"),
        (json!({ "title": "Bar", "tags": "gift" }), "/tags"),
    ];
    story(async move |app: App| {
        for (body, pointer) in cases {
            let refused = app.post("/api/v1/products", &body).await;
            assert_eq!(
                refused.status,
                StatusCode::UNPROCESSABLE_ENTITY,
                "{body} {:#}",
                refused.body
            );
            let found = refused.text("/errors/0/pointer");
            assert!(found.starts_with(pointer), "{body}: {found} instead of {pointer}");
        }
        app.project().await;
        assert_eq!(app.get("/api/v1/products").await.body["data"], json!([]));
    });
}
