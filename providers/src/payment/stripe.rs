//! Stripe: payment intents, by a thin client of its HTTP API (docs/adr/0019).
//!
//! - A card is reserved and captured later; a method that cannot reserve is taken at once.
//! - Our payment's id is the idempotency key and stands in the metadata, by which a payment is
//!   found again when its answer was lost. The list is asked, not the search, which lags behind.
//! - An error that is saved under a key is final for that key: what it did is looked up, and if it
//!   did nothing the next key of a fixed chain is used, so that two who do the same use the same.
//! - An intent that was refused is cancelled before it is called refused: the shopper's browser
//!   could go on with it.
//! - Anything that is not a definite answer is [`PaymentError::Unknown`].

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use event_schemas::{
    ids::StoreId,
    money::Money,
    payment::{DeclineAdvice, PaymentAction},
};
use serde_json::Value;

use super::{
    Authorisation, Charge, ClientSecret, EventPage, LookUp, PaymentError, ProviderEvent, Refund,
    Refunded, Statement, StatementPage,
};

mod account;
mod amount;
mod breaker;
mod client;
mod objects;
pub mod signature;

pub use account::{Account, AccountError, BASE_URL, SECRET_NAME};

use client::{Answer, Client};
use objects::{Event, Intent, List, PAYMENT_KEY, REFUND_KEY, RefundObject, Status, read, time};

/// Keys of a chain. Each costs Stripe an error that it saved, and a chain that is used up leaves a
/// payment open until Stripe forgets its keys, a day later: so it is longer than any outage that
/// was seen, and short enough to be walked within the deadline.
const KEYS_MAX: u32 = 10;

/// Objects of a page, the most that Stripe gives.
const PAGE: &str = "100";

/// Pages that are looked through for one payment: two thousand. More is left unknown.
const PAGES_MAX: u32 = 20;

/// How far the clocks of Stripe and of this machine may be apart.
const SKEW: Duration = Duration::minutes(5);

/// Kinds of events that payments follow from; also what an endpoint for webhooks should be set to.
pub const EVENT_KINDS: &[&str] = &[
    "payment_intent.amount_capturable_updated",
    "payment_intent.canceled",
    "payment_intent.payment_failed",
    "payment_intent.processing",
    "payment_intent.requires_action",
    "payment_intent.succeeded",
    "charge.captured",
    "charge.refunded",
    "charge.refund.updated",
    "refund.created",
    "refund.failed",
    "refund.updated",
];

/// A store's account at Stripe. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stripe {
    client: Arc<Client>,
    publishable_key: Option<String>,
    /// Who asks, among all that the account serves.
    store: Option<StoreId>,
}

impl Stripe {
    /// Acts for an account.
    pub fn new(account: &Account) -> Result<Stripe, AccountError> {
        account.check()?;
        let publishable_key = account.publishable_key.clone();
        Ok(Stripe { client: Arc::new(Client::new(account)), publishable_key, store: None })
    }

    /// Says of everything it asks for that a store asked.
    #[must_use]
    pub fn for_store(self, store_id: StoreId) -> Stripe {
        Stripe { store: Some(store_id), ..self }
    }

    fn store_metadata(&self) -> Option<(&'static str, String)> {
        self.store.map(|store_id| ("metadata[store_id]", store_id.to_string()))
    }

    /// Whether both act by the same connections and circuit breaker.
    pub fn is_same(&self, other: &Stripe) -> bool {
        Arc::ptr_eq(&self.client, &other.client)
    }

    /// Whether Stripe answers and takes the key. Moves no money.
    pub async fn accepts_key(&self) -> Result<(), PaymentError> {
        let query = [("limit", "1".to_owned())];
        let page: Result<List<Value>, PaymentError> =
            self.list("/v1/payment_intents", &query).await;
        page.map(|_| ())
    }

    pub(super) async fn authorise(
        &self,
        charge: Charge<'_>,
    ) -> Result<Authorisation, PaymentError> {
        let mut form = intent_form(charge)?;
        form.extend(self.store_metadata());
        for key in chain(charge.key) {
            match self.client.post("/v1/payment_intents", &form, &key).await? {
                Answer::Done(body) => return self.state(read(body)?, charge).await,
                Answer::Refused(refusal) => {
                    return match refusal.payment_intent {
                        Some(body) => self.state(read(body)?, charge).await,
                        None => Err(refusal.declined()),
                    };
                }
                Answer::SavedError { at } => {
                    let since = time(at).unwrap_or_default() - super::KEYS_KEPT;
                    if let Some(found) = self.find(charge.key, since).await? {
                        return self.state(found, charge).await;
                    }
                }
            }
        }
        Err(PaymentError::Unknown)
    }

    pub(super) async fn confirm_action(
        &self,
        charge: Charge<'_>,
        reference: &str,
    ) -> Result<Authorisation, PaymentError> {
        let intent = self.intent(reference).await?.ok_or(PaymentError::Unknown)?;
        if intent.status != Status::RequiresConfirmation {
            return self.state(intent, charge).await;
        }
        let path = format!("/v1/payment_intents/{}/confirm", id(reference)?);
        let key = format!("{}/confirm", charge.key);
        let form = [("expand[]", "latest_charge".to_owned())];
        match self.client.post(&path, &form, &key).await? {
            Answer::Done(body) => self.state(read(body)?, charge).await,
            Answer::Refused(_) | Answer::SavedError { .. } => {
                let intent = self.intent(reference).await?.ok_or(PaymentError::Unknown)?;
                self.state(intent, charge).await
            }
        }
    }

    pub(super) async fn look_up(&self, look_up: LookUp<'_>) -> Result<Authorisation, PaymentError> {
        let LookUp { charge, reference, asked_at, .. } = look_up;
        let found = match reference {
            // Stripe gave it this name itself. If it knows it no more, this is another account or
            // mode: asking there for the money again would take it twice.
            Some(reference) => Some(self.intent(reference).await?.ok_or(PaymentError::Unknown)?),
            None => self.find(charge.key, asked_at).await?,
        };
        match found {
            Some(intent) => self.state(intent, charge).await,
            None => Ok(Authorisation::Absent),
        }
    }

    pub(super) async fn client_secret(
        &self,
        reference: &str,
    ) -> Result<ClientSecret, PaymentError> {
        let intent = self.intent(reference).await?.ok_or(PaymentError::Unknown)?;
        let client_secret = intent.client_secret.ok_or(PaymentError::Unknown)?;
        Ok(ClientSecret { client_secret, publishable_key: self.publishable_key.clone() })
    }

    pub(super) async fn capture(
        &self,
        reference: &str,
        amount: Money,
        key: &str,
    ) -> Result<Money, PaymentError> {
        let path = format!("/v1/payment_intents/{}/capture", id(reference)?);
        let form = [("amount_to_capture", stripe_amount(amount)?.to_string())];
        for key in chain(key) {
            let intent = match self.client.post(&path, &form, &key).await? {
                Answer::Done(body) => read::<Intent>(body)?,
                Answer::Refused(refusal) => {
                    let Some(body) = refusal.payment_intent.as_ref() else {
                        return Err(refusal.declined());
                    };
                    let intent = read::<Intent>(body.clone())?;
                    if intent.status == Status::RequiresCapture {
                        return Err(refusal.declined());
                    }
                    intent
                }
                Answer::SavedError { .. } => {
                    self.intent(reference).await?.ok_or(PaymentError::Unknown)?
                }
            };
            match intent.status {
                Status::Succeeded => return money(intent.amount_received, &intent.currency),
                Status::RequiresCapture => {}
                Status::Canceled => return Err(refused("canceled", DeclineAdvice::Stop)),
                _ => return Err(PaymentError::Unknown),
            }
        }
        Err(PaymentError::Unknown)
    }

    pub(super) async fn void(&self, reference: &str, key: &str) -> Result<(), PaymentError> {
        let path = format!("/v1/payment_intents/{}/cancel", id(reference)?);
        for key in chain(key) {
            let intent = match self.client.post(&path, &[], &key).await? {
                Answer::Done(body) => read::<Intent>(body)?,
                // Whatever it says, only where the intent is now counts.
                Answer::Refused(_) | Answer::SavedError { .. } => {
                    self.intent(reference).await?.ok_or(PaymentError::Unknown)?
                }
            };
            match intent.status {
                Status::Canceled => return Ok(()),
                Status::Succeeded => {
                    return Err(refused("already_captured", DeclineAdvice::Stop));
                }
                Status::Processing => return Err(PaymentError::Unknown),
                _ => {}
            }
        }
        Err(PaymentError::Unknown)
    }

    pub(super) async fn refund(&self, refund: Refund<'_>) -> Result<Refunded, PaymentError> {
        let mut form = vec![
            ("payment_intent", refund.reference.to_owned()),
            ("amount", stripe_amount(refund.amount)?.to_string()),
            ("metadata[payment_id]", refund.payment_key.to_owned()),
            ("metadata[refund_id]", refund.key.to_owned()),
        ];
        form.extend(self.store_metadata());
        for key in chain(refund.key) {
            match self.client.post("/v1/refunds", &form, &key).await? {
                Answer::Done(body) => return read::<RefundObject>(body)?.refunded(),
                Answer::Refused(refusal) => {
                    // Refused may be what was done before, under a key that was forgotten.
                    let found = self.look_up_refund(refund).await?;
                    return found.ok_or_else(|| refusal.declined());
                }
                Answer::SavedError { .. } => {
                    if let Some(found) = self.look_up_refund(refund).await? {
                        return Ok(found);
                    }
                }
            }
        }
        Err(PaymentError::Unknown)
    }

    pub(super) async fn look_up_refund(
        &self,
        refund: Refund<'_>,
    ) -> Result<Option<Refunded>, PaymentError> {
        let query = [("payment_intent", refund.reference.to_owned())];
        let ours = |one: &Value| one["metadata"][REFUND_KEY] == refund.key;
        let found = self.search("/v1/refunds", &query, ours).await?;
        found.map(|found| read::<RefundObject>(found)?.refunded()).transpose()
    }

    pub(super) async fn statement(
        &self,
        reference: &str,
    ) -> Result<Option<Statement>, PaymentError> {
        Ok(self.intent(reference).await?.and_then(|intent| intent.statement(self.store)))
    }

    pub(super) async fn statements(
        &self,
        since: DateTime<Utc>,
        after: Option<&str>,
    ) -> Result<StatementPage, PaymentError> {
        let mut query = page_query(since, after);
        query.push(("expand[]", "data.latest_charge".to_owned()));
        let page: List<Intent> = self.list("/v1/payment_intents", &query).await?;
        let last = page.data.last().map(|intent| intent.id.clone());
        let statements = page.data.iter().filter_map(|one| one.statement(self.store)).collect();
        Ok(StatementPage { statements, next: last.filter(|_| page.has_more) })
    }

    pub(super) async fn events(
        &self,
        since: DateTime<Utc>,
        after: Option<&str>,
    ) -> Result<EventPage, PaymentError> {
        let mut query = page_query(since, after);
        query.extend(EVENT_KINDS.iter().map(|kind| ("types[]", (*kind).to_owned())));
        let page: List<Event> = self.list("/v1/events", &query).await?;
        let last = page.data.last().map(|event| event.id.clone());
        let events = page.data.into_iter().filter_map(Event::event).collect();
        Ok(EventPage { events, next: last.filter(|_| page.has_more) })
    }

    /// Where an intent leaves a payment.
    async fn state(
        &self,
        intent: Intent,
        charge: Charge<'_>,
    ) -> Result<Authorisation, PaymentError> {
        if intent.key() != Some(charge.key) {
            tracing::error!(reference = intent.id, "an intent of Stripe is another payment's");
            return Err(PaymentError::Unknown);
        }
        let reference = intent.id.clone();
        Ok(match intent.status {
            Status::RequiresCapture => {
                let amount = money(intent.amount_capturable, &intent.currency)?;
                Authorisation::Authorised { reference, amount, expires_at: intent.expires_at() }
            }
            Status::Succeeded => {
                let amount = money(intent.amount_received, &intent.currency)?;
                Authorisation::Captured { reference, amount }
            }
            Status::Processing => Authorisation::Processing { reference },
            Status::Canceled => match intent.refusal() {
                Some(refusal) if charge.token.is_some() => return Err(refusal),
                _ => Authorisation::Voided { reference },
            },
            // The shopper may try another card in the browser, until it is given up here.
            Status::RequiresPaymentMethod | Status::RequiresConfirmation
                if charge.token.is_none() =>
            {
                Authorisation::ActionRequired { reference, action: PaymentAction::Confirm }
            }
            Status::RequiresPaymentMethod => {
                let refusal = intent.refusal().ok_or(PaymentError::Unknown)?;
                match self.void(&reference, &format!("{}/declined", charge.key)).await {
                    Ok(()) => return Err(refusal),
                    // The shopper's browser was faster, with another card.
                    Err(PaymentError::Declined { .. }) => self.taken(&reference).await?,
                    Err(unknown) => return Err(unknown),
                }
            }
            Status::RequiresAction | Status::RequiresConfirmation => {
                Authorisation::ActionRequired { reference, action: PaymentAction::ThreeDSecure }
            }
        })
    }

    /// What an intent is about that cannot be given up any more.
    async fn taken(&self, reference: &str) -> Result<Authorisation, PaymentError> {
        let intent = self.intent(reference).await?.ok_or(PaymentError::Unknown)?;
        if intent.status != Status::Succeeded {
            return Err(PaymentError::Unknown);
        }
        let amount = money(intent.amount_received, &intent.currency)?;
        Ok(Authorisation::Captured { reference: intent.id, amount })
    }

    /// An intent by Stripe's name of it.
    async fn intent(&self, reference: &str) -> Result<Option<Intent>, PaymentError> {
        let path = format!("/v1/payment_intents/{}", id(reference)?);
        let query = [("expand[]", "latest_charge".to_owned())];
        match self.client.get(&path, &query).await? {
            Answer::Done(body) => read(body).map(Some),
            Answer::Refused(refusal) if refusal.code.as_deref() == Some("resource_missing") => {
                Ok(None)
            }
            Answer::Refused(_) | Answer::SavedError { .. } => Err(PaymentError::Unknown),
        }
    }

    /// The intent of a payment that was asked for since then; none if there is none.
    async fn find(&self, key: &str, since: DateTime<Utc>) -> Result<Option<Intent>, PaymentError> {
        let query = [
            ("created[gte]", (since - SKEW).timestamp().to_string()),
            ("expand[]", "data.latest_charge".to_owned()),
        ];
        let ours = |intent: &Value| intent["metadata"][PAYMENT_KEY] == key;
        let found = self.search("/v1/payment_intents", &query, ours).await?;
        found.map(read).transpose()
    }

    /// The first of a list that is wanted; none if all of it was seen.
    async fn search(
        &self,
        path: &str,
        query: &[(&str, String)],
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Option<Value>, PaymentError> {
        let mut after = None;
        for _ in 0..PAGES_MAX {
            let mut query = query.to_vec();
            query.push(("limit", PAGE.to_owned()));
            query.extend(after.map(|after| ("starting_after", after)));
            let page: List<Value> = self.list(path, &query).await?;
            let last = page.data.last().and_then(|last| last["id"].as_str().map(str::to_owned));
            if let Some(found) = page.data.into_iter().find(&wanted) {
                return Ok(Some(found));
            }
            if !page.has_more {
                return Ok(None);
            }
            after = last;
        }
        tracing::warn!("a payment was not found in {PAGES_MAX} pages of Stripe's list");
        Err(PaymentError::Unknown)
    }

    async fn list<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<List<T>, PaymentError> {
        match self.client.get(path, query).await? {
            Answer::Done(body) => read(body),
            Answer::Refused(_) | Answer::SavedError { .. } => Err(PaymentError::Unknown),
        }
    }
}

/// What a webhook says happened; none if it is no event. Look at its signature first.
pub fn read_event(body: &[u8]) -> Option<ProviderEvent> {
    let event: Event = serde_json::from_slice(body).ok()?;
    event.event()
}

/// The keys that are tried one after the other.
fn chain(key: &str) -> impl Iterator<Item = String> {
    let next = move |n: u32| if n == 1 { key.to_owned() } else { format!("{key}/{n}") };
    (1..=KEYS_MAX).map(next)
}

fn intent_form(charge: Charge<'_>) -> Result<Vec<(&'static str, String)>, PaymentError> {
    let mut form = vec![
        ("amount", stripe_amount(charge.amount)?.to_string()),
        ("currency", amount::code(charge.amount.currency)),
        // A card is held until its order is certain; a bank debit cannot be.
        ("payment_method_options[card][capture_method]", "manual".to_owned()),
        ("automatic_payment_methods[enabled]", "true".to_owned()),
        ("metadata[payment_id]", charge.key.to_owned()),
        ("expand[]", "latest_charge".to_owned()),
    ];
    if let Some(token) = charge.token {
        form.push(("payment_method", token.to_owned()));
        form.push(("confirm", "true".to_owned()));
        // The browser answers 3-D Secure in place; a redirect would need an address to come back to.
        form.push(("automatic_payment_methods[allow_redirects]", "never".to_owned()));
    }
    Ok(form)
}

/// An amount Stripe can take, or a refusal: nothing was asked.
fn stripe_amount(money: Money) -> Result<i64, PaymentError> {
    amount::to_stripe(money).ok_or_else(|| refused("amount_not_supported", DeclineAdvice::Stop))
}

fn money(amount: i64, currency: &str) -> Result<Money, PaymentError> {
    amount::of_stripe(amount, currency).ok_or(PaymentError::Unknown)
}

fn refused(code: &str, advice: DeclineAdvice) -> PaymentError {
    PaymentError::Declined { code: code.to_owned(), advice }
}

/// A reference that can stand in an address: Stripe's have letters, digits and underscores.
fn id(reference: &str) -> Result<&str, PaymentError> {
    let fits = reference.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if fits && !reference.is_empty() { Ok(reference) } else { Err(PaymentError::Unknown) }
}

fn page_query(since: DateTime<Utc>, after: Option<&str>) -> Vec<(&'static str, String)> {
    let mut query =
        vec![("created[gte]", since.timestamp().to_string()), ("limit", PAGE.to_owned())];
    query.extend(after.map(|after| ("starting_after", after.to_owned())));
    query
}
