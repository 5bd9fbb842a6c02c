//! Buying through the API: two buyers and one item, cards that do not work, orders undone.

use std::time::Duration;

use axum::http::StatusCode;
use chrono::TimeDelta;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::app::{Answer, App, Product, story};

const GOOD_CARD: &str = "4242 4242 4242 4242";
const DECLINED: &str = "4000000000000002";
const THREE_D_SECURE: &str = "4000002500003155";
const LATE_SUCCESS: &str = "4000000000000101";
const LATE_DECLINE: &str = "4000000000000119";
const CAPTURE_FAILS: &str = "4000000000000341";

#[test]
fn a_checkout_becomes_one_captured_order() {
    story(async |app: App| {
        let product = app.product("Sea salt bar", 450, 10).await;
        let begun = app.begin(&product.variant_id, 2).await;
        assert_eq!(begun.status, StatusCode::CREATED, "{:#}", begun.body);
        assert_eq!(begun.text("/status"), "awaiting_payment");
        assert_eq!(begun.body["total"], json!({ "amount_minor": 900, "currency": "GBP" }));
        assert_eq!(begun.text("/hold_until"), "2026-03-14T12:15:00Z");

        let paid = app.pay(&begun.text("/id"), GOOD_CARD).await;
        assert_eq!(paid.status, StatusCode::OK, "{:#}", paid.body);
        assert_eq!(paid.text("/status"), "completed");
        let twice = app.pay(&begun.text("/id"), GOOD_CARD).await;
        assert_eq!(twice.status, StatusCode::OK);
        assert_eq!(twice.body["order"], paid.body["order"], "a second payment finds the order");

        app.project().await;
        let order = app.get(&format!("/api/v1/orders/{}", paid.text("/order/id"))).await;
        assert_eq!(order.text("/status"), "paid", "{:#}", order.body);
        assert_eq!(stock(&app, &product).await, (10, 8), "on hand and available");
        let orders = app.get("/api/v1/orders").await;
        assert_eq!(orders.body["data"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn two_buyers_of_one_item_make_one_order_and_nothing_stays_held() {
    story(async |app: App| {
        let product = app.product("Last box", 2500, 1).await;
        let (a, b) =
            tokio::join!(app.begin(&product.variant_id, 1), app.begin(&product.variant_id, 1));
        let mut both = [a, b];
        both.sort_by_key(|answer| answer.status);
        let [won, lost] = both;
        assert_eq!((won.status, lost.status), (StatusCode::CREATED, StatusCode::CONFLICT));
        assert_eq!(lost.text("/code"), "insufficient_stock");
        assert_eq!(lost.text("/lines/0/variant_id"), product.variant_id);
        assert_eq!(lost.body["lines"][0]["available"], 0, "{:#}", lost.body);
        let paid = app.pay(&won.text("/id"), GOOD_CARD).await;
        assert_eq!(paid.status, StatusCode::OK, "{:#}", paid.body);

        app.wait(TimeDelta::minutes(16));
        sagas::drain(&app.saga).await.unwrap();
        app.project().await;
        let shown = app.get(&format!("/api/v1/stock/{}", product.variant_id)).await;
        assert_eq!(shown.body["reserved"], 0, "{:#}", shown.body);
        assert_eq!(stock(&app, &product).await, (1, 0));
    });
}

#[test]
fn five_hundred_buyers_of_a_hundred_units_make_a_hundred_orders() {
    story(async |app: App| {
        let product = app.product("Limited bar", 1200, 100).await;
        // In a crowd an answer may be 202 or 503, "ask again"; that is sending the same again.
        let ask = async |path: &str, body: &Value| {
            let key = (app.ctx.new_id)().to_string();
            loop {
                let answer = app.post_keyed(path, &key, body).await;
                match answer.status {
                    // Time goes on, a little, for whatever waits to be tried again.
                    StatusCode::ACCEPTED => app.wait(TimeDelta::milliseconds(20)),
                    // Whoever comes again sooner than told is in the way of the others.
                    StatusCode::SERVICE_UNAVAILABLE => sleep(Duration::from_secs(1)).await,
                    _ => return answer,
                }
            }
        };
        let basket = json!({ "lines": [{ "variant_id": product.variant_id, "quantity": 1 }] });
        let card = json!({ "payment": { "card_number": GOOD_CARD } });
        let buy = async || {
            let begun = ask("/api/v1/checkouts", &basket).await;
            if begun.status != StatusCode::CREATED {
                return begun;
            }
            ask(&format!("/api/v1/checkouts/{}/complete", begun.text("/id")), &card).await
        };
        let answers = join_all((0..500).map(|_| buy())).await;
        let count = |status| answers.iter().filter(|answer| answer.status == status).count();
        let others: Vec<&Answer> = answers
            .iter()
            .filter(|it| ![StatusCode::OK, StatusCode::CONFLICT].contains(&it.status))
            .collect();
        assert!(others.is_empty(), "{:#?}", others.first());
        assert_eq!((count(StatusCode::OK), count(StatusCode::CONFLICT)), (100, 400));
        app.project().await;
        assert_eq!(stock(&app, &product).await, (100, 0));
        let placed = "SELECT count(*) FROM log.events WHERE event_type = 'OrderPlaced'";
        let placed: i64 = sqlx::query_scalar(placed).fetch_one(&app.owner).await.unwrap();
        assert_eq!(placed, 100);
    });
}

#[test]
fn a_declined_card_leaves_the_hold_and_room_for_another_card() {
    story(async |app: App| {
        let product = app.product("Nut bar", 500, 1).await;
        let checkout = app.begin(&product.variant_id, 1).await.text("/id");
        let declined = app.pay(&checkout, DECLINED).await;
        assert_eq!(declined.status, StatusCode::PAYMENT_REQUIRED);
        assert_eq!(declined.text("/code"), "payment_declined");
        assert_eq!(declined.text("/advice"), "other_method", "{:#}", declined.body);
        let paid = app.pay(&checkout, GOOD_CARD).await;
        assert_eq!((paid.status, paid.text("/status").as_str()), (StatusCode::OK, "completed"));
    });
}

#[test]
fn three_d_secure_is_asked_for_and_answered() {
    story(async |app: App| {
        let product = app.product("Secure bar", 500, 2).await;
        for (answer, status) in [("pass", 200), ("fail", 402)] {
            let checkout = app.begin(&product.variant_id, 1).await.text("/id");
            let asked = app.pay(&checkout, THREE_D_SECURE).await;
            assert_eq!(asked.text("/status"), "action_required", "{:#}", asked.body);
            assert_eq!(asked.text("/required_action"), "three_d_secure");
            let path = format!("/api/v1/checkouts/{checkout}/confirm-action");
            let done = app.post(&path, &json!({ "answer": answer })).await;
            assert_eq!(done.status.as_u16(), status, "{answer}: {:#}", done.body);
        }
    });
}

#[test]
fn a_shopper_who_pays_on_the_providers_form_is_told_what_it_needs_and_nobody_else() {
    story(async |app: App| {
        let product = app.product("Form bar", 500, 1).await;
        let checkout = app.begin(&product.variant_id, 1).await.text("/id");
        let path = format!("/api/v1/checkouts/{checkout}/complete");
        let method = json!({ "payment_method": "confirm_with_provider" });
        let asked = app.post(&path, &method).await;
        assert_eq!(asked.text("/status"), "action_required", "{:#}", asked.body);
        assert_eq!(asked.text("/required_action"), "confirm");
        assert!(asked.text("/client/client_secret").contains("secret"), "{:#}", asked.body);
        let read = app.get(&format!("/api/v1/checkouts/{checkout}")).await;
        assert_eq!(read.body["client"], json!(null));
        let path = format!("/api/v1/checkouts/{checkout}/confirm-action");
        let done = app.post(&path, &json!({ "answer": "pass" })).await;
        assert_eq!(done.text("/status"), "completed", "{:#}", done.body);
        assert_eq!(done.body["client"], json!(null));
    });
}

#[test]
fn a_time_out_is_looked_up_and_never_taken_for_a_refusal() {
    story(async |app: App| {
        let product = app.product("Slow bar", 500, 2).await;
        for (card, status) in [(LATE_SUCCESS, "completed"), (LATE_DECLINE, "awaiting_payment")] {
            let checkout = app.begin(&product.variant_id, 1).await.text("/id");
            let unclear = app.pay(&checkout, card).await;
            assert_eq!(unclear.status, StatusCode::ACCEPTED, "{:#}", unclear.body);
            assert_eq!(unclear.text("/status"), "payment_pending");
            for _ in 0..4 {
                app.wait(TimeDelta::seconds(10));
                sagas::drain(&app.saga).await.unwrap();
            }
            assert_eq!(rests(&app, &checkout, status).await.text("/status"), status);
        }
    });
}

#[test]
fn a_bank_that_takes_its_time_is_waited_for() {
    story(async |app: App| {
        let product = app.product("Debit bar", 500, 1).await;
        let checkout = app.begin(&product.variant_id, 1).await.text("/id");
        let path = format!("/api/v1/checkouts/{checkout}/complete");
        let slow = app.post(&path, &json!({ "payment_method": "sbx_bank_debit" })).await;
        assert_eq!(slow.status, StatusCode::ACCEPTED, "{:#}", slow.body);
        assert_eq!(slow.text("/status"), "payment_pending");
        app.project().await;
        app.wait(TimeDelta::minutes(1));
        sagas::drain(&app.saga).await.unwrap();
        let done = rests(&app, &checkout, "completed").await;
        app.project().await;
        let order = app.get(&format!("/api/v1/orders/{}", done.text("/order/id"))).await;
        assert_eq!(order.text("/payments/0/status"), "captured", "{:#}", order.body);
    });
}

#[test]
fn money_that_comes_after_the_hold_ended_is_given_back() {
    story(async |app: App| {
        let product = app.product("Late bar", 500, 1).await;
        let checkout = app.begin(&product.variant_id, 1).await.text("/id");
        app.pay(&checkout, LATE_SUCCESS).await;
        // Nobody was there to ask the provider until long after every extension.
        app.wait(TimeDelta::hours(2));
        sagas::drain(&app.saga).await.unwrap();
        let failed = rests(&app, &checkout, "failed").await;
        assert_eq!(failed.text("/failure/code"), "expired", "{:#}", failed.body);
        app.project().await;
        assert_eq!(stock(&app, &product).await, (1, 1));
        assert_eq!(app.get("/api/v1/orders").await.body["data"], json!([]));
        let voided = "SELECT count(*) FROM log.events WHERE event_type = 'PaymentVoided'";
        let voided: i64 = sqlx::query_scalar(voided).fetch_one(&app.owner).await.unwrap();
        assert_eq!(voided, 1);
    });
}

#[test]
fn a_capture_that_fails_undoes_the_order() {
    story(async |app: App| {
        let product = app.product("Unlucky bar", 500, 1).await;
        let checkout = app.begin(&product.variant_id, 1).await.text("/id");
        let failed = app.pay(&checkout, CAPTURE_FAILS).await;
        assert!(failed.status.is_client_error(), "{:#}", failed.body);
        app.project().await;
        assert_eq!(stock(&app, &product).await, (1, 1));
        let orders = app.get("/api/v1/orders").await;
        assert_eq!(orders.text("/data/0/status"), "cancelled", "{:#}", orders.body);
    });
}

#[test]
fn a_hold_ends_by_itself() {
    story(async |app: App| {
        let product = app.product("Forgotten bar", 500, 1).await;
        let checkout = app.begin(&product.variant_id, 1).await.text("/id");
        app.wait(TimeDelta::minutes(15));
        sagas::drain(&app.saga).await.unwrap();
        assert_eq!(rests(&app, &checkout, "failed").await.text("/failure/code"), "expired");
        let late = app.pay(&checkout, GOOD_CARD).await;
        assert_eq!(late.status, StatusCode::CONFLICT);
        assert_eq!(late.text("/code"), "checkout_expired");
        app.project().await;
        assert_eq!(stock(&app, &product).await, (1, 1));
    });
}

#[test]
fn a_cancelled_order_gives_money_and_stock_back_once() {
    story(async |app: App| {
        let product = app.product("Regret bar", 500, 3).await;
        let checkout = app.begin(&product.variant_id, 3).await.text("/id");
        let order = app.pay(&checkout, GOOD_CARD).await.text("/order/id");
        let path = format!("/api/v1/orders/{order}/cancel");
        let silent = app.post(&path, &json!({})).await;
        assert_eq!(silent.status, StatusCode::UNPROCESSABLE_ENTITY);
        let cancelled = app.post(&path, &json!({ "reason": "changed my mind" })).await;
        assert!(cancelled.status.is_success(), "{:#}", cancelled.body);
        sagas::drain(&app.saga).await.unwrap();
        let again = app.post(&path, &json!({ "reason": "again" })).await;
        assert_eq!(again.status, StatusCode::CONFLICT, "{:#}", again.body);

        app.project().await;
        let shown = app.get(&format!("/api/v1/orders/{order}")).await;
        assert_eq!(shown.text("/status"), "cancelled");
        assert_eq!(shown.text("/financial_status"), "refunded", "{:#}", shown.body);
        assert_eq!(stock(&app, &product).await, (3, 3));
        let timeline = app.get(&format!("/api/v1/orders/{order}/timeline")).await;
        assert!(timeline.body["data"].as_array().unwrap().len() >= 6, "{:#}", timeline.body);
    });
}

#[test]
fn a_repeated_checkout_gets_the_first_answer_even_if_it_has_gone_on() {
    story(async |app: App| {
        let product = app.product("Twice bar", 500, 5).await;
        let body = json!({ "lines": [{ "variant_id": product.variant_id, "quantity": 1 }] });
        let first = app.post_keyed("/api/v1/checkouts", "key-1", &body).await;
        app.pay(&first.text("/id"), GOOD_CARD).await;
        let again = app.post_keyed("/api/v1/checkouts", "key-1", &body).await;
        assert_eq!((again.status, again.body), (first.status, first.body));
        assert_eq!(again.headers["idempotent-replayed"], "true");
    });
}

#[test]
fn what_cannot_be_bought_is_named_line_by_line() {
    story(async |app: App| {
        let product = app.product("Good bar", 500, 5).await;
        let draft = json!({ "title": "Draft bar", "variants": [
            { "price": { "amount_minor": 1, "currency": "GBP" } }] });
        let draft = app.post("/api/v1/products", &draft).await.text("/variant_ids/0");
        let unknown = "var_01JD5ZK6V8E4R9T2Q7WX3Y0ABC";
        let line = |id: &str, quantity: u32| json!([{ "variant_id": id, "quantity": quantity }]);
        let priced = json!([{ "variant_id": product.variant_id, "quantity": 1, "unit_price": 1 }]);
        let cases = [
            (422, json!([]), "/lines"),
            (422, line(&product.variant_id, 0), "/lines/0/quantity"),
            (422, line(&product.variant_id, 1000), "/lines/0/quantity"),
            (422, line(unknown, 1), "/lines/0/variant_id"),
            (409, line(&draft, 1), "/lines/0/variant_id"),
            (422, priced, "/lines/0/unit_price"),
        ];
        for (status, lines, pointer) in cases {
            let refused = app.post("/api/v1/checkouts", &json!({ "lines": lines })).await;
            assert_eq!(refused.status.as_u16(), status, "{:#}", refused.body);
            assert_eq!(refused.text("/errors/0/pointer"), pointer);
        }
        let keyless = app.request(axum::http::Method::POST, "/api/v1/checkouts");
        let keyless = keyless.header("content-type", "application/json");
        let keyless = app.send(keyless.body(axum::body::Body::from("{}")).unwrap()).await;
        assert_eq!(keyless.status, StatusCode::BAD_REQUEST);
        assert_eq!(keyless.text("/code"), "idempotency_key_required");
    });
}

/// Units on hand and available, as the read model has them.
async fn stock(app: &App, product: &Product) -> (u64, u64) {
    let shown = app.get(&format!("/api/v1/stock/{}", product.variant_id)).await;
    let number = |name: &str| shown.body[name].as_u64();
    let numbers = number("on_hand").zip(number("available"));
    numbers.unwrap_or_else(|| panic!("{:#}", shown.body))
}

/// The checkout once it shows `status`, as the background runner gets to it.
async fn rests(app: &App, checkout: &str, status: &str) -> Answer {
    for _ in 0..200 {
        let shown = app.get(&format!("/api/v1/checkouts/{checkout}")).await;
        if shown.body["status"] == status {
            return shown;
        }
        sagas::drain(&app.saga).await.unwrap();
        tokio::task::yield_now().await;
    }
    app.get(&format!("/api/v1/checkouts/{checkout}")).await
}

#[test]
fn a_card_number_is_not_taken_for_a_token() {
    story(async |app: App| {
        let product = app.product("Careless bar", 500, 1).await;
        let checkout = app.begin(&product.variant_id, 1).await.text("/id");
        let path = format!("/api/v1/checkouts/{checkout}/complete");
        let sent = app.post(&path, &json!({ "payment_method": "4242 4242 4242 4242" })).await;
        assert_eq!(sent.status, StatusCode::UNPROCESSABLE_ENTITY, "{:#}", sent.body);
        assert_eq!(sent.text("/errors/0/pointer"), "/payment_method");
    });
}
