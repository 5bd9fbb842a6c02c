//! Payments at Stripe, which is simulated, on a port, in a time that the test makes.

use chrono::{DateTime, Utc};
use event_schemas::{
    ids::StoreId,
    money::{Currency, Money},
    payment::{DeclineAdvice, PaymentAction},
};
use providers::payment::{
    Authorisation, Charge, LookUp, PaymentError, PaymentProvider, Refund, RefundState, Stripe,
    stripe::{Account, read_event},
};
use serde_json::Value;
use stripe_sim::{Faults, Served, Simulator, serve};

const KEY: &str = "sk_test_shop";
const START: i64 = 1_800_000_000;
const DAY: i64 = 24 * 3600;
const AMOUNT: Money = Money { amount_minor: 1299, currency: Currency::GBP };

/// A simulator, and a provider whose account is there.
struct World {
    served: Served,
    provider: PaymentProvider,
}

impl World {
    async fn new() -> World {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let served = serve(address, Simulator::default(), Some(START)).await.expect("a free port");
        let account = Account {
            secret_key: KEY.into(),
            publishable_key: Some("pk_test_shop".into()),
            webhook_secrets: vec![],
            base_url: Some(served.url()),
        };
        let provider = PaymentProvider::Stripe(Stripe::new(&account).expect("an account"));
        World { served, provider }
    }

    fn faults(&self, faults: &Faults) {
        self.served.with(|simulator, _| simulator.set_faults(faults));
    }

    fn truth(&self) -> Value {
        self.served.with(|simulator, _| simulator.truth(KEY))
    }

    /// Intents with money that is reserved or taken.
    fn moved(&self) -> usize {
        let truth = self.truth();
        let moved = |intent: &&Value| intent["reserved"] != 0 || intent["captured"] != 0;
        truth["payment_intents"].as_array().expect("a list").iter().filter(moved).count()
    }

    async fn authorise(&self, key: &str, token: &str) -> Result<Authorisation, PaymentError> {
        self.provider.authorise(charge(key, Some(token))).await
    }

    /// A payment whose money is taken. Returns Stripe's name of it.
    async fn captured(&self, key: &str, token: &str) -> String {
        let Ok(Authorisation::Authorised { reference, .. }) = self.authorise(key, token).await
        else {
            panic!("{token} was not authorised");
        };
        let capture = format!("{key}/capture");
        assert_eq!(self.provider.capture(&reference, AMOUNT, &capture).await, Ok(AMOUNT));
        reference
    }

    async fn look_up(
        &self,
        charge: Charge<'_>,
        reference: Option<&str>,
    ) -> Result<Authorisation, PaymentError> {
        let (asked_at, now) = (time(START), time(START));
        self.provider.look_up(LookUp { charge, reference, asked_at, now }).await
    }
}

fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("a time")
}

fn charge<'a>(key: &'a str, token: Option<&'a str>) -> Charge<'a> {
    Charge { key, token, amount: AMOUNT }
}

fn declined(code: &str, advice: DeclineAdvice) -> PaymentError {
    PaymentError::Declined { code: code.into(), advice }
}

#[tokio::test]
async fn a_card_is_reserved_until_it_expires_and_taken_once() {
    let world = World::new().await;
    let Ok(Authorisation::Authorised { reference, amount, expires_at }) =
        world.authorise("pay_1", "pm_card_visa").await
    else {
        panic!("was not authorised");
    };
    assert_eq!((amount, expires_at), (AMOUNT, Some(time(START + 7 * DAY))));
    let again = world.authorise("pay_1", "pm_card_visa").await;
    assert_eq!(
        again,
        Ok(Authorisation::Authorised { reference: reference.clone(), amount, expires_at })
    );
    assert_eq!(world.moved(), 1);
    assert_eq!(world.provider.capture(&reference, AMOUNT, "pay_1/capture").await, Ok(AMOUNT));
    // Another key, as after a day: the money is not taken again.
    assert_eq!(world.provider.capture(&reference, AMOUNT, "other").await, Ok(AMOUNT));
    let voided = world.provider.void(&reference, "pay_1/void").await;
    assert_eq!(voided, Err(declined("already_captured", DeclineAdvice::Stop)));
    let statement = world.provider.statement(&reference).await.unwrap().unwrap();
    assert_eq!((statement.key.as_deref(), statement.captured), (Some("pay_1"), AMOUNT));
}

#[tokio::test]
async fn a_part_is_taken_and_the_rest_given_up() {
    let world = World::new().await;
    let Ok(Authorisation::Authorised { reference, .. }) =
        world.authorise("pay_1", "pm_card_visa").await
    else {
        panic!("was not authorised");
    };
    let part = Money { amount_minor: 1000, ..AMOUNT };
    assert_eq!(world.provider.capture(&reference, part, "c").await, Ok(part));
    let statement = world.provider.statement(&reference).await.unwrap().unwrap();
    assert_eq!((statement.captured, statement.reserved), (part, Money::zero(Currency::GBP)));
}

#[tokio::test]
async fn a_refusal_is_final_and_nobody_can_go_on_with_its_intent() {
    let world = World::new().await;
    let refused = world.authorise("pay_1", "pm_card_visa_chargeDeclinedInsufficientFunds").await;
    let expected = declined("insufficient_funds", DeclineAdvice::OtherMethod);
    assert_eq!(refused, Err(expected.clone()));
    assert_eq!(world.truth()["payment_intents"][0]["status"], "canceled");
    let token = Some("pm_card_visa_chargeDeclinedInsufficientFunds");
    assert_eq!(world.look_up(charge("pay_1", token), None).await, Err(expected));
    let unknown = world.authorise("pay_2", "pm_card_nobody").await;
    assert_eq!(unknown, Err(declined("resource_missing", DeclineAdvice::OtherMethod)));
    let kwd = Money { amount_minor: 1299, currency: Currency::KWD };
    let odd = Charge { amount: kwd, ..charge("pay_3", Some("pm_card_visa")) };
    let odd = world.provider.authorise(odd).await;
    assert_eq!(odd, Err(declined("amount_not_supported", DeclineAdvice::Stop)));
}

#[tokio::test]
async fn a_browser_that_is_faster_than_the_refusal_has_paid() {
    let world = World::new().await;
    world.faults(&Faults { success_before_cancel: 1000, ..Faults::default() });
    let paid = world.authorise("pay_1", "pm_card_visa_chargeDeclined").await;
    let Ok(Authorisation::Captured { reference, amount }) = paid else {
        panic!("the money that was taken is not seen: {paid:?}");
    };
    assert_eq!(amount, AMOUNT);
    let statement = world.provider.statement(&reference).await.unwrap().unwrap();
    assert_eq!(statement.captured, AMOUNT);
}

/// Runs another test in a process whose environment names a proxy that nobody is.
#[test]
fn the_environment_names_no_proxy() {
    let tests = std::env::current_exe().expect("this program");
    let nobody = "http://127.0.0.1:9";
    let ran = std::process::Command::new(tests)
        .args(["--exact", "a_card_is_reserved_until_it_expires_and_taken_once"])
        .envs(["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"].map(|name| (name, nobody)))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .expect("runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}

#[tokio::test]
async fn three_d_secure_is_passed_or_failed_and_the_secret_is_fetched() {
    let world = World::new().await;
    for (key, passes) in [("pay_1", true), ("pay_2", false)] {
        let asked = world.authorise(key, "pm_card_authenticationRequired").await;
        let Ok(Authorisation::ActionRequired { reference, action }) = asked else {
            panic!("was not asked");
        };
        assert_eq!(action, PaymentAction::ThreeDSecure);
        let secret = world.provider.client_secret(&reference).await.unwrap();
        assert!(secret.client_secret.starts_with(&reference));
        assert_eq!(secret.publishable_key.as_deref(), Some("pk_test_shop"));
        assert!(!format!("{secret:?}").contains(&secret.client_secret));
        let charge = charge(key, Some("pm_card_authenticationRequired"));
        let early = world.provider.confirm_action(charge, &reference, "").await;
        assert!(matches!(early, Ok(Authorisation::ActionRequired { .. })));
        assert!(world.served.with(|stripe, now| stripe.authenticate(&reference, passes, now)));
        let done = world.provider.confirm_action(charge, &reference, "").await;
        if passes {
            assert!(matches!(done, Ok(Authorisation::Authorised { .. })));
        } else {
            let code = "payment_intent_authentication_failure";
            assert_eq!(done, Err(declined(code, DeclineAdvice::Retry)));
        }
    }
}

#[tokio::test]
async fn without_a_method_the_shopper_tries_cards_in_the_browser() {
    let world = World::new().await;
    let charge = charge("pay_1", None);
    let asked = world.provider.authorise(charge).await;
    let Ok(Authorisation::ActionRequired { reference, action: PaymentAction::Confirm }) = asked
    else {
        panic!("was not asked");
    };
    let shopper =
        |method| world.served.with(|stripe, now| stripe.shopper_confirms(&reference, method, now));
    assert!(!shopper("pm_card_visa_chargeDeclined"));
    let still = world.look_up(charge, Some(&reference)).await;
    assert!(matches!(still, Ok(Authorisation::ActionRequired { .. })), "may try another");
    assert!(shopper("pm_card_visa"));
    let done = world.look_up(charge, Some(&reference)).await;
    assert!(matches!(done, Ok(Authorisation::Authorised { .. })));
}

#[tokio::test]
async fn a_bank_debit_takes_days_and_is_taken_at_once() {
    let world = World::new().await;
    let debit = charge("pay_1", Some("pm_usBankAccount_success"));
    let Ok(Authorisation::Processing { reference }) = world.provider.authorise(debit).await else {
        panic!("was not processed");
    };
    assert_eq!(world.provider.void(&reference, "v").await, Err(PaymentError::Unknown));
    world.served.set_time(START + DAY);
    let settled = world.look_up(debit, Some(&reference)).await;
    assert_eq!(settled, Ok(Authorisation::Captured { reference, amount: AMOUNT }));
    let bounced = charge("pay_2", Some("pm_usBankAccount_insufficientFunds"));
    world.provider.authorise(bounced).await.unwrap();
    world.served.set_time(START + 2 * DAY);
    let refused = world.look_up(bounced, None).await;
    assert_eq!(refused, Err(declined("insufficient_funds", DeclineAdvice::OtherMethod)));
}

#[tokio::test]
async fn what_was_voided_stays_voided() {
    let world = World::new().await;
    let charge = charge("pay_1", Some("pm_card_visa"));
    let Ok(Authorisation::Authorised { reference, .. }) = world.provider.authorise(charge).await
    else {
        panic!("was not authorised");
    };
    for key in ["pay_1/void", "another"] {
        assert_eq!(world.provider.void(&reference, key).await, Ok(()));
    }
    let voided = Ok(Authorisation::Voided { reference: reference.clone() });
    assert_eq!(world.look_up(charge, Some(&reference)).await, voided);
    let capture = world.provider.capture(&reference, AMOUNT, "c").await;
    assert_eq!(capture, Err(declined("canceled", DeclineAdvice::Stop)));
}

#[tokio::test]
async fn refunds_arrive_take_their_time_or_fail_and_are_never_too_much() {
    let world = World::new().await;
    let failed = RefundState::Failed { code: "expired_or_canceled_card".into() };
    for (key, token, first, last) in [
        ("p1", "pm_card_visa", RefundState::Succeeded, RefundState::Succeeded),
        ("p2", "pm_card_pendingRefund", RefundState::Pending, RefundState::Succeeded),
        ("p3", "pm_card_refundFail", RefundState::Pending, failed),
    ] {
        let reference = world.captured(key, token).await;
        let id = format!("refund_of_{key}");
        let refund = Refund { key: &id, payment_key: key, reference: &reference, amount: AMOUNT };
        let now = time(START);
        assert_eq!(world.provider.look_up_refund(refund, now, now).await, Ok(None));
        let sent = world.provider.refund(refund).await.unwrap();
        assert_eq!((sent.state.clone(), sent.amount), (first, AMOUNT));
        assert_eq!(world.provider.refund(refund).await, Ok(sent), "the same key, the same answer");
        let other = format!("more_of_{key}");
        let other = Refund { key: &other, ..refund };
        let code = "charge_already_refunded";
        let more = world.provider.refund(other).await;
        assert_eq!(more, Err(declined(code, DeclineAdvice::OtherMethod)));
        world.served.with(|stripe, now| stripe.pass(now + DAY));
        let known = world.provider.look_up_refund(refund, now, now).await.unwrap().unwrap();
        assert_eq!(known.state, last);
    }
}

#[tokio::test]
async fn a_refund_whose_key_was_forgotten_is_found_and_not_sent_again() {
    let world = World::new().await;
    let reference = world.captured("p1", "pm_card_visa").await;
    let refund = Refund { key: "r1", payment_key: "p1", reference: &reference, amount: AMOUNT };
    let sent = world.provider.refund(refund).await.unwrap();
    world.served.set_time(START + 2 * DAY);
    assert_eq!(world.provider.refund(refund).await, Ok(sent));
    assert_eq!(world.truth()["refunds"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_then_found() {
    let world = World::new().await;
    let charge = charge("pay_1", Some("pm_card_visa"));
    world.faults(&Faults { request_lost: 1000, ..Faults::default() });
    assert_eq!(world.provider.authorise(charge).await, Err(PaymentError::Unknown));
    world.faults(&Faults::default());
    assert_eq!(world.look_up(charge, None).await, Ok(Authorisation::Absent));
    world.faults(&Faults { reply_lost: 1000, ..Faults::default() });
    assert_eq!(world.provider.authorise(charge).await, Err(PaymentError::Unknown));
    world.faults(&Faults::default());
    let busy = world.provider.authorise(charge).await;
    assert_eq!(busy, Err(PaymentError::Unknown), "the key is in use");
    let found = world.look_up(charge, None).await;
    assert!(matches!(found, Ok(Authorisation::Authorised { .. })));
    assert_eq!(world.moved(), 1);
}

#[tokio::test]
async fn a_saved_error_moves_on_to_the_next_key_only_if_nothing_was_done() {
    for faults in [
        Faults { saved_error: 1000, ..Faults::default() },
        Faults { saved_error_after: 1000, ..Faults::default() },
    ] {
        let world = World::new().await;
        let charge = charge("pay_1", Some("pm_card_visa"));
        world.faults(&faults);
        assert_eq!(world.provider.authorise(charge).await, Err(PaymentError::Unknown));
        world.faults(&Faults::default());
        let Ok(Authorisation::Authorised { reference, .. }) =
            world.provider.authorise(charge).await
        else {
            panic!("was not authorised");
        };
        world.faults(&faults);
        let unclear = world.provider.capture(&reference, AMOUNT, "c").await;
        assert_eq!(unclear, Err(PaymentError::Unknown));
        world.faults(&Faults::default());
        assert_eq!(world.provider.capture(&reference, AMOUNT, "c").await, Ok(AMOUNT));
        let refund =
            Refund { key: "r", payment_key: "pay_1", reference: &reference, amount: AMOUNT };
        world.faults(&faults);
        assert_eq!(world.provider.refund(refund).await, Err(PaymentError::Unknown));
        world.faults(&Faults::default());
        let sent = world.provider.refund(refund).await.unwrap();
        assert_eq!(sent.state, RefundState::Succeeded);
        assert_eq!(world.moved(), 1);
        assert_eq!(world.truth()["refunds"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn overload_and_wrong_keys_are_no_refusals() {
    let world = World::new().await;
    let charge = charge("pay_1", Some("pm_card_visa"));
    for faults in [
        Faults { rate_limited: 1000, ..Faults::default() },
        Faults { in_use: 1000, ..Faults::default() },
    ] {
        world.faults(&faults);
        assert_eq!(world.provider.authorise(charge).await, Err(PaymentError::Unknown));
    }
    let account = Account {
        secret_key: "sk_live_stolen".into(),
        publishable_key: None,
        webhook_secrets: vec![],
        base_url: Some(world.served.url()),
    };
    let stranger = PaymentProvider::Stripe(Stripe::new(&account).unwrap());
    assert_eq!(stranger.authorise(charge).await, Err(PaymentError::Unknown));
}

#[tokio::test]
async fn a_provider_that_is_down_is_left_alone_after_five_failures() {
    let world = World::new().await;
    world.faults(&Faults { request_lost: 1000, ..Faults::default() });
    for n in 0..5 {
        let key = format!("pay_{n}");
        let asked = world.authorise(&key, "pm_card_visa").await;
        assert_eq!(asked, Err(PaymentError::Unknown));
    }
    world.faults(&Faults::default());
    let asked = world.authorise("pay_6", "pm_card_visa").await;
    assert_eq!(asked, Err(PaymentError::Unknown));
    assert_eq!(world.truth()["payment_intents"].as_array().map(Vec::len), Some(0), "not asked");
}

#[tokio::test]
async fn another_payments_intent_is_not_taken_for_ours() {
    let world = World::new().await;
    let Ok(Authorisation::Authorised { reference, .. }) =
        world.authorise("pay_1", "pm_card_visa").await
    else {
        panic!("was not authorised");
    };
    let stranger = charge("pay_2", Some("pm_card_visa"));
    assert_eq!(world.look_up(stranger, Some(&reference)).await, Err(PaymentError::Unknown));
    // It had that name from Stripe: this is another account, and not a payment to be asked for.
    let gone = world.look_up(stranger, Some("pi_none")).await;
    assert_eq!(gone, Err(PaymentError::Unknown));
    let path = world.look_up(stranger, Some("../refunds")).await;
    assert_eq!(path, Err(PaymentError::Unknown));
}

#[tokio::test]
async fn the_books_and_the_events_are_read_page_by_page() {
    let world = World::new().await;
    for n in 0..120 {
        let key = format!("pay_{n}");
        world.authorise(&key, "pm_card_visa").await.unwrap();
    }
    let (mut keys, mut after) = (vec![], None);
    loop {
        let page = world.provider.statements(time(START), after.as_deref()).await.unwrap();
        keys.extend(page.statements.into_iter().filter_map(|one| one.key));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((keys.len(), keys[0].as_str()), (120, "pay_119"));
    let page = world.provider.events(time(START), None).await.unwrap();
    assert_eq!(page.events[0].kind, "payment_intent.amount_capturable_updated");
    assert_eq!(page.events[0].payment_key.as_deref(), Some("pay_119"));
    assert!(page.next.is_some());
    // The same events come as webhooks.
    let body = world.served.with(|stripe, now| {
        stripe.endpoint(KEY, "http://shop.example/hooks", now).unwrap();
        stripe.set_pace(KEY, 1, 1);
        stripe.due(now);
        now
    });
    world.authorise("pay_last", "pm_card_visa").await.unwrap();
    let due = world.served.with(|stripe, _| stripe.due(body));
    let event = read_event(due.last().unwrap().body.as_bytes()).unwrap();
    assert_eq!(event.payment_key.as_deref(), Some("pay_last"));
    assert_eq!(read_event(b"{}"), None);
}

#[tokio::test]
async fn what_stripe_would_never_say_is_no_answer() {
    use axum::{Router, body::Body, http::Response};
    let huge = vec![b' '; 5 * 1024 * 1024];
    for (status, location, body) in [
        (200, None, b"<html>hello</html>".to_vec()),
        (200, None, br#"{"id":"pi_1"}"#.to_vec()),
        (200, None, huge),
        (302, Some("/elsewhere"), vec![]),
        (418, None, b"{}".to_vec()),
    ] {
        let answer = move || async move {
            let mut response = Response::builder().status(status);
            if let Some(location) = location {
                response = response.header("location", location);
            }
            response.body(Body::from(body)).unwrap()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = Some(format!("http://{}", listener.local_addr().unwrap()));
        let router = Router::new().fallback(answer);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await });
        let account = Account {
            secret_key: KEY.into(),
            publishable_key: None,
            webhook_secrets: vec![],
            base_url,
        };
        let provider = PaymentProvider::Stripe(Stripe::new(&account).unwrap());
        let asked = provider.authorise(charge("pay_1", Some("pm_card_visa"))).await;
        assert_eq!(asked, Err(PaymentError::Unknown), "{status}");
    }
}

/// One account, two shops: each knows what is its own.
#[tokio::test]
async fn what_another_shop_of_the_account_asked_for_is_somebody_elses() {
    let world = World::new().await;
    let store = |name: &str| StoreId::of_slug(name);
    let shop = |name: &str| match world.provider.clone() {
        PaymentProvider::Stripe(stripe) => PaymentProvider::Stripe(stripe.for_store(store(name))),
        sandbox @ PaymentProvider::Sandbox(_) => sandbox,
    };
    let (one, other) = (shop("one"), shop("other"));
    one.authorise(charge("pay_one", Some("pm_card_visa"))).await.unwrap();

    let event = world.provider.events(time(START), None).await.unwrap().events.remove(0);
    assert_eq!(event.store_key, Some(store("one").to_string()));
    let key = async |shop: &PaymentProvider| {
        shop.statements(time(START), None).await.unwrap().statements.remove(0).key
    };
    assert_eq!(key(&one).await.as_deref(), Some("pay_one"));
    assert_eq!(key(&other).await, None);
}
