//! Objects of an account, and how they look in an answer.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::methods::{Method, Refunds};

/// Where an intent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresAction,
    Processing,
    RequiresCapture,
    Succeeded,
    Canceled,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RequiresPaymentMethod => "requires_payment_method",
            Self::RequiresConfirmation => "requires_confirmation",
            Self::RequiresAction => "requires_action",
            Self::Processing => "processing",
            Self::RequiresCapture => "requires_capture",
            Self::Succeeded => "succeeded",
            Self::Canceled => "canceled",
        }
    }
}

/// A payment intent.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) id: String,
    pub(crate) status: Status,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) created: i64,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) description: Option<String>,
    /// `capture_method` of the intent.
    pub(crate) capture_method: String,
    /// Cards are captured by hand, whatever `capture_method` says.
    pub(crate) hold_cards: bool,
    pub(crate) method: Option<&'static Method>,
    pub(crate) capturable: i64,
    pub(crate) received: i64,
    pub(crate) last_error: Value,
    pub(crate) latest_charge: Option<String>,
    pub(crate) canceled: Option<(i64, String)>,
    /// When a method that takes its time is done, or an authorisation ends.
    pub(crate) due: Option<i64>,
}

impl Intent {
    /// Lets its holder confirm the intent.
    pub(crate) fn client_secret(&self) -> String {
        format!("{}_secret_{:016x}", self.id, fnv(&self.id))
    }

    /// As in an answer; `charge` if `latest_charge` is expanded.
    pub(crate) fn document(&self, charge: Option<Value>) -> Value {
        let next_action = (self.status == Status::RequiresAction)
            .then(|| json!({ "type": "use_stripe_sdk", "use_stripe_sdk": {} }));
        let latest_charge = charge.unwrap_or_else(|| json!(self.latest_charge));
        json!({
            "id": self.id, "object": "payment_intent", "amount": self.amount,
            "amount_capturable": self.capturable, "amount_received": self.received,
            "automatic_payment_methods": null, "canceled_at": self.canceled.as_ref().map(|c| c.0),
            "cancellation_reason": self.canceled.as_ref().map(|c| &c.1),
            "capture_method": self.capture_method, "client_secret": self.client_secret(),
            "confirmation_method": "automatic", "created": self.created,
            "currency": self.currency, "customer": null, "description": self.description,
            "last_payment_error": self.last_error, "latest_charge": latest_charge,
            "livemode": false, "metadata": self.metadata, "next_action": next_action,
            "payment_method": self.method.map(|method| method.id),
            "payment_method_types": ["card", "us_bank_account"], "processing": null,
            "status": self.status.name(),
        })
    }

    /// Whether money that is allowed now is only reserved.
    pub(crate) fn holds(&self, method: &Method) -> bool {
        self.capture_method == "manual" || (self.hold_cards && method.kind == "card")
    }
}

/// One try to get the money of an intent.
#[derive(Clone, Debug)]
pub(crate) struct Charge {
    pub(crate) id: String,
    pub(crate) intent: String,
    pub(crate) amount: i64,
    pub(crate) captured: i64,
    pub(crate) refunded: i64,
    pub(crate) currency: String,
    pub(crate) created: i64,
    /// `succeeded`, `pending` or `failed`.
    pub(crate) status: &'static str,
    pub(crate) failure: Option<String>,
    pub(crate) method: &'static Method,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Until when it can be captured.
    pub(crate) capture_before: Option<i64>,
}

impl Charge {
    pub(crate) fn document(&self) -> Value {
        let mut details = json!({ "type": self.method.kind });
        details[self.method.kind] = json!({ "capture_before": self.capture_before });
        json!({
            "id": self.id, "object": "charge", "amount": self.amount,
            "amount_captured": self.captured, "amount_refunded": self.refunded,
            "captured": self.captured > 0, "created": self.created, "currency": self.currency,
            "failure_code": self.failure, "livemode": false, "metadata": self.metadata,
            "paid": self.status == "succeeded", "payment_intent": self.intent,
            "payment_method": self.method.id, "payment_method_details": details,
            "refunded": self.captured > 0 && self.refunded == self.captured,
            "status": self.status,
        })
    }
}

/// Money on its way back.
#[derive(Clone, Debug)]
pub(crate) struct Refund {
    pub(crate) id: String,
    pub(crate) charge: String,
    pub(crate) intent: String,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) created: i64,
    /// `pending`, `succeeded` or `failed`.
    pub(crate) status: &'static str,
    pub(crate) failure: Option<&'static str>,
    pub(crate) reason: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    /// When a pending one is done, and what becomes of it.
    pub(crate) due: Option<(i64, Refunds)>,
}

impl Refund {
    pub(crate) fn document(&self) -> Value {
        json!({
            "id": self.id, "object": "refund", "amount": self.amount, "charge": self.charge,
            "created": self.created, "currency": self.currency,
            "failure_reason": self.failure, "metadata": self.metadata,
            "payment_intent": self.intent, "reason": self.reason, "status": self.status,
        })
    }
}

/// A number that follows from a text (FNV-1a). Nothing rests on its being secret here.
fn fnv(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}
