//! Carts through the API: gathered by several hands, merged on login, checked out once.

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use chrono::TimeDelta;
use commands::Intent;
use commands::cart::CartCommand;
use event_schemas::ids::{ActorId, CartId, CheckoutId, CommandId, StoreId};
use event_schemas::metadata::{Actor, ActorKind};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::app::{Answer, App, Product, STORE, story};

const GOOD_CARD: &str = "4242 4242 4242 4242";

#[test]
fn every_change_answers_with_the_whole_cart() {
    story(async |app: App| {
        let bar = app.product("Sea salt bar", 450, 10).await;
        let truffles = app.product("Truffles", 1495, 5).await;
        let cart = app.post("/api/v1/carts", &json!({})).await;
        assert_eq!(cart.status, StatusCode::CREATED, "{:#}", cart.body);
        assert_eq!(cart.header("location"), format!("/api/v1/carts/{}", cart.text("/id")));
        assert_eq!(cart.body["requirements"], json!([{ "code": "items" }]));
        let id = cart.text("/id");

        app.add(&id, &bar, 2).await;
        let both = app.add(&id, &truffles, 1).await;
        assert_eq!(both.body["subtotal"], json!({ "amount_minor": 2395, "currency": "GBP" }));
        assert_eq!(both.body["requirements"], json!([]));
        assert_eq!(both.body["items"][0]["available"], 10);
        assert_eq!((both.header("etag"), both.body["version"].as_i64()), ("\"v3\"", Some(3)));

        let more = app.add(&id, &bar, 1).await;
        assert_eq!(more.body["items"][0]["quantity"], 3, "one line per variant");
        let item = format!("/api/v1/carts/{id}/items/{}", bar.variant_id);
        let fewer = app.ask(Method::PUT, &item, &json!({ "quantity": 1 })).await;
        assert_eq!(fewer.body["items"][0]["quantity"], 1, "{:#}", fewer.body);
        let gone = app.ask(Method::DELETE, &item, &json!({})).await;
        assert_eq!(gone.body["items"].as_array().unwrap().len(), 1);
        let again = app.ask(Method::DELETE, &item, &json!({})).await;
        assert_eq!((again.status, &again.body), (StatusCode::OK, &gone.body), "nothing to do");
        assert_eq!(app.cart(&id).await.body, gone.body);

        let coupons = format!("/api/v1/carts/{id}/coupons");
        let coupon = app.post(&coupons, &json!({ "code": "xmas10" })).await;
        assert_eq!(coupon.body["coupons"], json!(["XMAS10"]), "{:#}", coupon.body);
        let none = app.ask(Method::DELETE, &format!("{coupons}/xmas10"), &json!({})).await;
        assert_eq!(none.body["coupons"], json!([]), "{:#}", none.body);
    });
}

#[test]
fn what_a_cart_does_not_take_is_said_with_the_cart_as_it_is() {
    story(async |app: App| {
        let bar = app.product("Bar", 450, 10).await;
        let id = app.guest().await;
        let items = format!("/api/v1/carts/{id}/items");
        let known = app.add(&id, &bar, 999).await;
        for quantity in [json!(0), json!(1), json!(1000), json!(-1), json!("2"), json!(1.5)] {
            let body = json!({ "variant_id": bar.variant_id, "quantity": quantity });
            let refused = app.post(&items, &body).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{:#}", refused.body);
            assert_eq!(refused.text("/errors/0/pointer"), "/quantity");
        }
        let one = json!({ "variant_id": bar.variant_id, "quantity": 1 });
        let refused = app.post(&items, &one).await;
        assert_eq!(refused.body["cart"], known.body, "to take back what was shown too early");

        let unknown = json!({ "variant_id": "var_01JD5Z7M2K0000000000000000", "quantity": 1 });
        let refused = app.post(&items, &unknown).await;
        assert_eq!(refused.text("/errors/0/code"), "unknown_variant", "{:#}", refused.body);
        let draft = json!({ "title": "Draft", "variants": [{}] });
        let draft = app.post("/api/v1/products", &draft).await.text("/variant_ids/0");
        let draft = json!({ "variant_id": draft, "quantity": 1 });
        let refused = app.post(&items, &draft).await;
        assert_eq!((refused.status, refused.text("/code")), conflict("not_for_sale"));
        let other = format!("{items}/var_01JD5Z7M2K0000000000000000");
        let refused = app.ask(Method::PUT, &other, &json!({ "quantity": 1 })).await;
        assert_eq!(refused.text("/code"), "cart_item_not_found");
        let stale = app.request(Method::PUT, &format!("{items}/{}", bar.variant_id));
        let stale = stale.header(header::IF_MATCH, "\"v1\"");
        let stale = stale.header(header::CONTENT_TYPE, "application/json");
        let stale = app.send(stale.body(Body::from("{\"quantity\":2}")).unwrap()).await;
        assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED, "{:#}", stale.body);
        assert_eq!(stale.body["cart"], known.body);

        let missing = app.cart("crt_01JD5Z7M2K0000000000000000").await;
        assert_eq!(missing.text("/code"), "cart_not_found");
        let token = app.token("other", api_kit::Permission::ALL);
        let request = axum::http::Request::get(format!("/api/v1/carts/{id}"));
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        let theirs = app.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(theirs.text("/code"), "cart_not_found", "a store's carts are its own");
    });
}

#[test]
fn ten_hands_fill_one_cart_and_nobody_needs_its_version() {
    story(async |app: App| {
        let products = join_all((0..10).map(|n| {
            let app = app.clone();
            async move { app.product(&format!("Bar {n}"), 100 + n, 50).await }
        }));
        let products = products.await;
        let id = app.guest().await;
        let adds = products.iter().flat_map(|product| [product, product, product]);
        let answers = join_all(adds.map(|product| app.add(&id, product, 1))).await;
        assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
        let cart = app.cart(&id).await;
        let items = cart.body["items"].as_array().unwrap();
        assert_eq!(items.len(), 10, "{:#}", cart.body);
        assert!(items.iter().all(|item| item["quantity"] == 3), "{:#}", cart.body);
    });
}

#[test]
fn an_add_that_is_sent_twice_counts_once() {
    story(async |app: App| {
        let bar = app.product("Bar", 450, 10).await;
        let id = app.guest().await;
        let path = format!("/api/v1/carts/{id}/items");
        let body = json!({ "variant_id": bar.variant_id, "quantity": 2 });
        let first = app.post_keyed(&path, "add-1", &body).await;
        let second = app.post_keyed(&path, "add-1", &body).await;
        assert_eq!((second.status, &second.body), (StatusCode::OK, &first.body));
        let cart = json!({ "customer_reference": "C-1" });
        let first = app.post_keyed("/api/v1/carts", "cart-1", &cart).await;
        let second = app.post_keyed("/api/v1/carts", "cart-1", &cart).await;
        assert_eq!((second.status, &second.body), (StatusCode::CREATED, &first.body));
    });
}

#[test]
fn a_cart_says_what_has_changed_since_it_was_seen() {
    story(async |app: App| {
        let bar = app.product("Bar", 450, 10).await;
        let truffles = app.product("Truffles", 1495, 10).await;
        let id = app.guest().await;
        app.add(&id, &bar, 2).await;
        assert_eq!(app.add(&id, &truffles, 8).await.body["problems"], json!([]));

        let price = format!("/api/v1/products/{}/variants/{}/price", bar.id, bar.variant_id);
        let new = json!({ "price": { "amount_minor": 500, "currency": "GBP" } });
        assert_eq!(app.ask(Method::PUT, &price, &new).await.status, StatusCode::OK);
        assert_eq!(app.begin(&truffles.variant_id, 5).await.status, StatusCode::CREATED);
        let cart = app.cart(&id).await;
        let problem = |index: usize, member: &str| cart.body["problems"][index][member].clone();
        assert_eq!(problem(0, "code"), "price_changed", "{:#}", cart.body);
        assert_eq!(problem(0, "blocking"), false);
        assert_eq!(problem(0, "price_seen")["amount_minor"], 450);
        assert_eq!(problem(0, "price_now")["amount_minor"], 500);
        assert_eq!(problem(1, "code"), "short_stock");
        assert_eq!(problem(1, "blocking"), true);
        assert_eq!(problem(1, "available"), 5);
        assert_eq!(cart.body["requirements"], json!([{ "code": "problems" }]));
        assert_eq!(cart.body["subtotal"]["amount_minor"], 2 * 500 + 8 * 1495, "of now");

        let seen = app.post(&format!("/api/v1/carts/{id}/seen"), &json!({})).await;
        assert_eq!(seen.body["problems"].as_array().unwrap().len(), 1, "{:#}", seen.body);
        assert_eq!(seen.text("/problems/0/code"), "short_stock");

        let archive = format!("/api/v1/products/{}/archive", truffles.id);
        assert_eq!(app.post(&archive, &json!({})).await.status, StatusCode::OK);
        let cart = app.cart(&id).await;
        assert_eq!(cart.text("/problems/0/code"), "unavailable", "{:#}", cart.body);
    });
}

#[test]
fn a_cart_is_open_again_if_its_checkout_does_not_begin() {
    story(async |app: App| {
        let bar = app.product("Bar", 450, 10).await;
        let id = app.guest().await;
        app.add(&id, &bar, 11).await;
        let short = app.check_out(&id, "k-1").await;
        assert_eq!((short.status, short.text("/code")), conflict("insufficient_stock"));
        let item = format!("/api/v1/carts/{id}/items/{}", bar.variant_id);
        let fewer = app.ask(Method::PUT, &item, &json!({ "quantity": 1 })).await;
        assert_eq!(fewer.status, StatusCode::OK, "{:#}", fewer.body);

        let archive = format!("/api/v1/products/{}/archive", bar.id);
        assert_eq!(app.post(&archive, &json!({})).await.status, StatusCode::OK);
        let refused = app.check_out(&id, "k-2").await;
        assert_eq!((refused.status, refused.text("/code")), conflict("not_for_sale"));
        let gone = app.ask(Method::DELETE, &item, &json!({})).await;
        assert_eq!((gone.status, gone.text("/status")), (StatusCode::OK, "open".to_owned()));
    });
}

#[test]
fn a_guests_cart_goes_up_in_the_customers_on_login() {
    story(async |app: App| {
        let bar = app.product("Bar", 450, 100).await;
        let truffles = app.product("Truffles", 1495, 100).await;
        let customer = json!({ "customer_reference": "C-1042" });
        let theirs = app.post("/api/v1/carts", &customer).await.text("/id");
        app.add(&theirs, &bar, 3).await;

        let guest = app.guest().await;
        app.add(&guest, &bar, 2).await;
        app.add(&guest, &truffles, 1).await;
        let login = format!("/api/v1/carts/{guest}/customer");
        let merged = app.ask(Method::PUT, &login, &customer).await;
        assert_eq!((merged.status, merged.text("/id")), (StatusCode::OK, theirs.clone()));
        assert_eq!(quantities(&merged), [3, 1], "the larger of both, and what was not there");
        let again = app.ask(Method::PUT, &login, &customer).await;
        assert_eq!(again.body, merged.body, "once is as good as twice");

        let gone = app.cart(&guest).await;
        assert_eq!((gone.text("/status"), gone.text("/merged_into")), ("merged".into(), theirs));
        let late = app.add(&guest, &bar, 1).await;
        assert_eq!((late.status, late.text("/code")), conflict("cart_closed"));
        assert_eq!(late.text("/merged_into"), merged.text("/id"));

        let same = app.post("/api/v1/carts", &customer).await;
        assert_eq!((same.status, same.text("/id")), (StatusCode::OK, merged.text("/id")));
        let stranger = json!({ "customer_reference": "C-7" });
        let stolen = format!("/api/v1/carts/{}/customer", merged.text("/id"));
        let stolen = app.ask(Method::PUT, &stolen, &stranger).await;
        assert_eq!((stolen.status, stolen.text("/code")), conflict("cart_of_other_customer"));
    });
}

#[test]
fn a_guest_whose_customer_has_no_cart_keeps_theirs() {
    story(async |app: App| {
        let bar = app.product("Bar", 450, 100).await;
        let guest = app.guest().await;
        app.add(&guest, &bar, 2).await;
        let login = format!("/api/v1/carts/{guest}/customer");
        let customer = json!({ "customer_reference": "C-1042" });
        let known = app.ask(Method::PUT, &login, &customer).await;
        assert_eq!((known.status, known.text("/id")), (StatusCode::OK, guest), "{:#}", known.body);
        assert_eq!(known.text("/customer_reference"), "C-1042");
        for bad in ["", " ", &"x".repeat(256)] {
            let refused = app.ask(Method::PUT, &login, &json!({ "customer_reference": bad })).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{:#}", refused.body);
        }
    });
}

#[test]
fn no_line_is_lost_that_comes_while_carts_are_merged() {
    story(async |app: App| {
        let customer = json!({ "customer_reference": "C-1042" });
        let theirs = app.post("/api/v1/carts", &customer).await.text("/id");
        let mut products = vec![];
        for n in 0..6 {
            products.push(app.product(&format!("Bar {n}"), 100, 100).await);
        }
        for round in 0..6 {
            let guest = app.guest().await;
            app.add(&guest, &products[round], 1).await;
            let login = format!("/api/v1/carts/{guest}/customer");
            let adds = products.iter().map(|product| app.add(&guest, product, 2));
            let logins = (0..3).map(|_| app.ask(Method::PUT, &login, &customer));
            let (adds, logins) = tokio::join!(join_all(adds), join_all(logins));
            let put = products.iter().zip(&adds).filter(|(_, add)| add.status == StatusCode::OK);
            let put: Vec<&str> = put.map(|(product, _)| product.variant_id.as_str()).collect();
            if logins.iter().all(|login| login.status != StatusCode::OK) {
                let last = app.ask(Method::PUT, &login, &customer).await;
                assert_eq!(last.status, StatusCode::OK, "{:#}", last.body);
            }
            assert_eq!(app.cart(&guest).await.text("/status"), "merged");
            let cart = app.cart(&theirs).await;
            let items = cart.body["items"].as_array().unwrap();
            let has = |variant: &str| {
                items
                    .iter()
                    .any(|it| it["variant_id"] == variant && it["quantity"].as_u64() >= Some(2))
            };
            assert!(put.iter().all(|variant| has(variant)), "{put:?} {:#}", cart.body);
        }
    });
}

#[test]
fn a_cart_is_closed_while_it_is_checked_out_and_open_if_that_fails() {
    story(async |app: App| {
        let bar = app.product("Bar", 450, 10).await;
        let id = app.guest().await;
        let empty = app.check_out(&id, "k-0").await;
        assert_eq!(empty.text("/errors/0/code"), "empty", "{:#}", empty.body);
        app.add(&id, &bar, 2).await;
        let begun = app.check_out(&id, "k-1").await;
        assert_eq!(begun.status, StatusCode::CREATED, "{:#}", begun.body);
        assert_eq!(begun.body["total"]["amount_minor"], 900);
        let closed = app.add(&id, &bar, 1).await;
        assert_eq!((closed.status, closed.text("/code")), conflict("cart_closed"));
        assert_eq!(closed.text("/checkout_id"), begun.text("/id"));
        assert_eq!(closed.text("/cart/status"), "checking_out");
        let second = app.check_out(&id, "k-2").await;
        assert_eq!((second.status, second.text("/code")), conflict("cart_closed"));
        let same = app.check_out(&id, "k-1").await;
        assert_eq!((same.status, &same.body), (StatusCode::CREATED, &begun.body));

        let abandon = format!("/api/v1/checkouts/{}/abandon", begun.text("/id"));
        assert_eq!(app.post(&abandon, &json!({})).await.status, StatusCode::OK);
        assert_eq!(app.cart(&id).await.text("/status"), "open");
        let more = app.add(&id, &bar, 1).await;
        assert_eq!(quantities(&more), [3], "{:#}", more.body);
        let begun = app.check_out(&id, "k-3").await;
        assert_eq!(begun.body["total"]["amount_minor"], 1350, "{:#}", begun.body);
        let paid = app.pay(&begun.text("/id"), GOOD_CARD).await;
        assert_eq!(paid.text("/status"), "completed");
        let bought = app.cart(&id).await;
        assert_eq!(bought.text("/status"), "checked_out");
        assert_eq!(bought.text("/order_id"), paid.text("/order/id"));
        let late = app.add(&id, &bar, 1).await;
        assert_eq!((late.status, late.text("/code")), conflict("cart_closed"));
        let again = app.check_out(&id, "k-3").await;
        assert_eq!((again.status, again.text("/id")), (StatusCode::CREATED, begun.text("/id")));
    });
}

#[test]
fn a_customer_has_another_cart_once_the_first_is_bought() {
    story(async |app: App| {
        let bar = app.product("Bar", 450, 10).await;
        let customer = json!({ "customer_reference": "C-1042" });
        let first = app.post("/api/v1/carts", &customer).await.text("/id");
        app.add(&first, &bar, 1).await;
        let begun = app.check_out(&first, "k-1").await;
        let busy = app.post("/api/v1/carts", &customer).await;
        assert_eq!((busy.status, busy.text("/id")), (StatusCode::OK, first.clone()));
        assert_eq!(busy.text("/status"), "checking_out");
        let paid = app.pay(&begun.text("/id"), GOOD_CARD).await;
        assert_eq!(paid.text("/status"), "completed", "{:#}", paid.body);
        let second = app.post("/api/v1/carts", &customer).await;
        assert_eq!(second.status, StatusCode::CREATED, "{:#}", second.body);
        assert_ne!(second.text("/id"), first);
        app.project().await;
        let order = app.get(&format!("/api/v1/orders/{}", paid.text("/order/id"))).await;
        assert_eq!(order.text("/customer_reference"), "C-1042", "{:#}", order.body);
    });
}

#[test]
fn of_many_checkouts_of_one_cart_at_once_one_begins() {
    story(async |app: App| {
        let bar = app.product("Bar", 450, 10).await;
        let id = app.guest().await;
        app.add(&id, &bar, 1).await;
        let keys: Vec<String> = (0..8).map(|n| format!("k-{n}")).collect();
        let answers = join_all(keys.iter().map(|key| app.check_out(&id, key))).await;
        let count = |status| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((count(StatusCode::CREATED), count(StatusCode::CONFLICT)), (1, 7));
        let begun = "SELECT count(*) FROM log.events WHERE event_type = 'CheckoutStarted'";
        let begun: i64 = sqlx::query_scalar(begun).fetch_one(&app.owner).await.unwrap();
        assert_eq!(begun, 1);
    });
}

#[test]
fn a_key_that_was_used_for_one_cart_does_not_close_another() {
    story(async |app: App| {
        let bar = app.product("Bar", 450, 10).await;
        let (first, second) = (app.guest().await, app.guest().await);
        app.add(&first, &bar, 1).await;
        assert_eq!(app.check_out(&first, "k").await.status, StatusCode::CREATED);
        // Another version than the first had: the cart itself does not know the key.
        app.add(&second, &bar, 1).await;
        app.add(&second, &bar, 1).await;
        let reused = app.check_out(&second, "k").await;
        assert_eq!(reused.text("/code"), "idempotency_key_reused", "{:#}", reused.body);
        assert_eq!(app.add(&second, &bar, 1).await.status, StatusCode::OK);
        assert_eq!(app.check_out(&second, "other").await.status, StatusCode::CREATED);
    });
}

#[test]
fn a_cart_does_not_wait_for_ever_for_a_checkout_that_never_came() {
    story(async |app: App| {
        let bar = app.product("Bar", 450, 10).await;
        let id = app.guest().await;
        app.add(&id, &bar, 1).await;
        let (cart, checkout_id) = (id.parse::<CartId>().unwrap(), CheckoutId::derive(&[b"never"]));
        let command = CartCommand::BeginCheckout { checkout_id, at: app.ctx.now() };
        let intent = intent(&app);
        commands::cart::change(&app.ctx, &intent, cart, command).await.unwrap();
        assert_eq!(app.add(&id, &bar, 1).await.status, StatusCode::CONFLICT);
        app.wait(TimeDelta::seconds(60));
        assert_eq!(app.add(&id, &bar, 1).await.status, StatusCode::OK);
    });
}

#[test]
fn a_checkout_is_of_a_cart_or_of_lines() {
    story(async |app: App| {
        let bar = app.product("Bar", 450, 10).await;
        let id = app.guest().await;
        let line = json!([{ "variant_id": bar.variant_id, "quantity": 1 }]);
        for body in [
            json!({}),
            json!({ "lines": line, "cart_id": id }),
            json!({ "cart_id": id, "customer_reference": "C-1" }),
        ] {
            let refused = app.post("/api/v1/checkouts", &body).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{:#}", refused.body);
            assert_eq!(refused.text("/code"), "validation_failed");
        }
        let unknown = json!({ "cart_id": "crt_01JD5Z7M2K0000000000000000" });
        let refused = app.post("/api/v1/checkouts", &unknown).await;
        assert_eq!(refused.text("/code"), "cart_not_found");
    });
}

fn conflict(code: &str) -> (StatusCode, String) {
    (StatusCode::CONFLICT, code.to_owned())
}

fn quantities(cart: &Answer) -> Vec<u64> {
    let items = cart.body["items"].as_array().unwrap();
    items.iter().map(|item| item["quantity"].as_u64().unwrap()).collect()
}

fn intent(app: &App) -> Intent {
    let id = CommandId((app.ctx.new_id)());
    let actor = Actor { kind: ActorKind::System, id: ActorId::derive(&[b"tester"]) };
    Intent::of_system(StoreId::of_slug(STORE), actor, &[id.0.as_bytes()], app.ctx.now())
}

impl App {
    async fn guest(&self) -> String {
        self.post("/api/v1/carts", &json!({})).await.text("/id")
    }

    async fn cart(&self, id: &str) -> Answer {
        self.get(&format!("/api/v1/carts/{id}")).await
    }

    async fn add(&self, cart: &str, product: &Product, quantity: u32) -> Answer {
        let body = json!({ "variant_id": product.variant_id, "quantity": quantity });
        self.post(&format!("/api/v1/carts/{cart}/items"), &body).await
    }

    async fn check_out(&self, cart: &str, key: &str) -> Answer {
        self.post_keyed("/api/v1/checkouts", key, &json!({ "cart_id": cart })).await
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> Answer {
        let request = self.request(method, path).header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }
}
