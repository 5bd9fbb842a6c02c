//! Where a purchase goes: said by the shopper, sealed before it is stored.

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::app::{Answer, App, story};

#[test]
fn an_address_is_read_by_the_shop_and_by_nobody_who_reads_the_log() {
    story(async |app: App| {
        let bar = app.product("Bar", 450, 10).await;
        let checkout = app.begin(&bar.variant_id, 1).await.text("/id");
        let none = app.get(&address(&checkout)).await;
        assert_eq!((none.status, none.text("/code")), not_found("address_not_found"));

        let set = app.send_to(&checkout, "a-1", &ada()).await;
        assert_eq!(set.status, StatusCode::OK, "{:#}", set.body);
        assert_eq!((set.text("/id"), set.text("/status")), (checkout.clone(), waiting()));
        let shown = app.get(&address(&checkout)).await;
        assert_eq!(shown.text("/line1"), "1 Cocoa Lane", "{:#}", shown.body);
        assert_eq!(shown.text("/country"), "GB", "in capitals");
        let again = app.send_to(&checkout, "a-1", &ada()).await;
        assert_eq!(again.body, set.body, "one event");
        let mut other = ada();
        other["line1"] = json!("2 Cocoa Lane");
        let reused = app.send_to(&checkout, "a-1", &other).await;
        assert_eq!(reused.text("/code"), "idempotency_key_reused", "{:#}", reused.body);

        let stored = "SELECT convert_from(payload, 'UTF8') FROM log.events ORDER BY position";
        let stored: Vec<String> = sqlx::query_scalar(stored).fetch_all(&app.owner).await.unwrap();
        let stored = stored.join("\n");
        assert!(stored.contains("ShippingAddressSet") && stored.contains("\"YO1\""), "{stored}");
        for secret in ["Ada", "ada@", "Cocoa", "York", "7AA"] {
            assert!(!stored.contains(secret), "{secret} is in the log in the clear");
        }
    });
}

#[test]
fn what_is_no_address_is_refused_before_anything_is_stored() {
    story(async |app: App| {
        let bar = app.product("Bar", 450, 10).await;
        let checkout = app.begin(&bar.variant_id, 1).await.text("/id");
        let cases = [
            ("country", json!("UK"), "/country"),
            ("email", json!("nobody"), "/email"),
            ("name", json!(" "), "/name"),
            ("city", json!("x".repeat(201)), "/city"),
            ("region", json!("ENGLAND"), "/region"),
            ("line1", json!("a\u{0}b"), "/line1"),
        ];
        for (member, value, pointer) in cases {
            let mut body = ada();
            body[member] = value;
            let refused = app.send_to(&checkout, &format!("bad-{member}"), &body).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{:#}", refused.body);
            assert_eq!(refused.text("/errors/0/pointer"), pointer);
        }
        let unknown = "chk_01JD5Z7M2K0000000000000000";
        let refused = app.send_to(unknown, "bad-id", &ada()).await;
        assert_eq!((refused.status, refused.text("/code")), not_found("checkout_not_found"));

        app.wait(TimeDelta::minutes(16));
        let late = app.send_to(&checkout, "late", &ada()).await;
        assert_eq!(late.status, StatusCode::CONFLICT, "{:#}", late.body);
    });
}

#[test]
fn the_order_goes_to_the_country_of_the_address() {
    story(async |app: App| {
        let bar = app.product("Bar", 450, 10).await;
        let line = json!([{ "variant_id": bar.variant_id, "quantity": 1 }]);
        let begin = json!({ "lines": line, "country": "Ireland" });
        let checkout = app.post("/api/v1/checkouts", &begin).await.text("/id");
        app.send_to(&checkout, "a-1", &ada()).await;
        let paid = app.pay(&checkout, "4242 4242 4242 4242").await;
        assert_eq!(paid.status, StatusCode::OK, "{:#}", paid.body);
        app.project().await;
        let order = app.get(&format!("/api/v1/orders/{}", paid.text("/order/id"))).await;
        assert_eq!(order.text("/country"), "GB", "{:#}", order.body);
    });
}

fn ada() -> Value {
    json!({
        "email": "ada@example.com", "name": "Ada Example", "line1": "1 Cocoa Lane",
        "city": "York", "postcode": "YO1 7AA", "country": "gb",
    })
}

fn address(checkout: &str) -> String {
    format!("/api/v1/checkouts/{checkout}/address")
}

fn waiting() -> String {
    "awaiting_payment".to_owned()
}

fn not_found(code: &str) -> (StatusCode, String) {
    (StatusCode::NOT_FOUND, code.to_owned())
}

impl App {
    async fn send_to(&self, checkout: &str, key: &str, body: &Value) -> Answer {
        let request = self.request(Method::PUT, &address(checkout)).header("idempotency-key", key);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }
}
