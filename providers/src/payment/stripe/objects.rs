//! Stripe's objects, as far as they are read. Unknown fields do no harm; missing ones make an
//! answer that is not understood, which is one that never came.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use event_schemas::{ids::StoreId, payment::DeclineAdvice};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{amount::of_stripe, client::Refusal};
use crate::payment::{PaymentError, ProviderEvent, RefundState, Refunded, Statement};

/// Name of our payment's id in the metadata of intents, charges and refunds.
pub(super) const PAYMENT_KEY: &str = "payment_id";

/// Name of our store's id in the metadata of intents, charges and refunds.
pub(super) const STORE_KEY: &str = "store_id";

/// Name of our refund's id in the metadata of refunds.
pub(super) const REFUND_KEY: &str = "refund_id";

/// A payment intent.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Intent {
    pub(super) id: String,
    pub(super) status: Status,
    pub(super) amount_capturable: i64,
    pub(super) amount_received: i64,
    pub(super) currency: String,
    pub(super) created: i64,
    #[serde(default)]
    pub(super) client_secret: Option<String>,
    #[serde(default)]
    pub(super) metadata: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) last_payment_error: Option<LastError>,
    #[serde(default)]
    pub(super) latest_charge: Option<Expandable<Charge>>,
}

/// Where an intent is: docs.stripe.com/payments/paymentintents/lifecycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresAction,
    Processing,
    RequiresCapture,
    Canceled,
    Succeeded,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct LastError {
    #[serde(default)]
    pub(super) code: Option<String>,
    #[serde(default)]
    pub(super) decline_code: Option<String>,
}

/// An object, or only its id.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Expandable<T> {
    Object(T),
    Id(serde::de::IgnoredAny),
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Charge {
    #[serde(default)]
    amount_refunded: i64,
    #[serde(default)]
    payment_method_details: Option<Value>,
}

/// Money on its way back.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct RefundObject {
    id: String,
    amount: i64,
    currency: String,
    /// `pending`, `requires_action`, `succeeded`, `failed` or `canceled`.
    status: String,
    #[serde(default)]
    failure_reason: Option<String>,
}

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct List<T> {
    pub(super) data: Vec<T>,
    pub(super) has_more: bool,
}

/// Something that happened.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    pub(super) id: String,
    #[serde(rename = "type")]
    kind: String,
    created: i64,
    data: EventData,
}

#[derive(Debug, Deserialize)]
struct EventData {
    object: EventObject,
}

#[derive(Debug, Deserialize)]
struct EventObject {
    #[serde(default)]
    object: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    payment_intent: Option<Named>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
}

/// An object's id, on its own or in the object.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Named {
    Id(String),
    Object { id: String },
}

/// Reads an object; an answer that is not understood is one that never came.
pub(super) fn read<T: DeserializeOwned>(body: Value) -> Result<T, PaymentError> {
    serde_json::from_value(body).map_err(|error| {
        tracing::error!("an answer of Stripe is not understood: {error}");
        PaymentError::Unknown
    })
}

pub(super) fn time(seconds: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(seconds, 0)
}

impl Intent {
    pub(super) fn key(&self) -> Option<&str> {
        self.metadata.get(PAYMENT_KEY).map(String::as_str)
    }

    /// Until when the reserved money can be captured, if the charge was expanded.
    pub(super) fn expires_at(&self) -> Option<DateTime<Utc>> {
        let Some(Expandable::Object(charge)) = &self.latest_charge else { return None };
        let details = charge.payment_method_details.as_ref()?;
        time(details.pointer("/card/capture_before")?.as_i64()?)
    }

    /// The refusal of the last try.
    pub(super) fn refusal(&self) -> Option<PaymentError> {
        let error = self.last_payment_error.as_ref()?;
        Some(declined(error.code.as_deref(), error.decline_code.as_deref()))
    }

    /// As it stands in the books.
    pub(super) fn statement(&self, store: Option<StoreId>) -> Option<Statement> {
        let money = |amount| of_stripe(amount, &self.currency);
        let asked_by = self.metadata.get(STORE_KEY);
        let ours = asked_by.is_none() || asked_by == store.map(|id| id.to_string()).as_ref();
        let refunded = match &self.latest_charge {
            Some(Expandable::Object(charge)) => charge.amount_refunded,
            _ => 0,
        };
        Some(Statement {
            reference: self.id.clone(),
            key: self.key().filter(|_| ours).map(str::to_owned),
            created: time(self.created)?,
            reserved: money(self.amount_capturable)?,
            captured: money(self.amount_received)?,
            // What was reserved and given back was never taken.
            refunded: money(refunded.min(self.amount_received))?,
        })
    }
}

impl RefundObject {
    pub(super) fn refunded(self) -> Result<Refunded, PaymentError> {
        let amount = of_stripe(self.amount, &self.currency).ok_or(PaymentError::Unknown)?;
        let state = match self.status.as_str() {
            "succeeded" => RefundState::Succeeded,
            "pending" | "requires_action" => RefundState::Pending,
            "failed" => RefundState::Failed { code: self.failure_reason.unwrap_or(self.status) },
            "canceled" => RefundState::Failed { code: self.status },
            _ => return Err(PaymentError::Unknown),
        };
        Ok(Refunded { reference: self.id, amount, state })
    }
}

impl Event {
    pub(super) fn event(self) -> Option<ProviderEvent> {
        let object = self.data.object;
        let reference = if object.object == "payment_intent" {
            object.id
        } else {
            object.payment_intent.map(|intent| match intent {
                Named::Id(id) | Named::Object { id } => id,
            })
        };
        let mut metadata = object.metadata.unwrap_or_default();
        let [payment_key, store_key] = [PAYMENT_KEY, STORE_KEY].map(|name| metadata.remove(name));
        let created = time(self.created)?;
        let (id, kind) = (self.id, self.kind);
        Some(ProviderEvent { id, kind, created, reference, payment_key, store_key })
    }
}

impl Refusal {
    pub(super) fn declined(&self) -> PaymentError {
        declined(self.code.as_deref().or(Some(&self.kind)), self.decline_code.as_deref())
    }
}

/// A refusal by Stripe's codes. The code of the bank says more than `card_declined`.
fn declined(code: Option<&str>, decline_code: Option<&str>) -> PaymentError {
    let code = decline_code.or(code).unwrap_or("declined").to_owned();
    let advice = advice(&code);
    PaymentError::Declined { code, advice }
}

/// What a shopper should do, by docs.stripe.com/declines/codes.
fn advice(code: &str) -> DeclineAdvice {
    match code {
        "approve_with_id"
        | "issuer_not_available"
        | "processing_error"
        | "reenter_transaction"
        | "try_again_later"
        | "authentication_required"
        | "payment_intent_authentication_failure"
        | "incorrect_cvc"
        | "invalid_cvc" => DeclineAdvice::Retry,
        "amount_too_large"
        | "amount_too_small"
        | "currency_not_supported"
        | "amount_not_supported" => DeclineAdvice::Stop,
        _ => DeclineAdvice::OtherMethod,
    }
}
