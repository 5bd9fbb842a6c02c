//! What a purchase costs: carriage, coupons and tax, quoted, paid and kept with the order.

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use chrono::TimeDelta;
use commands::Intent;
use commands::checkout::{CheckoutCommand, record};
use domain::checkout::Destination;
use event_schemas::ids::{ActorId, CheckoutId, PersonId, StoreId};
use event_schemas::metadata::{Actor, ActorKind};
use event_schemas::sealed::Sealed;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::app::{Answer, App, STORE, story};

const GOOD_CARD: &str = "4242 4242 4242 4242";
const DECLINED: &str = "4000000000000002";

pub(crate) fn gbp(minor: i64) -> Value {
    json!({ "amount_minor": minor, "currency": "GBP" })
}

async fn put(app: &App, path: &str, body: &Value) -> Answer {
    let request = app.request(Method::PUT, path).header(header::CONTENT_TYPE, "application/json");
    let request = request.header(header::IF_MATCH, "*");
    app.send(request.body(Body::from(body.to_string())).unwrap()).await
}

async fn put_ok(app: &App, path: &str, body: &Value) -> Answer {
    let answer = put(app, path, body).await;
    assert_eq!(answer.status, StatusCode::OK, "{:#}", answer.body);
    answer
}

async fn post_ok(app: &App, path: &str, body: &Value) -> Answer {
    let answer = app.post(path, body).await;
    assert!(answer.status.is_success(), "{:#}", answer.body);
    answer
}

/// 20 % on everything sent to Britain, with the tax in the prices or on top of them.
pub(crate) async fn tax(app: &App, prices_include_tax: bool) {
    let policy = json!({
        "prices_include_tax": prices_include_tax,
        "zones": [{
            "code": "uk", "places": [{ "country": "GB" }],
            "rates": [{ "class": "standard", "rate": 200_000 }, { "class": "food", "rate": 0 }]
        }]
    });
    put_ok(app, "/api/v1/tax-policy", &policy).await;
}

/// Britain for 3.95 £, or nothing from 50 £ on.
async fn carriage(app: &App) {
    let bands = json!([
        { "order_minor_min": 5_000, "amount": gbp(0) },
        { "weight_g_max": 2_000, "amount": gbp(395) }
    ]);
    let zone = json!({
        "code": "home", "places": [{ "country": "GB" }],
        "methods": [{ "code": "standard", "title": "Standard", "bands": bands }]
    });
    put_ok(app, "/api/v1/shipping-profile", &json!({ "zones": [zone] })).await;
}

pub(crate) async fn coupon(app: &App, code: &str, more: Value) {
    let mut coupon = json!({ "code": code, "title": "Ten per cent",
        "value": { "kind": "percent", "rate": 100_000 } });
    coupon.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    post_ok(app, "/api/v1/coupons", &coupon).await;
}

pub(crate) async fn begun(app: &App, variant_id: &str, quantity: u32) -> String {
    let begun = app.begin(variant_id, quantity).await;
    assert_eq!(begun.status, StatusCode::CREATED, "{:#}", begun.body);
    begun.text("/id")
}

/// The shopper says where it goes.
pub(crate) async fn send_to(app: &App, id: &str, country: &str) {
    let id: CheckoutId = id.parse().unwrap();
    let address = Sealed { key: PersonId::derive(&[b"somebody"]), data: "c2VhbGVk".to_owned() };
    let (country, region, postcode_prefix) = (country.to_owned(), None, None);
    let destination = Box::new(Destination { address, country, region, postcode_prefix });
    let now = app.ctx.now();
    let actor = Actor { kind: ActorKind::User, id: ActorId::derive(&[b"shopper"]) };
    let parts = [id.0.into_bytes(), (app.ctx.new_id)().into_bytes()];
    let parts: [&[u8]; 2] = [&parts[0], &parts[1]];
    let intent = Intent::of_system(StoreId::of_slug(STORE), actor, &parts, now);
    let command = CheckoutCommand::SetAddress { destination, now, at: now };
    record(&app.ctx, &intent, id, command).await.unwrap();
}

pub(crate) async fn quote(app: &App, id: &str, coupons: &[&str]) -> Answer {
    let body = if coupons.is_empty() { json!({}) } else { json!({ "coupons": coupons }) };
    app.post(&format!("/api/v1/checkouts/{id}/quote"), &body).await
}

async fn choose(app: &App, id: &str, option: &str) -> Answer {
    put(app, &format!("/api/v1/checkouts/{id}/shipping"), &json!({ "option": option })).await
}

async fn complete(app: &App, id: &str, expected: i64) -> Answer {
    let body = json!({ "payment": { "card_number": GOOD_CARD }, "expected_total": gbp(expected) });
    app.post(&format!("/api/v1/checkouts/{id}/complete"), &body).await
}

pub(crate) fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        (answer.status.as_u16(), answer.text("/code").as_str()),
        (status, code),
        "{:#}",
        answer.body
    );
}

/// The payload of the only event of a type.
async fn event(app: &App, event_type: &str) -> Value {
    let query = "SELECT payload FROM log.events WHERE event_type = $1";
    let payload: Vec<u8> =
        sqlx::query_scalar(query).bind(event_type).fetch_one(&app.owner).await.unwrap();
    serde_json::from_slice(&payload).unwrap()
}

#[test]
fn an_order_is_paid_as_quoted_and_keeps_every_figure() {
    story(async |app: App| {
        let product = app.product("Sea salt bar", 1_000, 10).await;
        tax(&app, false).await;
        carriage(&app).await;
        coupon(&app, "ten-off", json!({ "limit_total": 1 })).await;
        let id = begun(&app, &product.variant_id, 2).await;
        send_to(&app, &id, "GB").await;

        let options = app.get(&format!("/api/v1/checkouts/{id}/shipping-options")).await;
        assert_eq!(options.body["data"][0]["amount"], gbp(395), "{:#}", options.body);
        let chosen = choose(&app, &id, "standard").await;
        assert_eq!(chosen.text("/shipping/source"), "table", "{:#}", chosen.body);
        let quoted = quote(&app, &id, &[" Ten-Off"]).await;
        assert_eq!(quoted.status, StatusCode::OK, "{:#}", quoted.body);
        // 2000 less 200, 3.95 carriage, 20 % of both.
        assert_eq!(quoted.body["total"], gbp(2_634), "{:#}", quoted.body);
        let line = &quoted.body["quote"]["line_totals"][0];
        let figures = (&line["gross"], &line["discount"], &line["tax"], &line["total"]);
        assert_eq!(figures, (&gbp(2_000), &gbp(200), &gbp(360), &gbp(2_160)));
        assert_eq!(quoted.body["quote"]["shipping"]["total"], gbp(474));
        assert_eq!(quoted.body["quote"]["tax"][0]["amount"], gbp(439));
        assert_eq!(quoted.text("/quote/expires_at"), "2026-03-14T12:15:00Z");

        let wrong = complete(&app, &id, 2_633).await;
        refused(&wrong, 422, "amount_mismatch");
        assert_eq!(wrong.body["due"], gbp(2_634));
        let paid = complete(&app, &id, 2_634).await;
        assert_eq!(paid.text("/status"), "completed", "{:#}", paid.body);

        let placed = event(&app, "OrderPlaced").await;
        assert_eq!(placed["total"], gbp(2_634));
        assert_eq!(placed["pricing"], event(&app, "CheckoutPriced").await["quote"]["pricing"]);
        assert_eq!(placed["ship_to"]["data"], "c2VhbGVk");
        assert_eq!(placed["country"], "GB");
        let captured = event(&app, "PaymentCaptured").await;
        assert_eq!(captured["amount"], gbp(2_634));
        let coupon = app.get("/api/v1/coupons/TEN-OFF").await;
        assert_eq!((&coupon.body["used"], &coupon.body["claimed"]), (&json!(1), &json!(0)));
        app.project().await;
        let order = app.get(&format!("/api/v1/orders/{}", paid.text("/order/id"))).await;
        assert_eq!(order.body["total"], gbp(2_634), "{:#}", order.body);
    });
}

#[test]
fn what_has_to_be_known_is_asked_for_and_nothing_else() {
    story(async |app: App| {
        let product = app.product("Sea salt bar", 1_000, 10).await;
        let plain = begun(&app, &product.variant_id, 1).await;
        tax(&app, true).await;
        let id = begun(&app, &product.variant_id, 1).await;
        let missing = complete(&app, &id, 1_000).await;
        refused(&missing, 409, "checkout_incomplete");
        assert_eq!(missing.body["requirements"], json!(["address", "quote"]));
        refused(&quote(&app, &id, &[]).await, 409, "checkout_incomplete");
        carriage(&app).await;
        let missing = complete(&app, &id, 1_000).await;
        assert_eq!(missing.body["requirements"], json!(["address", "shipping", "quote"]));
        let path = format!("/api/v1/checkouts/{id}/shipping-options");
        refused(&app.get(&path).await, 409, "checkout_incomplete");
        send_to(&app, &id, "FR").await;
        refused(&app.get(&path).await, 422, "address_undeliverable");
        send_to(&app, &id, "GB").await;
        refused(&choose(&app, &id, "pigeon").await, 422, "validation_failed");
        refused(&quote(&app, &id, &[]).await, 409, "checkout_incomplete");
        choose(&app, &id, "standard").await;
        let quoted = quote(&app, &id, &[]).await;
        // The tax is in the prices.
        assert_eq!(quoted.body["total"], gbp(1_395), "{:#}", quoted.body);
        assert_eq!(quoted.body["quote"]["tax"][0]["amount"], gbp(167 + 66));
        // Where it goes decides what it costs.
        send_to(&app, &id, "GB").await;
        assert_eq!(
            complete(&app, &id, 1_395).await.body["requirements"],
            json!(["shipping", "quote"])
        );
        // The rules of now count, also for what began before.
        assert_eq!(complete(&app, &plain, 1_000).await.text("/code"), "checkout_incomplete");
    });
}

#[test]
fn a_store_without_rules_sells_as_it_did() {
    story(async |app: App| {
        let product = app.product("Sea salt bar", 1_000, 10).await;
        let id = begun(&app, &product.variant_id, 1).await;
        let options = app.get(&format!("/api/v1/checkouts/{id}/shipping-options")).await;
        assert_eq!(options.body["data"], json!([]));
        let paid = app.pay(&id, GOOD_CARD).await;
        assert_eq!(paid.text("/status"), "completed", "{:#}", paid.body);
        assert_eq!(event(&app, "OrderPlaced").await["pricing"], Value::Null);
    });
}

#[test]
fn a_quote_that_has_expired_is_not_paid_and_comes_with_another() {
    story(async |app: App| {
        let product = app.product("Sea salt bar", 1_000, 10).await;
        tax(&app, true).await;
        let id = begun(&app, &product.variant_id, 1).await;
        send_to(&app, &id, "GB").await;
        assert_eq!(quote(&app, &id, &[]).await.body["total"], gbp(1_000));
        // A refused card while the hold is extended: the quote ends before the stock does.
        let declined = app.pay(&id, "4000002500003155").await;
        assert_eq!(declined.text("/status"), "action_required", "{:#}", declined.body);
        app.wait(TimeDelta::minutes(14));
        sagas::drain(&app.saga).await.unwrap();
        let answer = json!({ "answer": "fail" });
        app.post(&format!("/api/v1/checkouts/{id}/confirm-action"), &answer).await;
        app.wait(TimeDelta::minutes(2));
        tax(&app, false).await;
        let expired = complete(&app, &id, 1_000).await;
        refused(&expired, 409, "quote_expired");
        assert_eq!(expired.body["quote"]["total"], gbp(1_200), "{:#}", expired.body);
        // Shown is not accepted.
        refused(&complete(&app, &id, 1_200).await, 409, "quote_expired");
        assert_eq!(quote(&app, &id, &[]).await.body["total"], gbp(1_200));
        let paid = complete(&app, &id, 1_200).await;
        assert_eq!(paid.text("/status"), "completed", "{:#}", paid.body);
    });
}

#[test]
fn of_many_who_want_the_last_use_of_a_coupon_one_gets_it() {
    story(async |app: App| {
        let product = app.product("Sea salt bar", 1_000, 50).await;
        coupon(&app, "LAST", json!({ "limit_total": 1 })).await;
        let buy = async || {
            let id = begun(&app, &product.variant_id, 1).await;
            (quote(&app, &id, &["last"]).await, id)
        };
        let answers = join_all((0..20).map(|_| buy())).await;
        let (won, lost): (Vec<_>, Vec<_>) =
            answers.iter().partition(|(answer, _)| answer.status == StatusCode::OK);
        assert_eq!(won.len(), 1);
        for (answer, _) in &lost {
            refused(answer, 409, "coupon_exhausted");
        }
        let (quoted, winner) = won[0];
        assert_eq!(quoted.body["total"], gbp(900), "{:#}", quoted.body);

        // Whoever gives up, or does without it, leaves it to the next.
        let (_, next) = lost[0];
        post_ok(&app, &format!("/api/v1/checkouts/{winner}/quote"), &json!({ "coupons": [] }))
            .await;
        assert_eq!(quote(&app, next, &["LAST"]).await.status, StatusCode::OK);
        // A refused card keeps it; giving up does not.
        let declined = app.pay(next, DECLINED).await;
        refused(&declined, 402, "payment_declined");
        app.wait(TimeDelta::minutes(14));
        let (_, third) = lost[1];
        refused(&quote(&app, third, &["LAST"]).await, 409, "coupon_exhausted");
        post_ok(&app, &format!("/api/v1/checkouts/{next}/abandon"), &json!({})).await;
        assert_eq!(quote(&app, third, &["LAST"]).await.status, StatusCode::OK);
        let paid = complete(&app, third, 900).await;
        assert_eq!(paid.text("/status"), "completed", "{:#}", paid.body);
        let coupon = app.get("/api/v1/coupons/last").await;
        assert_eq!((&coupon.body["used"], &coupon.body["claimed"]), (&json!(1), &json!(0)));
    });
}

#[test]
fn a_coupon_that_cannot_be_used_says_why() {
    story(async |app: App| {
        let product = app.product("Sea salt bar", 1_000, 10).await;
        coupon(&app, "RICH", json!({ "minimum": gbp(5_000) })).await;
        coupon(&app, "KNOWN", json!({ "limit_per_customer": 1, "limit_total": 9 })).await;
        coupon(&app, "ENDED", json!({})).await;
        post_ok(&app, "/api/v1/coupons/ended/disable", &json!({})).await;
        let again =
            json!({ "code": "rich", "title": "x", "value": { "kind": "percent", "rate": 1 } });
        refused(&app.post("/api/v1/coupons", &again).await, 409, "already_exists");
        let id = begun(&app, &product.variant_id, 1).await;
        for (code, why) in
            [("RICH", "below_minimum"), ("KNOWN", "customer_needed"), ("ENDED", "disabled")]
        {
            let answer = quote(&app, &id, &[code]).await;
            refused(&answer, 422, "coupon_not_applicable");
            assert_eq!((answer.text("/why").as_str(), answer.text("/coupon")), (why, code.into()));
        }
        refused(&quote(&app, &id, &["NONE"]).await, 404, "coupon_unknown");
        let six: Vec<String> = (0..6).map(|n| format!("C{n}")).collect();
        let six: Vec<&str> = six.iter().map(String::as_str).collect();
        refused(&quote(&app, &id, &six).await, 422, "validation_failed");
        refused(&app.get("/api/v1/coupons/none").await, 404, "coupon_unknown");
    });
}

#[test]
fn bad_rules_are_refused_and_change_nothing() {
    story(async |app: App| {
        let blind = app.request(Method::PUT, "/api/v1/tax-policy");
        let blind = blind.header(header::CONTENT_TYPE, "application/json");
        let policy = json!({ "prices_include_tax": true, "zones": [] });
        let blind = app.send(blind.body(Body::from(policy.to_string())).unwrap()).await;
        refused(&blind, 428, "precondition_required");
        let zone = |rate: Value| {
            json!({ "prices_include_tax": true,
                "zones": [{ "code": "uk", "places": [{ "country": "GB" }], "rates": [rate] }] })
        };
        let past = zone(json!({ "class": "a", "rate": 1, "from": "2020-01-01T00:00:00Z" }));
        refused(&put(&app, "/api/v1/tax-policy", &past).await, 422, "tax_rate_overlap");
        let over = zone(json!({ "class": "a", "rate": 1_000_001 }));
        let over = put(&app, "/api/v1/tax-policy", &over).await;
        refused(&over, 422, "validation_failed");
        assert_eq!(over.text("/errors/0/pointer"), "/zones/0/rates/0/rate");
        let float = zone(json!({ "class": "a", "rate": 0.2 }));
        assert_eq!(put(&app, "/api/v1/tax-policy", &float).await.status.as_u16(), 422);
        let nowhere = json!({ "zones": [{ "code": "x", "places": [{ "country": "Britain" }], "methods": [] }] });
        refused(&put(&app, "/api/v1/shipping-profile", &nowhere).await, 422, "validation_failed");
        let read = app.get("/api/v1/tax-policy").await;
        assert_eq!((read.header("etag"), &read.body["zones"]), ("\"v0\"", &json!([])));
        tax(&app, true).await;
        // What was read can be sent back, and is no news.
        let read = app.get("/api/v1/tax-policy").await;
        put_ok(&app, "/api/v1/tax-policy", &read.body).await;
        assert_eq!(app.get("/api/v1/tax-policy").await.header("etag"), read.header("etag"));
        let product = app.product("Sea salt bar", 1_000, 1).await;
        let path = format!("/api/v1/products/{}/tax-class", product.id);
        refused(
            &put(&app, &path, &json!({ "tax_class": "Food!" })).await,
            422,
            "validation_failed",
        );
        put_ok(&app, &path, &json!({ "tax_class": "food" })).await;
        let id = begun(&app, &product.variant_id, 1).await;
        send_to(&app, &id, "GB").await;
        assert_eq!(quote(&app, &id, &[]).await.body["quote"]["tax"], json!([]));
    });
}
