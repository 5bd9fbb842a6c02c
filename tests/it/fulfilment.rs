//! From the paid order to the doorstep, and back: parcels, what leaves the stock, when the money is
//! taken, what goes back.

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use serde_json::{Value, json};

use commands::{
    Intent,
    payment::{self, PaymentCommand},
};
use event_schemas::ids::{PaymentId, StoreId};

use crate::app::{Answer, App, Product, STORE, story};

const GOOD_CARD: &str = "4242 4242 4242 4242";
const CAPTURE_FAILS: &str = "4000000000000341";

/// An order that a shopper has completed, and where its parcels are.
struct Sold {
    id: String,
    line: String,
    parcels: String,
}

async fn sold(app: &App, product: &Product, quantity: u32, card: &str) -> Sold {
    let checkout = app.begin(&product.variant_id, quantity).await.text("/id");
    let paid = app.pay(&checkout, card).await;
    assert_eq!(paid.status, StatusCode::OK, "{:#}", paid.body);
    let id = paid.text("/order/id");
    let shown = seen(app, &id).await;
    let parcels = format!("/api/v1/orders/{id}/fulfilments");
    Sold { line: shown.text("/lines/0/id"), parcels, id }
}

impl Sold {
    async fn pack(&self, app: &App, body: Value) -> Answer {
        app.post(&self.parcels, &body).await
    }

    async fn packed(&self, app: &App, quantity: u32) -> String {
        let lines = json!([{ "line_id": self.line, "quantity": quantity }]);
        let packed = self.pack(app, json!({ "lines": lines })).await;
        assert_eq!(packed.status, StatusCode::CREATED, "{:#}", packed.body);
        packed.text("/fulfilment_id")
    }

    /// Does `what` to a parcel; the process of the order has then come to rest.
    async fn tell(&self, app: &App, parcel: &str, what: &str, body: Value) -> Answer {
        let answer = app.post(&format!("{}/{parcel}/{what}", self.parcels), &body).await;
        sagas::drain(&app.saga).await.unwrap();
        answer
    }

    async fn shipped(&self, app: &App, quantity: u32) -> String {
        let parcel = self.packed(app, quantity).await;
        let left = self.tell(app, &parcel, "ship", json!({})).await;
        assert_eq!(left.status, StatusCode::OK, "{:#}", left.body);
        parcel
    }

    async fn post(&self, app: &App, what: &str, body: Value) -> Answer {
        let answer = app.post(&format!("/api/v1/orders/{}/{what}", self.id), &body).await;
        sagas::drain(&app.saga).await.unwrap();
        answer
    }
}

/// The order as the read model shows it.
async fn seen(app: &App, order: &str) -> Answer {
    app.project().await;
    app.get(&format!("/api/v1/orders/{order}")).await
}

/// On hand, allocated and available.
async fn stock(app: &App, product: &Product) -> [u64; 3] {
    app.project().await;
    let shown = app.get(&format!("/api/v1/stock/{}", product.variant_id)).await;
    ["on_hand", "allocated", "available"].map(|name| shown.body[name].as_u64().unwrap())
}

async fn set_policies(app: &App, condition: &str, body: &Value) -> Answer {
    let request = app.request(Method::PUT, "/api/v1/store/policies");
    let request = request.header(header::IF_MATCH, condition);
    let request = request.header(header::CONTENT_TYPE, "application/json");
    app.send(request.body(Body::from(body.to_string())).unwrap()).await
}

async fn pays_on_shipment(app: &App) {
    let policies = json!({ "hold_minutes": 15, "capture": "on_shipment" });
    assert_eq!(set_policies(app, "*", &policies).await.status, StatusCode::OK);
}

#[test]
fn an_order_leaves_in_two_parcels_and_arrives() {
    story(async |app: App| {
        let product = app.product("Sea salt bar", 450, 10).await;
        let order = sold(&app, &product, 3, GOOD_CARD).await;
        assert_eq!(stock(&app, &product).await, [10, 3, 7]);
        let first = order.packed(&app, 2).await;
        let lines = json!([{ "line_id": order.line, "quantity": 2 }]);
        let too_many = order.pack(&app, json!({ "lines": lines })).await;
        assert_eq!(too_many.status, StatusCode::CONFLICT, "{:#}", too_many.body);
        assert_eq!(too_many.text("/code"), "exceeds_open_quantity");
        assert_eq!(too_many.body["open"], 1);
        assert_eq!(stock(&app, &product).await, [10, 3, 7], "a parcel that is packed is here");

        let tracking = json!({ "carrier": "royal_mail", "number": "RM1",
            "url": "https://example.com/RM1" });
        let left = order.tell(&app, &first, "ship", json!({ "tracking": tracking })).await;
        assert_eq!(left.status, StatusCode::OK, "{:#}", left.body);
        assert_eq!(stock(&app, &product).await, [8, 1, 7]);
        let shown = seen(&app, &order.id).await;
        assert_eq!(shown.text("/fulfilment_status"), "partially_shipped", "{:#}", shown.body);
        assert_eq!(shown.body["fulfilments"][0]["tracking"], tracking);

        // What is left, with nothing said: all of it, from where it lies.
        let second = order.pack(&app, json!({})).await.text("/fulfilment_id");
        order.tell(&app, &second, "ship", json!({})).await;
        // Told again, it does not leave again.
        order.tell(&app, &second, "ship", json!({})).await;
        assert_eq!(stock(&app, &product).await, [7, 0, 7]);
        assert_eq!(seen(&app, &order.id).await.text("/fulfilment_status"), "shipped");
        for parcel in [&first, &second] {
            order.tell(&app, parcel, "deliver", json!({})).await;
        }
        let shown = seen(&app, &order.id).await;
        assert_eq!(shown.text("/fulfilment_status"), "delivered", "{:#}", shown.body);
        assert_eq!(shown.text("/status"), "paid");
        let timeline = app.get(&format!("/api/v1/orders/{}/timeline", order.id)).await;
        let entries = timeline.body["data"].as_array().unwrap();
        let told = entries.iter().filter(|it| it["entry"] == "fulfilment_shipped").count();
        assert_eq!(told, 2, "{:#}", timeline.body);
        let nothing = order.pack(&app, json!({})).await;
        assert_eq!(nothing.status, StatusCode::UNPROCESSABLE_ENTITY, "{:#}", nothing.body);
        for projection in projections::ALL {
            let differences = projections::verify(&app.owner, projection).await.unwrap();
            assert_eq!(differences, [], "{}", projection.name);
        }
    });
}

#[test]
fn what_comes_back_goes_back_on_the_shelf_if_it_can_be_sold_again() {
    story(async |app: App| {
        let product = app.product("Boomerang bar", 450, 5).await;
        let order = sold(&app, &product, 4, GOOD_CARD).await;
        order.shipped(&app, 3).await;
        let line = |quantity: u32, restock: Option<&str>| {
            let mut line = json!({ "line_id": order.line, "quantity": quantity });
            if let Some(restock) = restock {
                line["restock"] = json!(restock);
            }
            json!({ "lines": [line], "reason": "sent back" })
        };
        assert_eq!(stock(&app, &product).await, [2, 1, 1]);
        // One of the three that left came back melted.
        let melted = order.post(&app, "refunds", line(1, Some("none"))).await;
        assert_eq!(melted.status, StatusCode::ACCEPTED, "{:#}", melted.body);
        assert_eq!(stock(&app, &product).await, [2, 1, 1]);
        // Two more, and nothing said: the one that is still here stays, and one came back whole.
        order.post(&app, "refunds", line(2, None)).await;
        assert_eq!(stock(&app, &product).await, [3, 0, 3]);
        let too_many = order.post(&app, "refunds", line(2, Some("return"))).await;
        assert_eq!(too_many.status, StatusCode::UNPROCESSABLE_ENTITY, "{:#}", too_many.body);
        let shown = seen(&app, &order.id).await;
        assert_eq!(shown.body["refunded"]["amount_minor"], 3 * 450, "{:#}", shown.body);
        // Both were asked for at the same still moment: in no order.
        let refunds = shown.body["refunds"].as_array().unwrap();
        let melted = |it: &&Value| it["lines"][0]["restock"] == "none";
        assert_eq!(refunds.iter().filter(melted).count(), 1, "{:#}", shown.body);
        assert_eq!(shown.text("/fulfilment_status"), "shipped");
    });
}

#[test]
fn what_is_fair_to_give_back_is_explained() {
    story(async |app: App| {
        let product = app.product("Fair bar", 333, 5).await;
        let order = sold(&app, &product, 3, GOOD_CARD).await;
        let path = format!("/api/v1/orders/{}/refund-suggestion", order.id);
        let one = app.get(&format!("{path}?lines={}:1", order.line)).await;
        assert_eq!(one.status, StatusCode::OK, "{:#}", one.body);
        assert_eq!(one.body["amount"]["amount_minor"], 333);
        assert_eq!(one.body["lines"][0]["gross"]["amount_minor"], 333, "{:#}", one.body);
        let all = app.get(&path).await;
        assert_eq!(all.body["amount"]["amount_minor"], 999, "{:#}", all.body);
        for (query, status) in [
            ("lines=nonsense".to_owned(), StatusCode::UNPROCESSABLE_ENTITY),
            (format!("lines={}:0", order.line), StatusCode::UNPROCESSABLE_ENTITY),
            (format!("lines={}:4", order.line), StatusCode::UNPROCESSABLE_ENTITY),
            (format!("lines={}:-1", order.line), StatusCode::UNPROCESSABLE_ENTITY),
            ("lines=lin_01JD5ZK6V8E4R9T2Q7WX3Y0ABC:1".to_owned(), StatusCode::NOT_FOUND),
            ("amount=1".to_owned(), StatusCode::UNPROCESSABLE_ENTITY),
        ] {
            let refused = app.get(&format!("{path}?{query}")).await;
            assert_eq!(refused.status, status, "{query}: {:#}", refused.body);
        }
    });
}

#[test]
fn of_an_order_that_is_partly_shipped_the_rest_is_cancelled() {
    story(async |app: App| {
        let product = app.product("Half bar", 500, 5).await;
        let order = sold(&app, &product, 3, GOOD_CARD).await;
        order.shipped(&app, 1).await;
        let packed = order.packed(&app, 1).await;
        let reason = json!({ "reason": "no longer wanted" });
        let cancelled = order.post(&app, "cancel", reason.clone()).await;
        assert_eq!(cancelled.status, StatusCode::ACCEPTED, "{:#}", cancelled.body);
        assert_eq!(stock(&app, &product).await, [4, 0, 4]);
        let shown = seen(&app, &order.id).await;
        assert_eq!(shown.text("/status"), "paid", "{:#}", shown.body);
        assert_eq!(shown.text("/fulfilment_status"), "shipped");
        assert_eq!(shown.body["refunded"]["amount_minor"], 1000);
        let too_late = order.tell(&app, &packed, "ship", json!({})).await;
        assert_eq!(too_late.status, StatusCode::CONFLICT, "{:#}", too_late.body);
        let again = order.post(&app, "cancel", reason).await;
        assert_eq!(again.text("/code"), "already_shipped", "{:#}", again.body);
    });
}

#[test]
fn a_parcel_and_a_cancellation_at_once_do_not_both_win() {
    story(async |app: App| {
        let product = app.product("Race bar", 500, 8).await;
        for _ in 0..4 {
            let order = sold(&app, &product, 1, GOOD_CARD).await;
            let parcel = order.packed(&app, 1).await;
            let cancel = format!("/api/v1/orders/{}/cancel", order.id);
            let reason = json!({ "reason": "at the same moment" });
            let (ship, nothing) = (format!("{}/{parcel}/ship", order.parcels), json!({}));
            let (cancelled, shipped) =
                tokio::join!(app.post(&cancel, &reason), app.post(&ship, &nothing));
            let both = (cancelled.status.is_success(), shipped.status.is_success());
            assert!(both.0 != both.1, "{:#} {:#}", cancelled.body, shipped.body);
            sagas::drain(&app.saga).await.unwrap();
            let shown = seen(&app, &order.id).await;
            let status = if both.0 { "cancelled" } else { "paid" };
            assert_eq!(shown.text("/status"), status, "{:#}", shown.body);
        }
        let [on_hand, allocated, available] = stock(&app, &product).await;
        assert_eq!((allocated, on_hand), (0, available));
    });
}

#[test]
fn a_store_may_take_money_when_the_first_parcel_leaves() {
    story(async |app: App| {
        pays_on_shipment(&app).await;
        let product = app.product("Later bar", 500, 5).await;
        let order = sold(&app, &product, 2, GOOD_CARD).await;
        let shown = seen(&app, &order.id).await;
        assert_eq!(shown.text("/status"), "confirmed", "{:#}", shown.body);
        assert_eq!(shown.text("/financial_status"), "authorised");
        let refund = order.post(&app, "refunds", json!({ "reason": "too early" })).await;
        assert_eq!(refund.text("/code"), "payment_in_progress", "{:#}", refund.body);
        order.shipped(&app, 1).await;
        let shown = seen(&app, &order.id).await;
        assert_eq!(shown.text("/status"), "paid", "{:#}", shown.body);
        assert_eq!(shown.body["captured"]["amount_minor"], 1000, "all of it, once");
        order.shipped(&app, 1).await;
        assert_eq!(stock(&app, &product).await, [3, 0, 3]);
        assert_eq!(seen(&app, &order.id).await.text("/fulfilment_status"), "shipped");
    });
}

#[test]
fn an_order_that_is_paid_on_shipment_is_cancelled_without_taking_money() {
    story(async |app: App| {
        pays_on_shipment(&app).await;
        let product = app.product("Never bar", 500, 5).await;
        let order = sold(&app, &product, 2, GOOD_CARD).await;
        order.packed(&app, 1).await;
        let cancelled = order.post(&app, "cancel", json!({ "reason": "changed my mind" })).await;
        assert_eq!(cancelled.status, StatusCode::ACCEPTED, "{:#}", cancelled.body);
        let shown = seen(&app, &order.id).await;
        assert_eq!(shown.text("/status"), "cancelled", "{:#}", shown.body);
        assert_eq!(shown.text("/financial_status"), "voided");
        assert_eq!(shown.text("/payments/0/status"), "voided");
        assert_eq!(shown.text("/fulfilments/0/status"), "cancelled");
        assert_eq!(stock(&app, &product).await, [5, 0, 5]);
    });
}

#[test]
fn nothing_leaves_for_money_that_is_not_reserved_any_more() {
    story(async |app: App| {
        pays_on_shipment(&app).await;
        let product = app.product("Late bar", 500, 5).await;
        let order = sold(&app, &product, 1, GOOD_CARD).await;
        let parcel = order.packed(&app, 1).await;
        // Time ran out at the provider.
        let sql = "SELECT stream_id FROM log.events WHERE category = 'payment' LIMIT 1";
        let id = PaymentId(sqlx::query_scalar(sql).fetch_one(&app.owner).await.unwrap());
        let (store, at) = (StoreId::of_slug(STORE), app.ctx.now());
        let intent = Intent::of_system(store, app.saga.actor, &[b"voided"], at);
        let voided = PaymentCommand::RecordVoided { at };
        payment::record(&app.ctx, &intent, id, voided).await.unwrap();
        let refused = order.tell(&app, &parcel, "ship", json!({})).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{:#}", refused.body);
        assert_eq!(refused.text("/code"), "authorisation_gone");
        assert_eq!(stock(&app, &product).await, [5, 1, 4]);
        let cancelled = order.post(&app, "cancel", json!({ "reason": "not paid" })).await;
        assert_eq!(cancelled.status, StatusCode::ACCEPTED, "{:#}", cancelled.body);
        assert_eq!(seen(&app, &order.id).await.text("/status"), "cancelled");
    });
}

#[test]
fn money_that_is_refused_on_shipment_is_visible_on_the_order() {
    story(async |app: App| {
        pays_on_shipment(&app).await;
        let product = app.product("Unlucky bar", 500, 5).await;
        let order = sold(&app, &product, 1, CAPTURE_FAILS).await;
        order.shipped(&app, 1).await;
        let shown = seen(&app, &order.id).await;
        assert_eq!(shown.text("/status"), "confirmed", "{:#}", shown.body);
        assert_eq!(shown.body["captured"]["amount_minor"], 0);
        let timeline = app.get(&format!("/api/v1/orders/{}/timeline", order.id)).await;
        let entries = timeline.body["data"].as_array().unwrap();
        assert!(entries.iter().any(|it| it["entry"] == "capture_failed"), "{:#}", timeline.body);
    });
}

#[test]
fn policies_are_read_changed_and_guarded() {
    story(async |app: App| {
        let before = app.get("/api/v1/store/policies").await;
        assert_eq!(before.body, json!({ "hold_minutes": 15, "capture": "immediately" }));
        let longer = json!({ "hold_minutes": 30, "capture": "immediately" });
        let blind = app.request(Method::PUT, "/api/v1/store/policies");
        let blind = blind.header(header::CONTENT_TYPE, "application/json");
        let blind = app.send(blind.body(Body::from(longer.to_string())).unwrap()).await;
        assert_eq!(blind.status, StatusCode::PRECONDITION_REQUIRED, "{:#}", blind.body);
        let changed = set_policies(&app, before.header("etag"), &longer).await;
        assert_eq!(changed.status, StatusCode::OK, "{:#}", changed.body);
        let late = set_policies(&app, before.header("etag"), &longer).await;
        assert_eq!(late.text("/code"), "version_mismatch", "{:#}", late.body);
        for bad in [
            json!({ "hold_minutes": 4, "capture": "immediately" }),
            json!({ "hold_minutes": 1441, "capture": "immediately" }),
            json!({ "hold_minutes": 15, "capture": "never" }),
            json!({ "hold_minutes": 15 }),
            json!({ "hold_minutes": 15, "capture": "immediately", "more": 1 }),
        ] {
            let refused = set_policies(&app, "*", &bad).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
        }
        let product = app.product("Patient bar", 500, 1).await;
        let begun = app.begin(&product.variant_id, 1).await;
        assert_eq!(begun.text("/hold_until"), "2026-03-14T12:30:00Z", "{:#}", begun.body);
        let foreign = app.token("elsewhere", api_kit::Permission::ALL);
        let request = axum::http::Request::get("/api/v1/store/policies");
        let request = request.header(header::AUTHORIZATION, format!("Bearer {foreign}"));
        let theirs = app.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(theirs.body["hold_minutes"], 15, "a store has its own");
    });
}

#[test]
fn a_parcel_that_makes_no_sense_is_refused_and_nothing_happens() {
    story(async |app: App| {
        let product = app.product("Odd bar", 500, 5).await;
        let order = sold(&app, &product, 1, GOOD_CARD).await;
        let line = |quantity: Value| json!([{ "line_id": order.line, "quantity": quantity }]);
        let foreign = json!([{ "line_id": "lin_01JD5ZK6V8E4R9T2Q7WX3Y0ABC", "quantity": 1 }]);
        for (body, status) in [
            (json!({ "lines": line(json!(0)) }), StatusCode::UNPROCESSABLE_ENTITY),
            (json!({ "lines": line(json!(-1)) }), StatusCode::UNPROCESSABLE_ENTITY),
            (json!({ "lines": line(json!(1.5)) }), StatusCode::UNPROCESSABLE_ENTITY),
            (json!({ "lines": line(json!(u32::MAX)) }), StatusCode::CONFLICT),
            (json!({ "lines": [] }), StatusCode::UNPROCESSABLE_ENTITY),
            (json!({ "lines": foreign }), StatusCode::NOT_FOUND),
            (json!({ "location": "Main Street" }), StatusCode::UNPROCESSABLE_ENTITY),
            (json!({ "location": "attic" }), StatusCode::CONFLICT),
            (json!({ "who": "me" }), StatusCode::UNPROCESSABLE_ENTITY),
        ] {
            let refused = order.pack(&app, body.clone()).await;
            assert_eq!(refused.status, status, "{body}: {:#}", refused.body);
        }
        let parcel = order.packed(&app, 1).await;
        for bad in [
            json!({ "tracking": { "carrier": "post", "number": "" } }),
            json!({ "tracking": { "carrier": "post", "number": "1", "url": "http://example.com" } }),
            json!({ "tracking": { "number": "1" } }),
        ] {
            let refused = order.tell(&app, &parcel, "ship", bad.clone()).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
        }
        let early = order.tell(&app, &parcel, "deliver", json!({})).await;
        assert_eq!(early.text("/code"), "illegal_transition", "{:#}", early.body);
        let unknown = "ful_01JD5ZK6V8E4R9T2Q7WX3Y0ABC";
        let nowhere = order.tell(&app, unknown, "ship", json!({})).await;
        assert_eq!(nowhere.text("/code"), "fulfilment_not_found", "{:#}", nowhere.body);
        let silent = order.tell(&app, &parcel, "cancel", json!({})).await;
        assert_eq!(silent.text("/code"), "reason_required", "{:#}", silent.body);
        let token = app.token("demo", &[api_kit::Permission::OrdersWrite]);
        let request = axum::http::Request::post(&order.parcels);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let request = request.header("idempotency-key", "forbidden");
        let refused = app.send(request.body(Body::from("{}")).unwrap()).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{:#}", refused.body);
        assert_eq!(stock(&app, &product).await, [5, 1, 4]);
    });
}
