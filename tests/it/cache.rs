//! Answers that are kept: never older than the read model, and asked for once.

use std::time::Duration;

use axum::{
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode, header},
};
use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::{Executor as _, postgres::PgConnectOptions};
use test_database::Database;

use crate::app::{Answer, App, Product, Reading, story};

/// How long the task that follows the read models may take to see them.
const PATIENCE: Duration = Duration::from_secs(5);

impl App {
    /// Another process that keeps answers, once it knows how far the read models are.
    async fn caching(&self) -> App {
        let app = self.reading(Reading { cached: true, ..Reading::default() }).await;
        app.until("/api/v1/products", |_, kept| kept).await;
        app
    }

    /// Another process that reads from a replica.
    async fn replicated(&self, replica: PgConnectOptions) -> App {
        self.reading(Reading { cached: true, replica: Some(replica) }).await
    }

    /// Asks until the answer (and whether it was kept) is as wanted.
    async fn until(&self, path: &str, so: impl Fn(&Answer, bool) -> bool + Send) -> Answer {
        let seen = async {
            loop {
                let (answer, kept) = self.kept(path).await;
                if so(&answer, kept) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.expect("what is waited for happens")
    }

    /// The answer, and whether it was kept.
    async fn kept(&self, path: &str) -> (Answer, bool) {
        let before = self.reads.cache_counts().unwrap();
        let answer = self.get(path).await;
        let after = self.reads.cache_counts().unwrap();
        assert_eq!(after.hits + after.misses, before.hits + before.misses + 1, "{path}");
        (answer, before.hits < after.hits)
    }

    async fn get_with(&self, path: &str, name: &str, value: &str) -> Answer {
        let request = self.request(Method::GET, path).header(name, value);
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn receive(&self, product: &Product) -> String {
        let path = format!("/api/v1/stock/{}/receive", product.variant_id);
        let received = self.post(&path, &json!({ "location": "main", "quantity": 1 })).await;
        assert_eq!(received.status, StatusCode::OK, "{:#}", received.body);
        received.header("x-position").to_owned()
    }
}

fn in_list<'a>(list: &'a Answer, title: &str) -> &'a Value {
    let products = list.body["data"].as_array().unwrap();
    products.iter().find(|product| product["title"] == title).unwrap()
}

/// Made on a thread of its own, because a story is a task and making one is not.
fn empty_database() -> Database {
    let make = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(Database::new())
    };
    std::thread::spawn(make).join().unwrap()
}

#[test]
fn an_answer_is_kept_until_what_it_shows_has_changed() {
    story(async |app: App| {
        let bar = app.product("Sea salt bar", 450, 10).await;
        let box_ = app.product("Truffle box", 2_500, 3).await;
        app.project().await;
        let app = app.caching().await;
        let bar_path = format!("/api/v1/products/{}", bar.id);
        let paths =
            [bar_path.as_str(), "/api/v1/products/by-handle/truffle-box", "/api/v1/products"];
        for path in paths {
            app.get(path).await;
            let (kept, was_kept) = app.kept(path).await;
            assert!(was_kept, "{path}");
            assert_eq!(kept.status, StatusCode::OK);
            assert_eq!(kept.header("cache-control"), "private, no-cache");
        }
        let metrics = app.begin_answer(Request::get("/metrics").body(Body::empty()).unwrap()).await;
        let metrics = to_bytes(metrics.into_body(), usize::MAX).await.unwrap();
        let hits = app.reads.cache_counts().unwrap().hits;
        let hits = format!("conche_read_cache_requests_total{{outcome=\"hit\"}} {hits}\n");
        assert!(String::from_utf8_lossy(&metrics).contains(&hits), "{metrics:?}");
        // What was made for another page is another answer.
        assert!(!app.kept("/api/v1/products?limit=1").await.1);

        // Stock of one product changes that product and the lists that show it.
        app.receive(&bar).await;
        app.project().await;
        app.until(&bar_path, |bar, _| bar.body["variants"][0]["available"] == 11).await;
        let (list, _) = app.kept("/api/v1/products").await;
        assert_eq!(in_list(&list, "Sea salt bar")["variants"][0]["available"], 11);
        assert!(app.kept("/api/v1/products/by-handle/truffle-box").await.1);

        // The other product changes its page and every list.
        let edited = app.request(Method::POST, &format!("/api/v1/products/{}/archive", box_.id));
        let edited =
            edited.header("idempotency-key", "k").header(header::CONTENT_TYPE, "application/json");
        let edited = app.send(edited.body(Body::from("{}")).unwrap()).await;
        assert_eq!(edited.status, StatusCode::OK, "{:#}", edited.body);
        app.project().await;
        app.until("/api/v1/products", |list, _| {
            in_list(list, "Truffle box")["status"] == "archived"
        })
        .await;
        assert!(app.kept(&bar_path).await.1);
        let (shown, _) = app.kept("/api/v1/products/by-handle/truffle-box").await;
        assert_eq!(shown.body["status"], "archived");
    });
}

#[test]
fn who_has_written_is_given_nothing_older() {
    story(async |app: App| {
        let bar = app.product("Sea salt bar", 450, 10).await;
        app.project().await;
        let app = app.caching().await;
        let path = format!("/api/v1/products/{}", bar.id);
        for expected in 11..16 {
            app.get(&path).await;
            let position = app.receive(&bar).await;
            let (answer, ()) =
                tokio::join!(app.get_with(&path, "x-min-position", &position), app.project());
            assert_eq!(answer.body["variants"][0]["available"], expected, "{:#}", answer.body);
            assert_eq!(answer.header("x-stale"), "");
            let shown: i64 = answer.header("x-position").parse().unwrap();
            assert!(position.parse::<i64>().unwrap() <= shown);
            let kept = app.get_with(&path, "x-min-position", &position).await;
            assert_eq!(kept.body, answer.body, "what was kept is not from before");
        }
    });
}

#[test]
fn a_client_that_has_the_answer_is_told_so() {
    story(async |app: App| {
        let bar = app.product("Sea salt bar", 450, 10).await;
        app.project().await;
        let path = format!("/api/v1/products/{}", bar.id);
        for app in [app.clone(), app.caching().await] {
            for path in [path.as_str(), "/api/v1/products?limit=1"] {
                let first = app.get(path).await;
                let etag = first.header("etag").to_owned();
                for known in [etag.clone(), format!("\"other\", W/{etag}"), "*".to_owned()] {
                    let again = app.get_with(path, "if-none-match", &known).await;
                    assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{path} {known}");
                    assert_eq!(again.header("etag"), etag);
                    assert_eq!(again.header("content-length"), first.header("content-length"));
                }
                let other = app.get_with(path, "if-none-match", "\"v1\"").await;
                assert_eq!((other.status, other.body), (StatusCode::OK, first.body));
            }
        }
        // The version in it is what a command may ask to be unchanged.
        let etag = app.get(&path).await.header("etag").to_owned();
        app.receive(&bar).await;
        app.project().await;
        assert_ne!(app.get(&path).await.header("etag"), etag, "it shows the stock");
        let request = app.request(Method::PATCH, &path).header("if-match", etag);
        let request =
            request.header("idempotency-key", "k").header(header::CONTENT_TYPE, "application/json");
        let patched = app.send(request.body(Body::from(r#"{"title":"Bar"}"#)).unwrap()).await;
        assert_eq!(patched.status, StatusCode::OK, "{:#}", patched.body);
    });
}

#[test]
fn a_crowd_that_asks_for_the_same_asks_the_database_once() {
    story(async |app: App| {
        app.product("Sea salt bar", 450, 10).await;
        app.project().await;
        let app = app.caching().await;
        let before = app.reads.cache_counts().unwrap();
        let path = "/api/v1/products?filter[status]=active";
        let answers = join_all((0..50).map(|_| app.get(path))).await;
        assert!(answers.iter().all(|answer| answer.body["data"][0]["title"] == "Sea salt bar"));
        let after = app.reads.cache_counts().unwrap();
        assert_eq!((after.hits - before.hits, after.misses - before.misses), (49, 1));
    });
}

#[test]
fn what_was_kept_goes_when_tables_are_replaced_without_an_event() {
    story(async |app: App| {
        let bar = app.product("Sea salt bar", 450, 10).await;
        app.project().await;
        let app = app.caching().await;
        let path = format!("/api/v1/products/{}", bar.id);
        app.get(&path).await;
        let forge = "UPDATE read.catalog_products SET title = 'wrong'";
        app.owner.execute(forge).await.unwrap();
        assert!(app.kept(&path).await.1, "no event says that it has changed");
        let catalog = projections::find("catalog").unwrap();
        projections::rebuild(&app.owner, catalog, &|_, _| {}).await.unwrap();
        app.until(&path, |_, kept| !kept).await;
        assert_eq!(app.get(&path).await.text("/title"), "Sea salt bar");
    });
}

#[test]
fn an_answer_of_one_store_is_never_given_to_another() {
    story(async |app: App| {
        let bar = app.product("Sea salt bar", 450, 10).await;
        app.project().await;
        let app = app.caching().await;
        let path = format!("/api/v1/products/{}", bar.id);
        for _ in 0..2 {
            assert_eq!(app.get(&path).await.status, StatusCode::OK);
            let token = app.token("elsewhere", api_kit::Permission::ALL);
            let request = Request::get(&path);
            let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            let stranger = app.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(stranger.status, StatusCode::NOT_FOUND);
        }
    });
}

#[test]
fn a_late_answer_says_by_how_much() {
    story(async |app: App| {
        let bar = app.product("Sea salt bar", 450, 10).await;
        app.project().await;
        let position = app.receive(&bar).await;
        let path = format!("/api/v1/products/{}", bar.id);
        let late = app.get_with(&path, "x-min-position", &position).await;
        assert_eq!(late.status, StatusCode::OK, "{:#}", late.body);
        assert_eq!((late.header("x-stale"), late.header("x-stale-positions")), ("true", "1"));
        let seconds: f64 = late.header("x-stale-seconds").parse().unwrap();
        assert!((0.4..PATIENCE.as_secs_f64()).contains(&seconds), "{seconds}");
        assert_eq!(late.header("cache-control"), "private, no-store");
    });
}

#[test]
fn a_replica_that_is_behind_or_away_is_stood_in_for() {
    story(async |app: App| {
        let bar = app.product("Sea salt bar", 450, 10).await;
        app.project().await;
        let path = format!("/api/v1/products/{}", bar.id);
        let position = app.receive(&bar).await;
        app.project().await;
        // It has the tables, and no event has reached it yet.
        let behind = empty_database();
        let away = behind.options().port(1);
        let with_away = app.replicated(away).await;
        let with_behind = app.replicated(behind.options()).await;
        for app in [&with_away, &with_behind] {
            let fresh = app.get_with(&path, "x-min-position", &position).await;
            assert_eq!(fresh.status, StatusCode::OK, "{:#}", fresh.body);
            assert_eq!(fresh.body["variants"][0]["available"], 11, "{:#}", fresh.body);
            assert_eq!(fresh.header("x-stale"), "");
        }
        with_behind.until(&path, |shown, _| shown.status == StatusCode::NOT_FOUND).await;
    });
}
