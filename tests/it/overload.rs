//! Too much at once, too late, and refused: what the edge does about it, and what it notes.

use std::time::{Duration, Instant};

use api_kit::{Limits, Permission};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use futures::future::join_all;
use serde_json::json;
use sqlx::{Executor as _, FromRow, PgPool, Row as _};
use uuid::Uuid;

use crate::app::{App, STORE, story};

/// What an answer may take that says there is no place.
const SHED_MAX: Duration = Duration::from_millis(5);

#[test]
fn what_finds_no_place_is_told_so_at_once_and_nothing_is_done() {
    story(async |app: App| {
        let product = app.product("Crowded bar", 500, 10).await;
        let full = app.another(Limits { commands: 0, queries: 0 }).await;
        let basket = json!({ "lines": [{ "variant_id": product.variant_id, "quantity": 1 }] });
        let mut spent = Vec::new();
        for _ in 0..20 {
            let began = Instant::now();
            let shed = full.post_keyed("/api/v1/checkouts", "cart", &basket).await;
            spent.push(began.elapsed());
            assert_eq!(shed.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(
                (shed.text("/code").as_str(), shed.header("retry-after")),
                ("overloaded", "1")
            );
        }
        spent.sort();
        assert!(spent[spent.len() / 2] < SHED_MAX, "{spent:?}");
        assert_eq!(full.get("/api/v1/products").await.text("/code"), "overloaded");
        let probe = Request::get("/health/live").body(Body::empty()).unwrap();
        assert_eq!(full.send(probe).await.status, StatusCode::OK);

        // The same request, where there is a place: it is the first.
        let begun = app.post_keyed("/api/v1/checkouts", "cart", &basket).await;
        assert_eq!(begun.status, StatusCode::CREATED, "{:#}", begun.body);
        assert_eq!(begun.header("idempotent-replayed"), "");
    });
}

#[test]
fn a_crowd_that_is_too_large_is_answered_and_served_in_the_end() {
    story(async |app: App| {
        let product = app.product("Small door bar", 500, 0).await;
        let small = app.another(Limits { commands: 8, queries: 8 }).await;
        let path = format!("/api/v1/stock/{}/receive", product.variant_id);
        let receive = async |n: usize| {
            let mut shed = 0;
            loop {
                let key = format!("delivery-{n}");
                let answer = small.post_keyed(&path, &key, &json!({ "quantity": 1 })).await;
                if answer.status == StatusCode::OK {
                    return shed;
                }
                assert_eq!(answer.text("/code"), "overloaded", "{:#}", answer.body);
                shed += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let shed: usize = join_all((0..100).map(receive)).await.into_iter().sum();
        assert!(0 < shed, "a hundred fit through a door for four");
        app.project().await;
        let stock = app.get(&format!("/api/v1/stock/{}", product.variant_id)).await;
        assert_eq!(stock.body["on_hand"], 100, "{:#}", stock.body);
    });
}

#[test]
fn who_pays_goes_first_and_the_back_office_last() {
    story(async |app: App| {
        let product = app.product("Queue bar", 500, 10).await;
        let other = app.begin(&product.variant_id, 1).await.text("/id");
        let small = app.another(Limits { commands: 8, queries: 1 }).await;
        let begin = || small.begin(&product.variant_id, 1);
        let stock = format!("/api/v1/stock/{}/receive", product.variant_id);
        let receive = || async { small.post(&stock, &json!({ "quantity": 1 })).await };
        let pay = || small.pay(&other, "4242424242424242");

        // Each holds a place, because its body does not end.
        let hold = || async {
            let never = futures::stream::pending::<Result<Vec<u8>, std::io::Error>>();
            let path = format!("/api/v1/checkouts/{other}/complete");
            let request = small.request(Method::POST, &path).header("idempotency-key", "slow");
            let request = request.header(header::CONTENT_TYPE, "application/json");
            small.send(request.body(Body::from_stream(never)).unwrap()).await
        };
        let crowd = |places: usize| join_all((0..places).map(|_| hold()));
        for (taken, statuses) in [(3, [200, 201, 200]), (4, [503, 201, 200]), (7, [503, 503, 200])]
        {
            let asked = async {
                [receive().await, begin().await, pay().await].map(|it| it.status.as_u16())
            };
            tokio::select! {
                biased;
                _ = crowd(taken) => panic!("a body that does not end has ended"),
                got = asked => assert_eq!(got, statuses, "{taken} places are taken"),
            }
        }
    });
}

#[test]
fn what_nobody_waits_for_any_more_is_not_begun() {
    story(async |app: App| {
        let product = app.product("Late bar", 500, 0).await;
        let path = format!("/api/v1/stock/{}/receive", product.variant_id);
        let receive = async |patience: &str| {
            let request = app.request(Method::POST, &path).header("idempotency-key", "delivery");
            let request = request.header(header::CONTENT_TYPE, "application/json");
            let request = request.header("x-request-timeout", patience);
            app.send(request.body(Body::from(r#"{"quantity":1}"#)).unwrap()).await
        };
        // Every append waits behind this one.
        let mut head = app.owner.begin().await.unwrap();
        sqlx::query("SELECT * FROM log.head FOR UPDATE").execute(&mut *head).await.unwrap();
        let one = json!({ "quantity": 1 });
        let (first, late, ()) = tokio::join!(
            // Goes first, and waits for the database.
            app.post_keyed(&path, "earlier", &one),
            async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                receive("0.2").await
            },
            async {
                tokio::time::sleep(Duration::from_millis(500)).await;
                head.commit().await.unwrap();
            },
        );
        assert_eq!(first.status, StatusCode::OK, "{:#}", first.body);
        assert_eq!(late.status, StatusCode::SERVICE_UNAVAILABLE, "{:#}", late.body);
        assert!(!late.header("retry-after").is_empty());
        let received = "SELECT count(*) FROM log.events WHERE event_type = 'StockReceived'";
        let received: i64 = sqlx::query_scalar(received).fetch_one(&app.owner).await.unwrap();
        assert_eq!(received, 1);
        let patient = receive("5").await;
        assert_eq!(patient.status, StatusCode::OK, "{:#}", patient.body);
        assert_eq!(patient.header("idempotent-replayed"), "");

        let wrong = receive("soon").await;
        assert_eq!(
            (wrong.status, wrong.text("/code").as_str()),
            (StatusCode::BAD_REQUEST, "malformed_header")
        );
        assert_eq!(wrong.text("/errors/0/parameter"), "X-Request-Timeout");
    });
}

#[test]
fn a_query_is_as_patient_as_its_client() {
    story(async |app: App| {
        let request = app.request(Method::GET, "/api/v1/products");
        let request = request.header("x-min-position", "999999").header("x-request-timeout", "0.1");
        let began = Instant::now();
        let answer = app.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status, answer.header("x-stale")), (StatusCode::OK, "true"));
        assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    });
}

/// An entry of the journal.
#[derive(Debug, PartialEq, FromRow)]
struct Entry {
    store_id: Uuid,
    actor_kind: String,
    actor_id: Uuid,
    operation: String,
    code: String,
    status: i16,
    path: String,
}

#[test]
fn the_journal_says_who_tried_what_and_why_it_was_refused() {
    story(async |app: App| {
        let product = app.product("Scarce bar", 500, 1).await;
        let before = journal(&app.owner, 0).await;
        assert_eq!(before, [], "what succeeds leaves no entry");

        let path = format!("/api/v1/stock/{}/adjust", product.variant_id);
        let adjust = json!({ "delta": -2, "reason": "ada@example.com ate them" });
        let short = app.post(&path, &adjust).await;
        assert_eq!(short.status, StatusCode::CONFLICT, "{:#}", short.body);
        let powerless = app.token(STORE, &[Permission::StockRead]);
        let request =
            Request::post(&path).header(header::AUTHORIZATION, format!("Bearer {powerless}"));
        let forbidden = app.send(request.body(Body::from(adjust.to_string())).unwrap()).await;
        assert_eq!(forbidden.status, StatusCode::FORBIDDEN);
        let stranger = app.send(Request::post(&path).body(Body::empty()).unwrap()).await;
        assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
        let query = app.get("/api/v1/products?colour=brown").await;
        assert_eq!(query.status, StatusCode::UNPROCESSABLE_ENTITY);

        let entries = journal(&app.owner, 2).await;
        let entry = |code: &str, status| Entry {
            store_id: event_schemas::ids::StoreId::of_slug(STORE).0,
            actor_kind: "user".to_owned(),
            actor_id: event_schemas::ids::ActorId::derive(&[b"tester", STORE.as_bytes()]).0,
            operation: "stock_adjust".to_owned(),
            code: code.to_owned(),
            status,
            path: path.clone(),
        };
        assert_eq!(entries, [entry("insufficient_stock", 409), entry("forbidden", 403)]);
        let request_id = "SELECT request_id FROM log.refusals ORDER BY id LIMIT 1";
        let request_id: String =
            sqlx::query_scalar(request_id).fetch_one(&app.owner).await.unwrap();
        assert_eq!(request_id, short.text("/trace_id"));
    });
}

#[test]
fn the_journal_can_be_read_by_its_store_and_changed_by_nobody() {
    story(async |app: App| {
        app.post("/api/v1/products", &json!({})).await;
        assert_eq!(journal(&app.owner, 1).await.len(), 1);
        for (store, seen) in [(STORE, 1), ("other", 0)] {
            let mut tx = app.reader.acquire().await.unwrap();
            let id = event_schemas::ids::StoreId::of_slug(store).0.to_string();
            let set = sqlx::query("SELECT set_config('app.store', $1, true)").bind(id);
            set.execute(&mut *tx).await.unwrap();
            let count = sqlx::query("SELECT count(*) FROM log.refusals").fetch_one(&mut *tx).await;
            assert_eq!(count.unwrap().get::<i64, _>(0), seen, "{store}");
        }
        for sql in ["DELETE FROM log.refusals", "UPDATE log.refusals SET code = 'x'"] {
            for pool in [&app.reader, app.ctx.engine.pool(), &app.projector] {
                let mut conn = pool.acquire().await.unwrap();
                // Out of the transaction that readers are lent in: they have no right either.
                conn.execute("BEGIN; ROLLBACK").await.unwrap();
                let error = conn.execute(sql).await.unwrap_err();
                let code = error.as_database_error().unwrap().code().unwrap().into_owned();
                assert_eq!(code, "42501", "{sql}: {error}");
            }
        }
    });
}

#[test]
fn a_burst_of_refusals_is_answered_fast_and_stays_bounded() {
    story(async |app: App| {
        let nameless = json!({});
        let mut spent = Vec::new();
        for _ in 0..10 {
            let began = Instant::now();
            for _ in 0..10 {
                let send = |_| app.post("/api/v1/products", &nameless);
                let refused = join_all((0..100).map(send)).await;
                assert!(refused.iter().all(|it| it.status == StatusCode::UNPROCESSABLE_ENTITY));
            }
            spent.push(began.elapsed());
        }
        // What is lost is said in the process's log; what is there is whole.
        let entries = journal(&app.owner, 9_000).await;
        assert!(entries.len() <= 10_000, "{}", entries.len());
        // A journal that anybody waited for would be slower the fuller it is.
        spent[1..].sort();
        assert!(spent[5] < 3 * spent[0] + Duration::from_secs(1), "{spent:?}");
    });
}

#[test]
fn the_journal_forgets_the_oldest() {
    story(async |app: App| {
        app.post("/api/v1/products", &json!({ "title": "An append, for its time" })).await;
        app.post("/api/v1/products", &json!({})).await;
        assert_eq!(journal(&app.owner, 1).await.len(), 1);
        let mut owner = app.owner.acquire().await.unwrap();
        for (days, pruned) in [(34, 0), (36, 1)] {
            let age = "UPDATE log.refusals SET refused_at = now() - make_interval(days => $1)";
            sqlx::query(age).bind(days).execute(&mut *owner).await.unwrap();
            assert_eq!(event_store::refusals::prune(&mut owner).await.unwrap(), pruned);
        }

        let many =
            "INSERT INTO log.refusals (store_id, refused_at, actor_kind, actor_id, operation,
                        code, status, request_id, correlation_id, path)
                    SELECT gen_random_uuid(), now(), 'user', gen_random_uuid(), 'x', 'x', 400, 'x',
                           gen_random_uuid(), 'x' FROM generate_series(1, 3)";
        sqlx::query(many).execute(&mut *owner).await.unwrap();
        let ahead = "SELECT setval(pg_get_serial_sequence('log.refusals', 'id'), 1000002)";
        sqlx::query(ahead).execute(&mut *owner).await.unwrap();
        sqlx::query(many).execute(&mut *owner).await.unwrap();
        assert_eq!(event_store::refusals::prune(&mut owner).await.unwrap(), 3);
        assert_eq!(journal(&app.owner, 3).await.len(), 3);
    });
}

/// The entries, oldest first, once there are at least so many.
async fn journal(owner: &PgPool, at_least: usize) -> Vec<Entry> {
    let all = "SELECT store_id, actor_kind, actor_id, operation, code, status, path
                 FROM log.refusals ORDER BY id";
    for _ in 0..500 {
        // One that was not to be there would be by then.
        tokio::time::sleep(Duration::from_millis(if at_least == 0 { 250 } else { 20 })).await;
        let entries: Vec<Entry> = sqlx::query_as(all).fetch_all(owner).await.unwrap();
        if at_least <= entries.len() {
            return entries;
        }
    }
    panic!("the journal does not get {at_least} entries");
}
