//! Everything that happened, for whoever wants all of it.

use api_kit::Permission;
use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::app::{App, STORE, story};

impl App {
    /// Every event of a list, page by page; each page is as long as it may be.
    async fn all_events(&self, query: &str, limit: usize) -> Vec<Value> {
        let path = format!("/api/v1/events?limit={limit}&{query}");
        let (mut events, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{path}{after}")).await;
            assert_eq!(page.status, StatusCode::OK, "{:#}", page.body);
            let data = page.body["data"].as_array().unwrap();
            assert!(data.len() <= limit);
            events.extend(data.iter().cloned());
            after = format!("&after={}", page.text("/page/next"));
            if page.body["page"]["has_more"] == false {
                return events;
            }
        }
    }
}

fn positions(events: &[Value]) -> Vec<i64> {
    events.iter().map(|event| event["position"].as_i64().unwrap()).collect()
}

#[test]
fn all_of_one_store_comes_once_and_in_order_whichever_way() {
    story(async |app: App| {
        let product = app.product("Sea salt bar", 450, 10).await;
        let checkout = app.begin(&product.variant_id, 2).await.text("/id");
        let order = app.pay(&checkout, "4242424242424242").await.text("/order/id");
        // Another store has a history of its own.
        let foreign = Permission::ALL;
        let token = app.token("elsewhere", foreign);
        let body = r#"{"title":"Theirs","variants":[{"sku":"THEIRS"}]}"#;
        let request = Request::post("/api/v1/products").header("idempotency-key", "k");
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        let request = request.header(header::CONTENT_TYPE, "application/json");
        assert_eq!(app.send(request.body(Body::from(body)).unwrap()).await.status, 201);
        let store = event_schemas::ids::StoreId::of_slug(STORE).0;
        let ours = "SELECT position FROM log.events WHERE store_id = $1 ORDER BY position";
        let ours: Vec<i64> =
            sqlx::query_scalar(ours).bind(store).fetch_all(&app.owner).await.unwrap();
        assert!(10 < ours.len());

        for limit in [1, 3, 100] {
            assert_eq!(positions(&app.all_events("", limit).await), ours, "{limit}");
            let mut newest = positions(&app.all_events("sort=-position", limit).await);
            newest.reverse();
            assert_eq!(newest, ours, "{limit}");
        }
        let all = app.all_events("", 100).await;
        let having = |so: &dyn Fn(&Value) -> bool| {
            positions(&all.iter().filter(|event| so(event)).cloned().collect::<Vec<_>>())
        };
        let actor = all[0]["metadata"]["actor"]["id"].as_str().unwrap();
        let cases: [(String, Vec<i64>); 6] = [
            (format!("filter[stream]={order}"), having(&|event| event["stream"] == order.as_str())),
            (
                format!("filter[stream]={}&types=StockReserved", product.variant_id),
                having(&|event| event["type"] == "StockReserved"),
            ),
            (
                "filter[category]=order,payment".to_owned(),
                having(&|event| event["category"] == "order" || event["category"] == "payment"),
            ),
            (
                "filter[type]=OrderPlaced".to_owned(),
                having(&|event| event["type"] == "OrderPlaced"),
            ),
            (
                format!("filter[actor]={actor}"),
                having(&|event| event["metadata"]["actor"]["id"] == actor),
            ),
            (
                format!("filter[correlation_id]={checkout}"),
                having(&|event| event["metadata"]["correlation_id"] == checkout.as_str()),
            ),
        ];
        for (query, expected) in cases {
            assert!(!expected.is_empty() && expected.len() < all.len(), "{query}");
            for limit in [1, 100] {
                assert_eq!(positions(&app.all_events(&query, limit).await), expected, "{query}");
            }
        }
    });
}

#[test]
fn secrets_of_payments_stay_inside() {
    story(async |app: App| {
        let product = app.product("Sea salt bar", 450, 10).await;
        let checkout = app.begin(&product.variant_id, 2).await.text("/id");
        app.pay(&checkout, "4000002500003155").await;
        let path = format!("/api/v1/checkouts/{checkout}/confirm-action");
        let confirmed = app.post(&path, &serde_json::json!({ "answer": "pass" })).await;
        assert!(confirmed.status.is_success(), "{:#}", confirmed.body);
        let all = app.all_events("", 100).await;
        for kind in ["PaymentStarted", "PaymentIntentRequested", "PaymentActionAnswered"] {
            let event = all.iter().find(|event| event["type"] == kind);
            let data = event.unwrap_or_else(|| panic!("{kind}"))["data"].as_object().unwrap();
            assert!(!data.is_empty(), "{kind}");
            assert!(!data.contains_key("payment_method"), "{kind}");
            assert!(!data.contains_key("answer"), "{kind}");
        }
    });
}

#[test]
fn a_time_is_found_among_the_positions() {
    story(async |app: App| {
        for title in ["One", "Two", "Three"] {
            app.product(title, 100, 1).await;
        }
        let all = app.all_events("", 100).await;
        let time = |event: &Value| -> DateTime<Utc> {
            event["recorded_at"].as_str().unwrap().parse().unwrap()
        };
        for event in &all {
            let text = event["recorded_at"].as_str().unwrap();
            let (before, after): (Vec<Value>, Vec<Value>) =
                all.iter().cloned().partition(|other| time(other) < time(event));
            let from = app.all_events(&format!("filter[recorded_at][gte]={text}"), 2).await;
            assert_eq!(positions(&from), positions(&after));
            let until = app.all_events(&format!("filter[recorded_at][lt]={text}"), 2).await;
            assert_eq!(positions(&until), positions(&before));
        }
        let never = app.all_events("filter[recorded_at][gte]=9999-01-01T00:00:00Z", 2).await;
        assert_eq!(never, Vec::<Value>::new());
    });
}

#[test]
fn who_has_read_to_the_end_goes_on_from_there() {
    story(async |app: App| {
        app.product("One", 100, 0).await;
        let end = app.get("/api/v1/events?limit=100").await;
        assert_eq!(end.body["page"]["has_more"], false);
        let next = format!("/api/v1/events?after={}", end.text("/page/next"));
        assert_eq!(app.get(&next).await.body["data"], serde_json::json!([]));
        app.product("Two", 100, 0).await;
        let more = app.get(&next).await;
        let first = more.body["data"][0]["position"].as_i64().unwrap();
        assert_eq!(first, end.body["scanned_through"].as_i64().unwrap() + 1);
    });
}

#[test]
fn history_needs_its_own_permission_and_cursors_stay_in_their_store() {
    story(async |app: App| {
        app.product("One", 100, 0).await;
        let next = app.get("/api/v1/events?limit=1").await.text("/page/next");
        let ask = async |store: &str, permission: &[Permission], path: &str| {
            let token = app.token(store, permission);
            let request = Request::get(path);
            let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            app.send(request.body(Body::empty()).unwrap()).await.status.as_u16()
        };
        let others: Vec<_> = Permission::ALL
            .iter()
            .copied()
            .filter(|permission| *permission != Permission::EventsRead)
            .collect();
        assert_eq!(ask(STORE, &others, "/api/v1/events").await, 403);
        assert_eq!(ask(STORE, &[Permission::EventsRead], "/api/v1/events").await, 200);
        let cursor = format!("/api/v1/events?after={next}");
        assert_eq!(ask("elsewhere", &[Permission::EventsRead], &cursor).await, 400);
        let other_list = format!("/api/v1/events?sort=-position&after={next}");
        assert_eq!(app.get(&other_list).await.status, 400);
    });
}
