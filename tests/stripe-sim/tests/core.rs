//! What the simulator does, request by request, in a time that the test makes.

use serde_json::Value;
use stripe_sim::{Faults, Reply, Request, Simulator};

const KEY: &str = "sk_test_shop";
const DAY: i64 = 24 * 3600;

/// A simulator and the time.
#[derive(Default)]
struct Stripe {
    simulator: Simulator,
    now: i64,
}

impl Stripe {
    fn ask(&mut self, method: &str, path: &str, key: Option<&str>, form: &str) -> Reply {
        let (query, body) = if method == "GET" { (form, "") } else { ("", form) };
        let body = body.as_bytes();
        let request = Request { method, path, query, bearer: KEY, idempotency_key: key, body };
        self.simulator.handle(&request, self.now)
    }

    fn post(&mut self, path: &str, form: &str) -> Reply {
        self.ask("POST", path, None, form)
    }

    fn get(&mut self, path: &str, query: &str) -> Value {
        let reply = self.ask("GET", path, None, query);
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body
    }

    /// An intent confirmed with a method, captured by hand.
    fn pay(&mut self, method: &str) -> Reply {
        let form = format!(
            "amount=1299&currency=gbp&confirm=true&payment_method={method}\
             &payment_method_options[card][capture_method]=manual&metadata[payment_id]=pay_1"
        );
        self.post("/v1/payment_intents", &form)
    }

    fn kinds(&self) -> Vec<&str> {
        self.simulator.events(KEY).iter().map(|event| event.kind.as_str()).collect()
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[test]
fn money_is_reserved_taken_once_and_sent_back_no_more_than_once() {
    let mut stripe = Stripe::default();
    let paid = stripe.pay("pm_card_visa").body;
    assert_eq!(text(&paid, "/status"), "requires_capture");
    let path = format!("/v1/payment_intents/{}", text(&paid, "/id"));
    let over = stripe.post(&format!("{path}/capture"), "amount_to_capture=1300");
    assert_eq!(text(&over.body, "/error/code"), "amount_too_large");
    let taken = stripe.post(&format!("{path}/capture"), "amount_to_capture=1000").body;
    assert_eq!((text(&taken, "/status"), &taken["amount_received"]), ("succeeded", &1000.into()));
    let again = stripe.post(&format!("{path}/capture"), "");
    assert_eq!(text(&again.body, "/error/code"), "payment_intent_unexpected_state");
    let refund = format!("payment_intent={}&amount=600", text(&paid, "/id"));
    assert_eq!(text(&stripe.post("/v1/refunds", &refund).body, "/status"), "succeeded");
    assert_eq!(text(&stripe.post("/v1/refunds", &refund).body, "/error/code"), "amount_too_large");
    let kinds = [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.amount_capturable_updated",
        "charge.captured",
        "payment_intent.succeeded",
        "charge.refunded",
        "refund.created",
    ];
    assert_eq!(stripe.kinds(), kinds);
    let truth = stripe.simulator.truth(KEY);
    assert_eq!(truth["payment_intents"][0]["captured"], 1000);
    assert_eq!(truth["payment_intents"][0]["refunded"], 600);
}

#[test]
fn a_key_gets_its_first_answer_again_for_a_day_and_no_other_request() {
    let mut stripe = Stripe::default();
    let form = "amount=500&currency=eur";
    let mut create = |now, form: &str| {
        stripe.now = now;
        stripe.ask("POST", "/v1/payment_intents", Some("k"), form)
    };
    let first = create(0, form);
    let second = create(DAY - 1, form);
    assert_eq!((first.body["id"].clone(), false), (second.body["id"].clone(), first.replayed));
    assert!(second.replayed);
    let other = create(DAY - 1, "amount=501&currency=eur");
    assert_eq!((other.status, text(&other.body, "/error/type")), (400, "idempotency_error"));
    assert_ne!(create(DAY, form).body["id"], first.body["id"], "a pruned key is a new request");
}

#[test]
fn what_is_not_valid_is_not_saved_and_what_is_refused_is() {
    let mut stripe = Stripe::default();
    let mut create = |form: &str| stripe.ask("POST", "/v1/payment_intents", Some("k"), form);
    assert_eq!(text(&create("amount=10&currency=gbp").body, "/error/code"), "amount_too_small");
    assert_eq!(text(&create("amount=1299&currency=kwd").body, "/error/param"), "amount");
    assert_eq!(text(&create("amount=x&currency=gbp").body, "/error/param"), "amount");
    assert_eq!(text(&create("amount=50&currency=gpb").body, "/error/param"), "currency");
    assert_eq!(text(&create("amnt=50").body, "/error/code"), "parameter_unknown");
    let form = "amount=50&currency=gbp&confirm=true&payment_method=pm_card_visa_chargeDeclined";
    let declined = create(form);
    assert_eq!(declined.status, 402);
    assert_eq!(text(&declined.body, "/error/decline_code"), "generic_decline");
    assert!(create(form).replayed);
}

#[test]
fn a_saved_error_stays_and_says_nothing_of_what_was_done() {
    for (faults, made) in [
        (Faults { saved_error: 1000, ..Faults::default() }, 0),
        (Faults { saved_error_after: 1000, ..Faults::default() }, 1),
    ] {
        let mut stripe = Stripe::default();
        stripe.simulator.set_faults(&faults);
        let form = "amount=50&currency=gbp";
        assert_eq!(stripe.ask("POST", "/v1/payment_intents", Some("k"), form).status, 500);
        stripe.simulator.set_faults(&Faults::default());
        let again = stripe.ask("POST", "/v1/payment_intents", Some("k"), form);
        assert_eq!((again.status, again.replayed), (500, true));
        let intents = stripe.get("/v1/payment_intents", "");
        assert_eq!(intents["data"].as_array().unwrap().len(), made);
    }
}

#[test]
fn a_lost_reply_leaves_the_key_in_use_for_a_moment() {
    let mut stripe = Stripe::default();
    stripe.simulator.set_faults(&Faults { reply_lost: 1000, ..Faults::default() });
    let form = "amount=50&currency=gbp";
    assert!(stripe.ask("POST", "/v1/payment_intents", Some("k"), form).lost);
    stripe.simulator.set_faults(&Faults::default());
    let busy = stripe.ask("POST", "/v1/payment_intents", Some("k"), form);
    assert_eq!((busy.status, text(&busy.body, "/error/code")), (409, "idempotency_key_in_use"));
    stripe.now = 2;
    let known = stripe.ask("POST", "/v1/payment_intents", Some("k"), form);
    assert_eq!((known.status, known.replayed), (200, true));
}

#[test]
fn three_d_secure_and_bank_debits_take_their_time() {
    let mut stripe = Stripe::default();
    let asked = stripe.pay("pm_card_authenticationRequired").body;
    assert_eq!(text(&asked, "/status"), "requires_action");
    let (id, path) = (text(&asked, "/id"), format!("/v1/payment_intents/{}", text(&asked, "/id")));
    assert!(stripe.simulator.authenticate(id, false, 1));
    let failed = stripe.get(&path, "");
    assert_eq!(text(&failed, "/status"), "requires_payment_method");
    let code = "payment_intent_authentication_failure";
    assert_eq!(text(&failed, "/last_payment_error/code"), code);
    assert!(stripe.simulator.shopper_confirms(id, "pm_card_visa", 2));
    assert_eq!(text(&stripe.get(&path, ""), "/status"), "requires_capture");

    let debit = stripe.pay("pm_usBankAccount_success").body;
    assert_eq!(text(&debit, "/status"), "processing");
    let path = format!("/v1/payment_intents/{}", text(&debit, "/id"));
    let early = stripe.post(&format!("{path}/cancel"), "");
    assert_eq!(text(&early.body, "/error/code"), "payment_intent_unexpected_state");
    assert!(stripe.simulator.next().is_some_and(|next| next > stripe.now));
    stripe.now += DAY;
    assert_eq!(text(&stripe.get(&path, ""), "/status"), "succeeded");
}

#[test]
fn an_authorisation_ends_after_seven_days() {
    let mut stripe = Stripe::default();
    let paid = stripe.pay("pm_card_visa").body;
    let path = format!("/v1/payment_intents/{}", text(&paid, "/id"));
    let held = stripe.get(&path, "expand[0]=latest_charge");
    let until = "/latest_charge/payment_method_details/card/capture_before";
    assert_eq!(held.pointer(until), Some(&(7 * DAY).into()));
    stripe.now = 7 * DAY;
    let ended = stripe.get(&path, "");
    assert_eq!(text(&ended, "/status"), "canceled");
    assert_eq!(text(&ended, "/cancellation_reason"), "automatic");
}

#[test]
fn refunds_may_take_their_time_and_fail() {
    let mut stripe = Stripe::default();
    for (method, end) in [("pm_card_pendingRefund", "succeeded"), ("pm_card_refundFail", "failed")]
    {
        let paid = stripe.pay(method).body;
        let id = text(&paid, "/id");
        stripe.post(&format!("/v1/payment_intents/{id}/capture"), "");
        let refund = stripe.post("/v1/refunds", &format!("payment_intent={id}")).body;
        assert_eq!(text(&refund, "/status"), "pending");
        stripe.now += DAY;
        let list = stripe.get("/v1/refunds", &format!("payment_intent={id}"));
        assert_eq!(text(&list, "/data/0/status"), end);
    }
    assert!(stripe.kinds().contains(&"refund.failed"));
}

#[test]
fn lists_come_newest_first_in_pages() {
    let mut stripe = Stripe::default();
    for now in 0..5 {
        stripe.now = now;
        stripe.post("/v1/payment_intents", "amount=50&currency=gbp");
    }
    let first = stripe.get("/v1/payment_intents", "limit=2&created[gte]=1");
    assert_eq!(
        (first["has_more"].clone(), first["data"][0]["created"].clone()),
        (true.into(), 4.into())
    );
    let after = text(&first, "/data/1/id");
    let query = format!("limit=2&created[gte]=1&starting_after={after}");
    let second = stripe.get("/v1/payment_intents", &query);
    assert_eq!(
        (second["has_more"].clone(), second["data"][1]["created"].clone()),
        (false.into(), 1.into())
    );
    assert_eq!(stripe.get("/v1/events", "limit=100")["data"].as_array().unwrap().len(), 5);
}

#[test]
fn webhooks_come_twice_late_in_any_order_or_not_at_all() {
    let received = |faults: &Faults| {
        let mut stripe = Stripe::default();
        stripe.simulator.set_faults(faults);
        stripe.simulator.endpoint(KEY, "http://shop.example/hooks", 0).unwrap();
        for now in 0..20 {
            stripe.now = now;
            stripe.post("/v1/payment_intents", "amount=50&currency=gbp");
        }
        let due = stripe.simulator.due(4 * DAY);
        due.into_iter().map(|delivery| delivery.event_id).collect::<Vec<_>>()
    };
    let all = received(&Faults::default());
    assert_eq!(all.len(), 20);
    assert!(all.is_sorted());
    assert_eq!(received(&Faults { webhook_lost: 1000, ..Faults::default() }).len(), 0);
    assert_eq!(received(&Faults { webhook_twice: 1000, ..Faults::default() }).len(), 40);
    let reordered = Faults { seed: 1, webhook_reordered: 500, ..Faults::default() };
    assert!(!received(&reordered).is_sorted());
    assert_eq!(received(&reordered), received(&reordered), "all follows from the seed");
}

#[test]
fn a_webhook_that_is_not_taken_is_tried_again_for_three_days() {
    let mut stripe = Stripe::default();
    stripe.simulator.endpoint(KEY, "http://shop.example/hooks", 0).unwrap();
    stripe.post("/v1/payment_intents", "amount=50&currency=gbp");
    let mut tries = 0;
    while let Some(next) = stripe.simulator.next() {
        for delivery in stripe.simulator.due(next) {
            tries += 1;
            stripe.simulator.answered(&delivery, false, next);
        }
        stripe.now = next;
    }
    assert!((10..20).contains(&tries), "{tries}");
    assert!(stripe.now >= 3 * DAY);
}

#[test]
fn only_test_keys_get_in_and_a_browser_sees_its_own_intent() {
    let mut stripe = Stripe::default();
    let made = stripe.post("/v1/payment_intents", "amount=50&currency=gbp").body;
    let ask = |stripe: &mut Stripe, bearer: &str, path: &str, body: &str| {
        let body = body.as_bytes();
        let request =
            Request { method: "POST", path, query: "", bearer, idempotency_key: None, body };
        stripe.simulator.handle(&request, 0)
    };
    assert_eq!(ask(&mut stripe, "sk_live_shop", "/v1/refunds", "").status, 401);
    assert_eq!(ask(&mut stripe, "pk_test_shop", "/v1/refunds", "").status, 404);
    let confirm = format!("/v1/payment_intents/{}/confirm", text(&made, "/id"));
    let stranger = "payment_method=pm_card_visa&client_secret=guessed";
    assert_eq!(ask(&mut stripe, "pk_test_shop", &confirm, stranger).status, 404);
    let secret = text(&made, "/client_secret");
    let own = format!("payment_method=pm_card_visa&client_secret={secret}");
    assert_eq!(
        text(&ask(&mut stripe, "pk_test_shop", &confirm, &own).body, "/status"),
        "succeeded"
    );
}
