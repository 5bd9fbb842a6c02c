//! What a payment provider sends, and what others send in its name.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use chrono::TimeDelta;
use event_schemas::ids::{PaymentId, StoreId};
use futures::{StreamExt as _, stream};
use providers::payment::stripe::{SECRET_NAME, signature::sign};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, App, STORE, story};

const SECRET: &str = "whsec_of_a_story";
const PATH: &str = "/api/v1/webhooks/stripe/demo";

/// A store that takes webhooks, and the payment of a checkout that nobody knows the outcome of.
async fn shop(app: &App) -> PaymentId {
    let product = app.product("Praline", 700, 5).await;
    let checkout = app.begin(&product.variant_id, 1).await.text("/id");
    // At the sandbox, which keeps what began there. Nobody answers at the account's address.
    app.pay(&checkout, "4000 0000 0000 0101").await;
    let account = json!({
        "secret_key": "sk_test_story",
        "webhook_secrets": ["whsec_former", SECRET],
        "base_url": "http://127.0.0.1:1",
    });
    let account = account.to_string();
    app.vault.put_secret(StoreId::of_slug(STORE), SECRET_NAME, account.as_bytes()).await.unwrap();
    let sql = "SELECT stream_id FROM log.events WHERE category = 'payment' LIMIT 1";
    PaymentId(sqlx::query_scalar(sql).fetch_one(&app.owner).await.unwrap())
}

fn event(id: &str, payment_id: PaymentId) -> Vec<u8> {
    let metadata = json!({ "payment_id": payment_id });
    let intent = json!({ "object": "payment_intent", "id": "pi_1", "metadata": metadata });
    let event = json!({
        "id": id,
        "object": "event",
        "type": "payment_intent.amount_capturable_updated",
        "created": 1_773_489_600,
        "data": { "object": intent },
    });
    event.to_string().into_bytes()
}

async fn deliver(app: &App, path: &str, header: Option<&str>, body: Vec<u8>) -> Answer {
    let mut request = Request::builder().method(Method::POST).uri(path);
    if let Some(header) = header {
        request = request.header("stripe-signature", header);
    }
    app.send(request.body(Body::from(body)).unwrap()).await
}

async fn deliver_signed(app: &App, body: Vec<u8>) -> Answer {
    let header = sign(SECRET.as_bytes(), app.ctx.now(), &body);
    deliver(app, PATH, Some(&header), body).await
}

/// State, tries and note of each event, by id.
async fn inbox(app: &App) -> Vec<(String, String, i32, String)> {
    let sql = "SELECT event_id, state, attempts, coalesce(note, '') FROM process.inbox ORDER BY 1";
    sqlx::query_as(sql).fetch_all(&app.owner).await.unwrap()
}

async fn events_of_log(app: &App) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM log.events").fetch_one(&app.owner).await.unwrap()
}

/// Waits for the runner to have looked at everything that is due.
async fn until_nothing_is_due(app: &App) {
    let sql = "SELECT count(*) FROM process.inbox WHERE state = 'waiting' AND due_at <= $1";
    for _ in 0..500 {
        let due = sqlx::query_scalar::<_, i64>(sql).bind(app.ctx.now());
        if due.fetch_one(&app.owner).await.unwrap() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the inbox is not worked on: {:?}", inbox(app).await);
}

async fn health(app: &App) -> Value {
    let health = app.get("/api/v1/webhooks/health").await;
    assert_eq!(health.status, StatusCode::OK, "{:#}", health.body);
    health.body
}

#[test]
fn a_webhook_ends_the_wait_for_a_payment_however_often_it_comes() {
    story(async |app: App| {
        let payment_id = shop(&app).await;
        app.wait(TimeDelta::seconds(5));

        let copies = stream::iter(0..20).map(|_| deliver_signed(&app, event("evt_1", payment_id)));
        let answers: Vec<Answer> = copies.buffer_unordered(10).collect().await;
        for answer in answers {
            assert_eq!(answer.status, StatusCode::OK, "{:#}", answer.body);
        }
        until_nothing_is_due(&app).await;
        // Late, and out of order: the provider is asked again, and there is nothing new.
        deliver_signed(&app, event("evt_0", payment_id)).await;
        deliver_signed(&app, event("evt_1", payment_id)).await;
        until_nothing_is_due(&app).await;
        // So far nobody answered. From here on the sandbox does.
        app.vault.remove_secret(StoreId::of_slug(STORE), SECRET_NAME).await.unwrap();
        app.wait(TimeDelta::seconds(10));
        until_nothing_is_due(&app).await;

        let inbox = inbox(&app).await;
        let states: Vec<_> = inbox.iter().map(|row| (row.0.as_str(), row.1.as_str())).collect();
        assert_eq!(states.len(), 2, "{inbox:?}");
        let settled = |state: &str| matches!(state, "applied" | "ignored");
        assert!(states.iter().all(|(_, state)| settled(state)), "{inbox:?}");
        let sql = "SELECT count(*) FROM log.events WHERE event_type = $1";
        for once in ["PaymentAuthorised", "OrderPlaced", "PaymentCaptured"] {
            let count = sqlx::query_scalar::<_, i64>(sql).bind(once);
            assert_eq!(count.fetch_one(&app.owner).await.unwrap(), 1, "{once}");
        }
        let health = health(&app).await;
        assert_eq!((&health["received"], &health["waiting"]), (&json!(2), &json!(0)), "{health}");
    });
}

#[test]
fn forged_stale_and_oversized_webhooks_change_nothing() {
    story(async |app: App| {
        let payment_id = shop(&app).await;
        let before = events_of_log(&app).await;
        let body = event("evt_1", payment_id);
        let now = app.ctx.now();
        let good = sign(SECRET.as_bytes(), now, &body);
        let late = sign(SECRET.as_bytes(), now - TimeDelta::seconds(301), &body);
        let other = sign(b"whsec_of_somebody_else", now, &body);
        let large = vec![b' '; 256 * 1024 + 1];
        let signed_large = sign(SECRET.as_bytes(), now, &large);
        let rubbish = sign(SECRET.as_bytes(), now, b"rubbish");
        for (path, header, body, code) in [
            (PATH, None, body.clone(), "signature_invalid"),
            (PATH, Some(""), body.clone(), "signature_invalid"),
            (PATH, Some(other.as_str()), body.clone(), "signature_invalid"),
            (PATH, Some(&late), body.clone(), "timestamp_outside_tolerance"),
            (PATH, Some(&good), [body.clone(), b" ".to_vec()].concat(), "signature_invalid"),
            (PATH, Some(&signed_large), large, "body_too_large"),
            (PATH, Some(&rubbish), b"rubbish".to_vec(), "bad_request"),
            ("/api/v1/webhooks/stripe/elsewhere", Some(&good), body.clone(), "signature_invalid"),
            ("/api/v1/webhooks/stripe/..%2Fdemo", Some(&good), body.clone(), "signature_invalid"),
        ] {
            let answer = deliver(&app, path, header, body).await;
            assert!(answer.status.is_client_error(), "{}", answer.status);
            assert_eq!(answer.text("/code"), code, "{path} {header:?}");
        }
        for at in 0..body.len() {
            let mut forged = body.clone();
            forged[at] ^= 1;
            let answer = deliver(&app, PATH, Some(&good), forged).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "byte {at}");
        }
        assert!(inbox(&app).await.is_empty());
        assert_eq!(events_of_log(&app).await, before);
        // What is refused is counted, and the refused one itself is still good.
        let metrics = app.open(STORE, "/metrics").await;
        let metrics = axum::body::to_bytes(metrics.into_body(), usize::MAX).await.unwrap();
        let metrics = String::from_utf8(metrics.to_vec()).unwrap();
        let counted = "conche_webhooks_refused_total{reason=\"timestamp_outside_tolerance\"} 1\n";
        assert!(metrics.contains(counted), "{metrics}");
        assert_eq!(deliver(&app, PATH, Some(&good), body).await.status, StatusCode::OK);
    });
}

#[test]
fn an_event_about_a_payment_we_never_hear_of_is_parked_and_can_be_redriven() {
    story(async |app: App| {
        shop(&app).await;
        let unknown = PaymentId(Uuid::from_u128(7));
        deliver_signed(&app, event("evt_early", unknown)).await;
        let others = json!({ "object": "customer", "id": "cus_1" });
        let foreign = json!({ "id": "evt_foreign", "type": "customer.created",
            "created": 1_773_489_600, "data": { "object": others } });
        deliver_signed(&app, foreign.to_string().into_bytes()).await;

        for tries in 1..=12 {
            until_nothing_is_due(&app).await;
            let inbox = inbox(&app).await;
            assert_eq!((inbox[0].0.as_str(), inbox[0].2), ("evt_early", tries), "{inbox:?}");
            assert_eq!(inbox[0].1 == "parked", tries == 12, "{inbox:?}");
            app.wait(TimeDelta::hours(1) + TimeDelta::minutes(12));
        }

        let parked = sagas::inbox::Parked::new(app.saga.pool.clone());
        let found = parked.list(None).await.unwrap();
        assert_eq!((found.len(), found[0].attempts), (1, 12), "{found:?}");
        let state = health(&app).await;
        assert_eq!((&state["parked"], &state["failed"]), (&json!(1), &json!(0)), "{state}");
        let ignored = json!([{ "reason": "no_payment_of_ours", "count": 1 }]);
        assert_eq!(state["ignored"], ignored, "{state}");
        assert_eq!(parked.redrive(Some("evt_early"), app.ctx.now()).await.unwrap(), 1);
        until_nothing_is_due(&app).await;
        assert_eq!(inbox(&app).await[0].2, 1);
        assert_eq!(health(&app).await["failed"], json!(1));
    });
}

#[test]
fn the_health_of_webhooks_is_told_of_ones_own_store_only() {
    story(async |app: App| {
        let payment_id = shop(&app).await;
        deliver_signed(&app, event("evt_1", payment_id)).await;
        let stranger = app.token("elsewhere", api_kit::Permission::ALL);
        let request = Request::get("/api/v1/webhooks/health");
        let request = request.header("authorization", format!("Bearer {stranger}"));
        let answer = app.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.body["received"], json!(0), "{:#}", answer.body);
        let nobody = Request::get("/api/v1/webhooks/health").body(Body::empty()).unwrap();
        assert_eq!(app.send(nobody).await.status, StatusCode::UNAUTHORIZED);
    });
}

/// How many a second, for people: `cargo test --release -- --ignored --nocapture webhooks_a_second`.
#[test]
#[ignore = "a measurement"]
fn webhooks_a_second() {
    story(async |app: App| {
        let payment_id = shop(&app).await;
        let (events, at_once) = (20_000, 64);
        let bodies: Vec<_> = (0..events).map(|n| event(&format!("evt_{n}"), payment_id)).collect();
        let began = std::time::Instant::now();
        let answers = stream::iter(bodies).map(async |body| {
            let sent = std::time::Instant::now();
            let answer = deliver_signed(&app, body).await;
            assert_eq!(answer.status, StatusCode::OK);
            sent.elapsed()
        });
        let mut waits: Vec<_> = answers.buffer_unordered(at_once).collect().await;
        let rate = f64::from(events) / began.elapsed().as_secs_f64();
        waits.sort();
        let p99 = waits[waits.len() * 99 / 100];
        #[expect(clippy::print_stdout, reason = "what it is for")]
        {
            println!("{rate:.0} a second, p99 {p99:?}");
        }
    });
}
