//! Buying in a store that is paid by Stripe, which is simulated, on a port, in the story's time.

use axum::http::StatusCode;
use chrono::TimeDelta;
use event_schemas::ids::StoreId;
use providers::payment::stripe::{Account, SECRET_NAME};
use serde_json::{Value, json};
use stripe_sim::{Faults, Served, Simulator, serve};

use crate::app::{Answer, App, STORE, story};

const KEY: &str = "sk_test_shop";

/// A story's shop, and the Stripe that it is paid by.
struct Shop {
    app: App,
    stripe: Served,
}

impl Shop {
    async fn open(app: App) -> Shop {
        let now = (app.ctx.now)().timestamp();
        let address = "127.0.0.1:0".parse().unwrap();
        let stripe = serve(address, Simulator::default(), Some(now)).await.unwrap();
        let account = Account {
            secret_key: KEY.into(),
            publishable_key: Some("pk_test_shop".into()),
            webhook_secrets: vec![],
            base_url: Some(stripe.url()),
        };
        let store = StoreId::of_slug(STORE);
        app.vault.put_secret(store, SECRET_NAME, &account.write()).await.unwrap();
        Shop { app, stripe }
    }

    /// A checkout of one bar of chocolate.
    async fn begin(&self) -> String {
        let product = self.app.product("Bar", 500, 1).await;
        self.app.begin(&product.variant_id, 1).await.text("/id")
    }

    async fn pay(&self, checkout: &str, method: &str) -> Answer {
        let path = format!("/api/v1/checkouts/{checkout}/complete");
        self.app.post(&path, &json!({ "payment_method": method })).await
    }

    async fn confirm(&self, checkout: &str) -> Answer {
        let path = format!("/api/v1/checkouts/{checkout}/confirm-action");
        self.app.post(&path, &json!({ "answer": "returned" })).await
    }

    /// Lets time pass, here and at Stripe, in steps, and does what is to be done in each.
    async fn wait(&self, by: TimeDelta) {
        for _ in 0..10 {
            self.app.wait(by / 10);
            self.stripe.set_time((self.app.ctx.now)().timestamp());
            sagas::drain(&self.app.saga).await.unwrap();
        }
    }

    fn faults(&self, faults: &Faults) {
        self.stripe.with(|stripe, _| stripe.set_faults(faults));
    }

    /// Of each intent at Stripe: status, reserved, captured, refunded.
    fn intents(&self) -> Vec<(String, i64, i64, i64)> {
        let truth = self.stripe.with(|stripe, _| stripe.truth(KEY));
        let money = |intent: &Value, what: &str| intent[what].as_i64().unwrap();
        let read = |intent: &Value| {
            let status = intent["status"].as_str().unwrap().to_owned();
            let [reserved, captured, refunded] =
                ["reserved", "captured", "refunded"].map(|what| money(intent, what));
            (status, reserved, captured, refunded)
        };
        truth["payment_intents"].as_array().unwrap().iter().map(read).collect()
    }

    fn authenticate(&self, passes: bool) {
        let truth = self.stripe.with(|stripe, _| stripe.truth(KEY));
        let waits = |intent: &&Value| intent["status"] == "requires_action";
        let intents = truth["payment_intents"].as_array().unwrap();
        let intent = intents.iter().find(waits).unwrap()["id"].as_str().unwrap().to_owned();
        assert!(self.stripe.with(|stripe, now| stripe.authenticate(&intent, passes, now)));
    }
}

fn intent(status: &str, [reserved, captured, refunded]: [i64; 3]) -> (String, i64, i64, i64) {
    (status.to_owned(), reserved, captured, refunded)
}

#[test]
fn a_card_is_charged_once_and_the_cancelled_order_gives_it_back() {
    story(async |app: App| {
        let shop = Shop::open(app).await;
        let checkout = shop.begin().await;
        let declined = shop.pay(&checkout, "pm_card_visa_chargeDeclined").await;
        assert_eq!(declined.status, StatusCode::PAYMENT_REQUIRED, "{:#}", declined.body);
        let paid = shop.pay(&checkout, "pm_card_visa").await;
        assert_eq!(paid.text("/status"), "completed", "{:#}", paid.body);
        let taken = [intent("canceled", [0; 3]), intent("succeeded", [0, 500, 0])];
        assert_eq!(shop.intents(), taken);

        let path = format!("/api/v1/orders/{}/cancel", paid.text("/order/id"));
        shop.app.post(&path, &json!({ "reason": "changed my mind" })).await;
        shop.app.rest().await;
        assert_eq!(shop.intents()[1], intent("succeeded", [0, 500, 500]));
    });
}

#[test]
fn a_shopper_proves_who_they_are_and_is_looked_up_not_believed() {
    story(async |app: App| {
        let shop = Shop::open(app).await;
        let checkout = shop.begin().await;
        let asked = shop.pay(&checkout, "pm_card_authenticationRequired").await;
        assert_eq!(asked.text("/status"), "action_required", "{:#}", asked.body);
        let early = shop.confirm(&checkout).await;
        assert_ne!(early.body["status"], "completed", "{:#}", early.body);
        shop.authenticate(true);
        shop.wait(TimeDelta::minutes(2)).await;
        let done = shop.confirm(&checkout).await;
        assert_eq!(done.text("/status"), "completed", "{:#}", done.body);
        assert_eq!(shop.intents(), [intent("succeeded", [0, 500, 0])]);
    });
}

#[test]
fn a_lost_answer_is_found_and_the_card_charged_once() {
    story(async |app: App| {
        let shop = Shop::open(app).await;
        let checkout = shop.begin().await;
        shop.faults(&Faults { reply_lost: 1000, ..Faults::default() });
        let unclear = shop.pay(&checkout, "pm_card_visa").await;
        assert_eq!(unclear.status, StatusCode::ACCEPTED, "{:#}", unclear.body);
        shop.faults(&Faults::default());
        shop.wait(TimeDelta::minutes(2)).await;
        let read = shop.app.get(&format!("/api/v1/checkouts/{checkout}")).await;
        assert_eq!(read.text("/status"), "completed", "{:#}", read.body);
        assert_eq!(shop.intents(), [intent("succeeded", [0, 500, 0])]);
    });
}

#[test]
fn an_abandoned_payment_is_given_up_at_stripe() {
    story(async |app: App| {
        let shop = Shop::open(app).await;
        let checkout = shop.begin().await;
        let asked = shop.pay(&checkout, "pm_card_authenticationRequired").await;
        assert_eq!(asked.text("/status"), "action_required", "{:#}", asked.body);
        shop.wait(TimeDelta::hours(1)).await;
        let read = shop.app.get(&format!("/api/v1/checkouts/{checkout}")).await;
        assert_eq!(read.text("/failure/code"), "expired", "{:#}", read.body);
        assert_eq!(shop.intents(), [intent("canceled", [0; 3])]);
    });
}

#[test]
fn a_payment_is_asked_about_where_it_was_begun_whatever_account_came_since() {
    story(async |app: App| {
        let shop = Shop::open(app).await;
        let checkout = shop.begin().await;
        let paid = shop.pay(&checkout, "pm_card_visa").await;
        let order = format!("/api/v1/orders/{}", paid.text("/order/id"));
        let store = StoreId::of_slug(STORE);
        let account = shop.app.vault.get_secret(store, SECRET_NAME).await.unwrap().unwrap();
        shop.app.vault.remove_secret(store, SECRET_NAME).await.unwrap();

        let why = json!({ "reason": "changed my mind" });
        shop.app.post(&format!("{order}/cancel"), &why).await;
        // The sandbox would say that it has sent the money back.
        let payment_id = commands::checkout::payment_id(checkout.parse().unwrap(), 1);
        let payment = async || {
            shop.app.rest().await;
            let ctx = &shop.app.saga.commands;
            commands::payment::load(ctx, store, payment_id).await.unwrap().state
        };
        let mut asked = payment().await;
        for _ in 0..500 {
            if !asked.refunds.is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            asked = payment().await;
        }
        assert!(asked.has_open_refund(), "{:?}", asked.refunds);
        assert_eq!(shop.intents(), [intent("succeeded", [0, 500, 0])]);
        let now = shop.app.ctx.now();
        let verdict = conche::admin::money::check(&shop.app.owner, &shop.app.saga, now).await;
        let findings = verdict.unwrap().findings;
        assert!(findings.iter().any(|one| one.contains("no account at stripe")), "{findings:?}");

        shop.app.vault.put_secret(store, SECRET_NAME, account.expose()).await.unwrap();
        shop.wait(TimeDelta::hours(1)).await;
        shop.app.rest().await;
        assert_eq!(shop.intents(), [intent("succeeded", [0, 500, 500])]);
    });
}

#[test]
fn a_look_without_an_answer_is_taken_again_later_whatever_else_was_recorded() {
    story(async |app: App| {
        let shop = Shop::open(app).await;
        let checkout = shop.begin().await;
        let paid = shop.pay(&checkout, "pm_card_pendingRefund").await;
        let order = format!("/api/v1/orders/{}", paid.text("/order/id"));
        let why = json!({ "reason": "changed my mind" });
        shop.app.post(&format!("{order}/cancel"), &why).await;
        shop.app.rest().await;
        let payment_id = commands::checkout::payment_id(checkout.parse().unwrap(), 1);
        let attend = async || {
            let store = StoreId::of_slug(STORE);
            sagas::attend_payment(&shop.app.saga, store, payment_id).await.unwrap()
        };
        shop.faults(&Faults { request_lost: 1000, ..Faults::default() });
        assert_eq!(attend().await, sagas::Attended::NotYet);
        assert_eq!(attend().await, sagas::Attended::NotYet);
    });
}

#[test]
fn what_costs_nothing_is_bought_without_asking_anybody() {
    story(async |app: App| {
        let shop = Shop::open(app).await;
        let product = shop.app.product("Sample", 0, 1).await;
        let checkout = shop.app.begin(&product.variant_id, 1).await.text("/id");
        let done = shop.pay(&checkout, "pm_card_visa").await;
        assert_eq!(done.text("/status"), "completed", "{:#}", done.body);
        assert!(shop.intents().is_empty());
        let now = shop.app.ctx.now();
        let verdict = conche::admin::money::check(&shop.app.owner, &shop.app.saga, now).await;
        assert_eq!(verdict.unwrap().findings, [""; 0]);
        let order = format!("/api/v1/orders/{}", done.text("/order/id"));
        let why = json!({ "reason": "changed my mind" });
        shop.app.post(&format!("{order}/cancel"), &why).await;
        shop.app.rest().await;
        shop.app.project().await;
        let read = shop.app.get(&order).await;
        assert_eq!(read.text("/status"), "cancelled", "{:#}", read.body);
    });
}
