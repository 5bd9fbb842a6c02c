//! Clients that hear of changes: what they hear is there, once, in order, and not for ever.

use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream},
    http::{Method, StatusCode},
};
use chrono::TimeDelta;
use futures::{StreamExt as _, future::join_all};
use serde_json::{Value, json};

use crate::app::{App, Product, story};

/// How long an event may take that is on its way.
const PATIENCE: Duration = Duration::from_secs(5);

/// A client that listens.
pub(crate) struct Ear {
    stream: BodyDataStream,
    heard: String,
}

/// An event as a client reads it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Heard {
    id: Option<i64>,
    name: String,
    pub(crate) data: Value,
}

impl Ear {
    /// The next event; `None` when the server has ended the answer.
    pub(crate) async fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some((event, rest)) = self.heard.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.heard = rest;
                if let Some(event) = heard(&event) {
                    return Some(event);
                }
                continue;
            }
            let part = tokio::time::timeout(PATIENCE, self.stream.next());
            let part = part.await.expect("an event comes")?.unwrap();
            self.heard.push_str(std::str::from_utf8(&part).unwrap());
        }
    }

    /// Nothing comes, though this much time passes.
    async fn silent(&mut self) {
        assert_eq!(self.heard, "");
        let nothing = tokio::time::timeout(Duration::from_millis(300), self.stream.next()).await;
        assert!(nothing.is_err(), "{nothing:?}");
    }
}

/// Comments are no events.
fn heard(text: &str) -> Option<Heard> {
    let field = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    Some(Heard {
        id: field("id").map(|id| id.parse().unwrap()),
        name: field("event")?.to_owned(),
        data: serde_json::from_str(field("data")?).unwrap(),
    })
}

impl App {
    pub(crate) async fn listen(&self, path: &str, last_event_id: Option<i64>) -> Ear {
        let mut request = self.request(Method::GET, path);
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id.to_string());
        }
        let response = self.begin_answer(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "private, no-store");
        Ear { stream: response.into_body().into_data_stream(), heard: String::new() }
    }

    async fn order(&self, product: &Product) -> String {
        let checkout = self.begin(&product.variant_id, 1).await.text("/id");
        let order = self.pay(&checkout, "4242424242424242").await.text("/order/id");
        self.project().await;
        order
    }

    async fn receive_some(&self, product: &Product, quantity: u32) {
        let path = format!("/api/v1/stock/{}/receive", product.variant_id);
        let received = self.post(&path, &json!({ "location": "main", "quantity": quantity })).await;
        assert_eq!(received.status, StatusCode::OK, "{:#}", received.body);
    }
}

#[test]
fn whoever_follows_an_order_hears_each_entry_once_and_can_read_it() {
    story(async |app: App| {
        let product = app.product("Sea salt bar", 450, 10).await;
        let order = app.order(&product).await;
        let path = format!("/api/v1/orders/{order}/events");
        let mut ear = app.listen(&path, None).await;
        let open = ear.next().await.unwrap();
        assert_eq!(open.name, "open");
        assert_eq!(open.data["position"], open.id.unwrap());
        app.order(&product).await;
        ear.silent().await;

        let cancel = format!("/api/v1/orders/{order}/cancel");
        app.post(&cancel, &json!({ "reason": "melted" })).await;
        sagas::drain(&app.saga).await.unwrap();
        // Stored, and not to be heard of before it can be read.
        ear.silent().await;
        app.project().await;
        let mut heard = vec![ear.next().await.unwrap()];
        while heard.last().unwrap().name != "order_cancelled" {
            heard.push(ear.next().await.unwrap());
        }
        let timeline = app.get(&format!("/api/v1/orders/{order}/timeline?limit=100")).await;
        let timeline = timeline.body["data"].as_array().unwrap().clone();
        let after =
            |id: i64| timeline.iter().filter(move |entry| id < entry["position"].as_i64().unwrap());
        let told: Vec<&Value> = heard.iter().map(|event| &event.data).collect();
        assert_eq!(told, after(open.id.unwrap()).collect::<Vec<_>>());
        assert!(2 < told.len(), "{told:?}");

        // Whoever was away goes on where it was, from every place.
        for (nth, last) in heard.iter().enumerate() {
            let mut again = app.listen(&path, last.id).await;
            assert_eq!(again.next().await.unwrap().name, "open");
            for expected in &heard[nth + 1..] {
                assert_eq!(again.next().await.as_ref(), Some(expected));
            }
            again.silent().await;
        }
        let from_the_start = app.listen(&format!("{path}?after=0"), None).await;
        let all = from_the_start.stream.take(1 + timeline.len()).collect::<Vec<_>>().await;
        assert_eq!(all.len(), 1 + timeline.len());
    });
}

#[test]
fn whoever_follows_a_checkout_hears_its_steps() {
    story(async |app: App| {
        let product = app.product("Sea salt bar", 450, 10).await;
        let checkout = app.begin(&product.variant_id, 1).await.text("/id");
        let mut ear = app.listen(&format!("/api/v1/checkouts/{checkout}/events"), None).await;
        assert_eq!(ear.next().await.unwrap().name, "open");
        app.pay(&checkout, "4242424242424242").await;
        let mut names = Vec::new();
        while names.last().is_none_or(|name| name != "CheckoutCompleted") {
            names.push(ear.next().await.unwrap().name);
        }
        assert_eq!(names[0], "PaymentStarted", "{names:?}");
        let unknown = "/api/v1/checkouts/chk_01JD5ZK6V8E4R9T2Q7WX3Y0ABC/events";
        assert_eq!(app.get(unknown).await.status, StatusCode::NOT_FOUND);
    });
}

#[test]
fn a_crowd_that_follows_a_product_sees_the_newest_state() {
    story(async |app: App| {
        let product = app.product("Sea salt bar", 450, 10).await;
        let other = app.product("Truffle box", 2_500, 3).await;
        app.project().await;
        let path = format!("/api/v1/products/{}/events", product.id);
        let mut ears = join_all((0..50).map(|_| app.listen(&path, None))).await;
        let available = |heard: &Heard| heard.data["variants"][0]["available"].as_i64().unwrap();
        for ear in &mut ears {
            assert_eq!(available(&ear.next().await.unwrap()), 10);
        }
        app.receive_some(&other, 1).await;
        app.project().await;
        ears[0].silent().await;
        for _ in 0..5 {
            app.receive_some(&product, 2).await;
            app.project().await;
        }
        let mut last = 0;
        for ear in &mut ears {
            let mut heard = ear.next().await.unwrap();
            while available(&heard) < 20 {
                heard = ear.next().await.unwrap();
            }
            last = heard.id.unwrap();
        }
        // Who has seen it is not told again; who has not, is.
        let mut same = app.listen(&path, Some(last)).await;
        same.silent().await;
        let mut older = app.listen(&path, Some(1)).await;
        assert_eq!(available(&older.next().await.unwrap()), 20);
    });
}

#[test]
fn whoever_comes_back_between_a_change_and_the_look_at_it_hears_of_it() {
    story(async |app: App| {
        let product = app.product("Sea salt bar", 450, 10).await;
        app.project().await;
        let path = format!("/api/v1/products/{}/events", product.id);
        let available = |heard: &Heard| heard.data["variants"][0]["available"].as_i64().unwrap();
        let mut heard = app.listen(&path, None).await.next().await.unwrap();
        for units in 11..31 {
            app.receive_some(&product, 1).await;
            app.project().await;
            let mut ear = app.listen(&path, heard.id).await;
            heard = ear.next().await.unwrap();
            while available(&heard) < units {
                heard = ear.next().await.unwrap();
            }
        }
    });
}

#[test]
fn a_feed_ends_with_the_token_and_with_the_process_and_says_so() {
    story(async |app: App| {
        let product = app.product("Sea salt bar", 450, 10).await;
        app.project().await;
        let path = format!("/api/v1/products/{}/events", product.id);
        let request = app.request(Method::GET, &path);
        // Tokens of stories live for 30 days, and are good a little longer than they say.
        app.wait(TimeDelta::days(30));
        let response = app.begin_answer(request.body(Body::empty()).unwrap()).await;
        let mut ear = Ear { stream: response.into_body().into_data_stream(), heard: String::new() };
        let mut end = ear.next().await.unwrap();
        if end.name == "availability" {
            end = ear.next().await.unwrap();
        }
        assert_eq!((end.name.as_str(), &end.data["reason"]), ("end", &json!("token_expired")));
        assert_eq!(ear.next().await, None);

        let mut ear = app.listen(&path, None).await;
        assert_eq!(ear.next().await.unwrap().name, "availability");
        app.stop.send_replace(true);
        let end = ear.next().await.unwrap();
        assert_eq!((end.name.as_str(), &end.data["reason"]), ("end", &json!("stopping")));
        assert_eq!(ear.next().await, None);
    });
}

#[test]
fn a_caller_has_so_many_feeds_and_gets_places_back() {
    story(async |app: App| {
        let product = app.product("Sea salt bar", 450, 10).await;
        app.project().await;
        let path = format!("/api/v1/products/{}/events", product.id);
        let mut ears = Vec::new();
        let refused = loop {
            let response =
                app.begin_answer(app.request(Method::GET, &path).body(Body::empty()).unwrap());
            let response = response.await;
            if response.status() != StatusCode::OK {
                break response;
            }
            ears.push(response);
            assert!(ears.len() <= 512, "there is no limit");
        };
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(refused.headers().contains_key("retry-after"));
        assert_eq!(ears.len(), 512);
        drop(ears);
        app.listen(&path, None).await.next().await.unwrap();
    });
}

#[test]
fn a_last_event_id_is_a_position() {
    story(async |app: App| {
        let product = app.product("Sea salt bar", 450, 10).await;
        app.project().await;
        let path = format!("/api/v1/products/{}/events", product.id);
        for id in ["x", "-1", "1 2", "99999999999999999999"] {
            let request = app.request(Method::GET, &path).header("last-event-id", id);
            let answer = app.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{id}");
        }
        let answer = app.get(&format!("{path}?after=x")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    });
}
