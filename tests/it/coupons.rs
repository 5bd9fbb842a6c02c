//! Coupons and payments that are under way: however a shopper mixes quoting, paying and giving up,
//! a use that was given is counted, and one that was not is free.

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use chrono::TimeDelta;
use futures::future::join;
use serde_json::{Value, json};

use crate::app::{Answer, App, story};
use crate::quote::{begun, coupon, gbp, quote, refused, send_to, tax};

/// Asks the shopper for something, and waits.
const ASKS: &str = "4000002500003155";

/// Rounds of a race.
const ROUNDS: usize = 8;

async fn act(app: &App, id: &str, what: &str, body: Value) -> Answer {
    app.post(&format!("/api/v1/checkouts/{id}/{what}"), &body).await
}

async fn uses(app: &App, code: &str) -> (Value, Value) {
    let coupon = app.get(&format!("/api/v1/coupons/{code}")).await;
    (coupon.body["used"].clone(), coupon.body["claimed"].clone())
}

/// Past the end of every quote; the hold is extended on the way if a payment is under way.
async fn past_the_quotes(app: &App) {
    app.wait(TimeDelta::minutes(14) + TimeDelta::seconds(30));
    sagas::drain(&app.saga).await.unwrap();
    app.wait(TimeDelta::minutes(2));
    sagas::drain(&app.saga).await.unwrap();
}

#[test]
fn a_quote_while_a_payment_is_under_way_does_not_touch_what_the_payment_claims() {
    story(async |app: App| {
        let product = app.product("Sea salt bar", 1_000, 10).await;
        coupon(&app, "LAST", json!({ "limit_total": 1 })).await;
        let id = begun(&app, &product.variant_id, 1).await;
        assert_eq!(quote(&app, &id, &["LAST"]).await.body["total"], gbp(900));
        let asked = app.pay(&id, ASKS).await;
        assert_eq!(asked.text("/status"), "action_required", "{:#}", asked.body);
        for coupons in [json!(["LAST"]), json!([])] {
            let answer = act(&app, &id, "quote", json!({ "coupons": coupons })).await;
            refused(&answer, 409, "payment_in_progress");
        }
        past_the_quotes(&app).await;
        let other = begun(&app, &product.variant_id, 1).await;
        refused(&quote(&app, &other, &["LAST"]).await, 409, "coupon_exhausted");
        let paid = act(&app, &id, "confirm-action", json!({ "answer": "pass" })).await;
        assert_eq!(paid.text("/status"), "completed", "{:#}", paid.body);
        assert_eq!(uses(&app, "last").await, (json!(1), json!(0)));
    });
}

/// The quote is asked for and paid at the same time: only one whose coupon is claimed is paid.
#[test]
fn a_quote_that_comes_while_a_payment_begins_is_paid_with_its_coupons_or_not_at_all() {
    story(async |app: App| {
        let product = app.product("Sea salt bar", 1_000, 50).await;
        let mut paying = vec![];
        for round in 0..ROUNDS {
            let code = format!("LAST{round}");
            coupon(&app, &code, json!({ "limit_total": 1 })).await;
            let id = begun(&app, &product.variant_id, 1).await;
            quote(&app, &id, &[]).await;
            let (_, paid) = join(quote(&app, &id, &[&code]), app.pay(&id, ASKS)).await;
            assert!(
                paid.status.is_success() || paid.status == StatusCode::CONFLICT,
                "{:#}",
                paid.body
            );
            paying.push((code, id));
        }
        past_the_quotes(&app).await;
        for (code, id) in paying {
            let checkout = app.get(&format!("/api/v1/checkouts/{id}")).await;
            let counts_on =
                checkout.text("/status") == "action_required" && checkout.body["total"] == gbp(900);
            let claimed = json!(i32::from(counts_on));
            assert_eq!(uses(&app, &code).await, (json!(0), claimed), "{:#}", checkout.body);
        }
    });
}

#[test]
fn a_checkout_that_is_given_up_while_it_is_paid_keeps_no_coupon() {
    story(async |app: App| {
        let product = app.product("Sea salt bar", 1_000, 50).await;
        for round in 0..ROUNDS {
            let code = format!("LAST{round}");
            coupon(&app, &code, json!({ "limit_total": 1 })).await;
            let id = begun(&app, &product.variant_id, 1).await;
            quote(&app, &id, &[&code]).await;
            join(app.pay(&id, ASKS), act(&app, &id, "abandon", json!({}))).await;
            act(&app, &id, "abandon", json!({})).await;
            sagas::drain(&app.saga).await.unwrap();
            let checkout = app.get(&format!("/api/v1/checkouts/{id}")).await;
            assert_eq!(checkout.text("/status"), "failed", "{:#}", checkout.body);
            assert_eq!(uses(&app, &code).await, (json!(0), json!(0)));
        }
    });
}

/// The client names the version that the new address makes, before it is there.
#[test]
fn a_quote_for_one_address_is_never_that_of_another() {
    story(async |app: App| {
        let product = app.product("Sea salt bar", 1_000, 50).await;
        tax(&app, false).await;
        for _ in 0..ROUNDS {
            let id = begun(&app, &product.variant_id, 1).await;
            send_to(&app, &id, "US").await;
            let checkout = app.get(&format!("/api/v1/checkouts/{id}")).await;
            let next = checkout.header("etag").trim_matches('"')[1..].parse::<i64>().unwrap() + 1;
            let path = format!("/api/v1/checkouts/{id}/quote");
            let asked =
                app.request(Method::POST, &path).header(header::IF_MATCH, format!("\"v{next}\""));
            let asked = asked.header("idempotency-key", format!("quote-{id}"));
            let asked = asked.header(header::CONTENT_TYPE, "application/json");
            let asked = app.send(asked.body(Body::from("{}")).unwrap());
            let (quoted, ()) = join(asked, send_to(&app, &id, "GB")).await;
            if quoted.status == StatusCode::OK {
                assert_eq!(quoted.body["total"], gbp(1_200), "{:#}", quoted.body);
            } else {
                assert_eq!(quoted.status, StatusCode::PRECONDITION_FAILED, "{:#}", quoted.body);
            }
        }
    });
}
