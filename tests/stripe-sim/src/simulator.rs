//! All accounts, and what a test may do that no client can.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    account::Account,
    answer::{Refused, Reply, Request},
    events::Event,
    faults::{Chance, Faults},
    params::Params,
    webhooks::Delivery,
};

/// Stripe, without clock and sockets. Times are in seconds since 1970, and must not go back.
///
/// An account exists as soon as its key is used: `sk_test_NAME` for the server, `pk_test_NAME` for
/// the shopper's browser. Live keys are refused.
#[derive(Clone, Debug, Default)]
pub struct Simulator {
    accounts: BTreeMap<String, Account>,
    /// Of accounts that come.
    faults: Faults,
}

impl Simulator {
    /// Answers a request.
    pub fn handle(&mut self, request: &Request<'_>, now: i64) -> Reply {
        let Some((public, name)) = key_name(request.bearer) else {
            return unauthorised().reply();
        };
        self.account(name).handle(request, public, now)
    }

    /// Lets time pass: bank debits settle, authorisations end, refunds arrive.
    pub fn pass(&mut self, now: i64) {
        for account in self.accounts.values_mut() {
            account.pass(now);
        }
    }

    /// The next time at which something happens by itself: then let time pass, and send webhooks.
    pub fn next(&self) -> Option<i64> {
        self.accounts.values().filter_map(Account::next).min()
    }

    /// Chooses what goes wrong from now on, in every account.
    pub fn set_faults(&mut self, faults: &Faults) {
        self.faults = faults.clone();
        for account in self.accounts.values_mut() {
            account.chance = Chance::new(faults.clone());
        }
    }

    /// How long bank debits and slow refunds take, in seconds.
    pub fn set_pace(&mut self, secret_key: &str, settle: i64, refund: i64) {
        if let Some((_, name)) = key_name(secret_key) {
            let account = self.account(name);
            (account.settle_seconds, account.refund_seconds) = (settle, refund);
        }
    }

    /// Tells an address of everything that happens in an account. Returns the secret that its
    /// webhooks are signed with; none if the key is none.
    pub fn endpoint(&mut self, secret_key: &str, url: &str, now: i64) -> Option<String> {
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("url", url)
            .append_pair("enabled_events[]", "*")
            .finish();
        let request = Request {
            method: "POST",
            path: "/v1/webhook_endpoints",
            query: "",
            bearer: secret_key,
            idempotency_key: None,
            body: body.as_bytes(),
        };
        let (_, name) = key_name(secret_key)?;
        let account = self.account(name);
        // Nothing goes wrong here: it is the test that asks.
        let chance = std::mem::replace(&mut account.chance, Chance::new(Faults::default()));
        let reply = account.handle(&request, false, now);
        account.chance = chance;
        reply.body["secret"].as_str().map(str::to_owned)
    }

    /// The shopper proves who they are, or fails to. False if that intent does not wait for it.
    pub fn authenticate(&mut self, intent: &str, passes: bool, now: i64) -> bool {
        let found = self.accounts.values_mut().find(|one| one.intents.contains_key(intent));
        let Some(account) = found else { return false };
        account.pass(now);
        account.authenticate(intent, passes)
    }

    /// The shopper chooses a payment method in the browser and confirms. False if that intent does
    /// not wait for it, or the method is refused.
    pub fn shopper_confirms(&mut self, intent: &str, method: &str, now: i64) -> bool {
        let found = self.accounts.values_mut().find(|one| one.intents.contains_key(intent));
        let Some(account) = found else { return false };
        account.pass(now);
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("payment_method", method)
            .finish();
        account.confirm_intent(intent, &Params::read(form.as_bytes())).is_ok()
    }

    /// Webhooks to be sent now. Say of each what became of it, by [`Simulator::answered`].
    pub fn due(&mut self, now: i64) -> Vec<Delivery> {
        self.pass(now);
        let accounts = self.accounts.iter_mut();
        accounts.flat_map(|(name, account)| account.webhooks.due(name, now)).collect()
    }

    /// A webhook was taken (a status of 200 to 299), or it is tried again, for three days.
    pub fn answered(&mut self, delivery: &Delivery, taken: bool, now: i64) {
        if let Some(account) = self.accounts.get_mut(&delivery.account) {
            account.webhooks.answered(delivery.id, taken, now);
        }
    }

    /// Everything that happened in an account, oldest first.
    pub fn events(&self, secret_key: &str) -> &[Event] {
        let found = key_name(secret_key).and_then(|(_, name)| self.accounts.get(name));
        found.map_or(&[], |account| &account.events)
    }

    /// What really is in an account, whatever anybody was told: intents with their `key` (the
    /// `payment_id` of the metadata), `status`, `reserved`, `captured`, `refunded` and number of
    /// `charges` that a bank allowed; refunds with their `key` (the `refund_id`) and `status`.
    pub fn truth(&self, secret_key: &str) -> Value {
        let found = key_name(secret_key).and_then(|(_, name)| self.accounts.get(name));
        found.map_or(Value::Null, Account::truth)
    }

    /// [`Simulator::truth`] of every account, by secret key.
    pub fn truths(&self) -> Value {
        let of =
            |(name, account): (&String, &Account)| (format!("sk_test_{name}"), account.truth());
        Value::Object(self.accounts.iter().map(of).collect())
    }

    fn account(&mut self, name: &str) -> &mut Account {
        let faults = &self.faults;
        self.accounts.entry(name.to_owned()).or_insert_with(|| {
            let mut account = Account::new(name);
            account.chance = Chance::new(faults.clone());
            account
        })
    }
}

/// Whether a key is the browser's, and whose it is.
fn key_name(key: &str) -> Option<(bool, &str)> {
    let found = match key.strip_prefix("sk_test_") {
        Some(name) => (false, name),
        None => (true, key.strip_prefix("pk_test_")?),
    };
    let valid = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric());
    valid(found.1).then_some(found)
}

fn unauthorised() -> Refused {
    let error = json!({ "type": "invalid_request_error", "message": "Invalid API Key provided" });
    Refused { status: 401, error, saved: false }
}
