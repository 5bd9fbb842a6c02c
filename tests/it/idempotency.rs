//! Sending it again: one execution, one answer, whoever is asked and however often.

use api_kit::Limits;
use axum::http::{Method, StatusCode, header};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::app::{Answer, App, story};

/// Repeats of one request that come at the same time.
const REPEATS: usize = 16;

#[test]
fn sixteen_of_one_key_make_one_product_and_get_one_answer() {
    story(async |app: App| {
        let body = json!({ "title": "Only one bar" });
        let answers = same(&[&app], "/api/v1/products", "once", &body).await;
        one_answer(&answers, StatusCode::CREATED);
        assert_eq!(events(&app, "ProductCreated").await, 1);
    });
}

#[test]
fn sixteen_of_one_key_in_two_processes_make_one_checkout_and_one_order() {
    story(async |app: App| {
        let product = app.product("Shared bar", 700, 5).await;
        let other = app.another(Limits::default()).await;
        let both = [&app, &other];
        let basket = json!({ "lines": [{ "variant_id": product.variant_id, "quantity": 1 }] });
        let begun = same(&both, "/api/v1/checkouts", "cart", &basket).await;
        one_answer(&begun, StatusCode::CREATED);
        let path = format!("/api/v1/checkouts/{}/complete", begun[0].text("/id"));
        let card = json!({ "payment": { "card_number": "4242424242424242" } });
        let paid = same(&both, &path, "pay", &card).await;
        one_answer(&paid, StatusCode::OK);
        assert_eq!(events(&app, "CheckoutStarted").await, 1);
        assert_eq!(events(&app, "OrderPlaced").await, 1);
        assert_eq!(events(&app, "PaymentCaptured").await, 1);

        // Long after, and from a process that has seen nothing of it.
        let late = app.another(Limits::default()).await;
        let again = late.post_keyed(&path, "pay", &card).await;
        assert_eq!((again.status, &again.body), (paid[0].status, &paid[0].body));
        assert_eq!(again.header("idempotent-replayed"), "true");
    });
}

#[test]
fn sixteen_of_one_key_that_are_sold_out_are_refused_alike() {
    story(async |app: App| {
        let product = app.product("No more bar", 700, 1).await;
        app.begin(&product.variant_id, 1).await;
        let basket = json!({ "lines": [{ "variant_id": product.variant_id, "quantity": 1 }] });
        let answers = same(&[&app], "/api/v1/checkouts", "late", &basket).await;
        for answer in &answers {
            assert_eq!(answer.status, StatusCode::CONFLICT);
            assert_eq!(answer.text("/code"), "insufficient_stock");
            assert_eq!(without_request(answer), without_request(&answers[0]));
        }
        assert_eq!(events(&app, "CheckoutStarted").await, 1, "nothing began");
    });
}

#[test]
fn one_key_with_two_bodies_at_once_is_one_command_and_one_refusal() {
    story(async |app: App| {
        let product = app.product("Counted bar", 700, 0).await;
        let other = app.another(Limits::default()).await;
        let path = format!("/api/v1/stock/{}/receive", product.variant_id);
        for round in 0..10 {
            let key = format!("delivery-{round}");
            let (five, seven) = (json!({ "quantity": 5 }), json!({ "quantity": 7 }));
            // In one process, then in two.
            let second = if round % 2 == 0 { &app } else { &other };
            let (a, b) = tokio::join!(
                app.post_keyed(&path, &key, &five),
                second.post_keyed(&path, &key, &seven),
            );
            let mut both = [a, b];
            both.sort_by_key(|answer| answer.status);
            let [done, refused] = both;
            assert_eq!(done.status, StatusCode::OK, "{:#}", done.body);
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{:#}", refused.body);
            assert_eq!(refused.text("/code"), "idempotency_key_reused");
        }
        assert_eq!(events(&app, "StockReceived").await, 10);
    });
}

#[test]
fn a_key_is_one_of_its_method_path_person_and_store() {
    story(async |app: App| {
        let a = app.product("First bar", 700, 0).await;
        let b = app.product("Second bar", 700, 0).await;
        let body = json!({ "quantity": 3 });
        for product in [&a, &b] {
            let path = format!("/api/v1/stock/{}/receive", product.variant_id);
            let received = app.post_keyed(&path, "same", &body).await;
            assert_eq!(received.status, StatusCode::OK, "{:#}", received.body);
            assert_eq!(received.header("idempotent-replayed"), "");
        }
        assert_eq!(events(&app, "StockReceived").await, 2);

        // Another store's product of the same key is another product.
        let title = json!({ "title": "Namesake" });
        let ours = app.post_keyed("/api/v1/products", "same", &title).await;
        let token = app.token("other", api_kit::Permission::ALL);
        let request = axum::http::Request::post("/api/v1/products")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", "same");
        let theirs = app.send(request.body(title.to_string().into()).unwrap()).await;
        assert_eq!((ours.status, theirs.status), (StatusCode::CREATED, StatusCode::CREATED));
        assert_ne!(ours.text("/id"), theirs.text("/id"));

        // The same path by another method: archiving is not what was asked for first.
        let path = format!("/api/v1/products/{}", ours.text("/id"));
        let request = app.request(Method::PATCH, &path).header("idempotency-key", "same");
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let request = request.header(header::IF_MATCH, ours.header("etag"));
        let patched = app.send(request.body(json!({ "vendor": "x" }).to_string().into()).unwrap());
        assert_eq!(patched.await.status, StatusCode::OK);
    });
}

/// Sends the same request [`REPEATS`] times at once, to the `apps` in turn.
async fn same(apps: &[&App], path: &str, key: &str, body: &Value) -> Vec<Answer> {
    let send = |turn: usize| apps[turn % apps.len()].post_keyed(path, key, body);
    join_all((0..REPEATS).map(send)).await
}

/// All answers are one: the body byte for byte, and all but one say that they are a repeat.
fn one_answer(answers: &[Answer], status: StatusCode) {
    let first = &answers[0];
    for answer in answers {
        assert_eq!(answer.status, status, "{:#}", answer.body);
        assert_eq!(without_request(answer), without_request(first));
        for name in ["etag", "x-position", "location"] {
            assert_eq!(answer.header(name), first.header(name), "{name}");
        }
    }
    let originals = answers.iter().filter(|it| it.header("idempotent-replayed").is_empty());
    assert_eq!(originals.count(), 1);
}

/// The body; of a problem without the id of the request, which is not the answer's.
fn without_request(answer: &Answer) -> Value {
    let mut body = answer.body.clone();
    if let Some(problem) = body.as_object_mut() {
        problem.remove("trace_id");
    }
    body
}

async fn events(app: &App, event_type: &str) -> i64 {
    let count = "SELECT count(*) FROM log.events WHERE event_type = $1";
    sqlx::query_scalar(count).bind(event_type).fetch_one(&app.owner).await.unwrap()
}
