//! Facts about payments: what was asked of the provider, and what it answered.
//!
//! A `…Requested` event is stored before the provider is called, and the id in it is the
//! provider's idempotency key: after a crash the same call is made again and moves no money twice.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::{
    ids::{CheckoutId, RefundId},
    money::Money,
    upcast::Upcast,
};

/// A fact about one attempt to pay. The stream id is the payment id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum PaymentEvent {
    /// The provider shall reserve the amount.
    #[serde(rename = "PaymentIntentRequested")]
    IntentRequested(PaymentIntentRequested),
    /// The provider wants the shopper to do something first.
    #[serde(rename = "PaymentActionRequired")]
    ActionRequired(PaymentActionRequired),
    /// The shopper did it; the provider shall go on.
    #[serde(rename = "PaymentActionAnswered")]
    ActionAnswered(PaymentActionAnswered),
    /// The provider took the payment on and will say later whether it works, maybe days later.
    #[serde(rename = "PaymentProcessing")]
    Processing(PaymentProcessing),
    /// The amount is reserved on the shopper's card.
    #[serde(rename = "PaymentAuthorised")]
    Authorised(PaymentAuthorised),
    /// The provider refused, for good.
    #[serde(rename = "PaymentDeclined")]
    Declined(PaymentDeclined),
    /// It is not known whether the provider did as asked. Never treated as a refusal.
    #[serde(rename = "ProviderOutcomeUnknown")]
    OutcomeUnknown(ProviderOutcomeUnknown),
    /// The provider shall take the reserved amount.
    #[serde(rename = "CaptureRequested")]
    CaptureRequested(CaptureRequested),
    /// The money is ours.
    #[serde(rename = "PaymentCaptured")]
    Captured(PaymentCaptured),
    /// The provider would not capture, for good.
    #[serde(rename = "CaptureFailed")]
    CaptureFailed(CaptureFailed),
    /// The provider shall give the reservation up.
    #[serde(rename = "VoidRequested")]
    VoidRequested(VoidRequested),
    /// The shopper's money is free again; nothing was taken.
    #[serde(rename = "PaymentVoided")]
    Voided(PaymentVoided),
    /// The provider shall send captured money back.
    #[serde(rename = "RefundRequested")]
    RefundRequested(RefundRequested),
    /// It did.
    #[serde(rename = "RefundSucceeded")]
    RefundSucceeded(RefundSucceeded),
    /// It would not, for good.
    #[serde(rename = "RefundFailed")]
    RefundFailed(RefundFailed),
    /// The provider took the refund on and will say later whether it works.
    #[serde(rename = "RefundPending")]
    RefundPending(RefundPending),
    /// What the provider holds is not what was asked for. The money is not counted; it goes back.
    #[serde(rename = "PaymentIntegrityViolated")]
    IntegrityViolated(PaymentIntegrityViolated),
    /// Money turned up for a payment that was over. Nobody counts on it any more; it goes back.
    #[serde(rename = "LatePaymentFound")]
    LateFound(LatePaymentFound),
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentIntentRequested {
    /// The checkout that wants to pay.
    pub checkout_id: CheckoutId,
    /// Which attempt of it, from 1.
    pub attempt: u32,
    /// How much.
    pub amount: Money,
    /// Whom we asked, such as `sandbox`.
    pub provider: String,
    /// The provider's token of the card; never a card number.
    pub payment_method: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 2. In version 1 the action was always `three_d_secure`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentActionRequired {
    /// What the shopper must do.
    pub action: PaymentAction,
    /// The provider's name of the payment.
    pub provider_reference: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// What a provider may ask of a shopper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentAction {
    /// Prove to the card's bank who they are.
    ThreeDSecure,
    /// Give a means of payment to the provider itself, on its form, and confirm. What that form
    /// needs is asked of the provider when it is shown, and stored nowhere.
    Confirm,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentActionAnswered {
    /// What the shopper's bank handed back.
    pub answer: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentProcessing {
    /// The provider's name of the payment.
    pub provider_reference: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 2. Version 1 had no `expires_at`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentAuthorised {
    /// The provider's name of the payment.
    pub provider_reference: String,
    /// What is reserved; equals what was asked for.
    pub amount: Money,
    /// From then on the provider does not hold it any more, if the provider said so.
    pub expires_at: Option<DateTime<Utc>>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentDeclined {
    /// The provider's code, such as `card_declined`.
    pub code: String,
    /// What the shopper should do.
    pub advice: DeclineAdvice,
    /// When.
    pub at: DateTime<Utc>,
}

/// What a shopper should do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeclineAdvice {
    /// Try the same card again.
    Retry,
    /// Use another card.
    OtherMethod,
    /// Give up.
    Stop,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderOutcomeUnknown {
    /// What was asked.
    pub call: ProviderCall,
    /// When.
    pub at: DateTime<Utc>,
}

/// What we ask of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderCall {
    /// Reserve the amount.
    Authorise,
    /// Take it.
    Capture,
    /// Give the reservation up.
    Void,
    /// Send money back.
    Refund,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureRequested {
    /// How much.
    pub amount: Money,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentCaptured {
    /// What was taken.
    pub amount: Money,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureFailed {
    /// The provider's code.
    pub code: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoidRequested {
    /// Why, such as `checkout_expired`.
    pub cause: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentVoided {
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundRequested {
    /// The refund; idempotency key at the provider.
    pub refund_id: RefundId,
    /// How much.
    pub amount: Money,
    /// Why.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundSucceeded {
    /// Which refund.
    pub refund_id: RefundId,
    /// The provider's name of it.
    pub provider_reference: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundFailed {
    /// Which refund.
    pub refund_id: RefundId,
    /// The provider's code.
    pub code: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundPending {
    /// Which refund.
    pub refund_id: RefundId,
    /// The provider's name of it.
    pub provider_reference: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentIntegrityViolated {
    /// The provider's name of the payment.
    pub provider_reference: String,
    /// What was asked for.
    pub expected: Money,
    /// What the provider says.
    pub actual: Money,
    /// It was taken already, and not only reserved.
    pub captured: bool,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatePaymentFound {
    /// The provider's name of the payment.
    pub provider_reference: String,
    /// What the provider says it holds.
    pub amount: Money,
    /// It was taken already, and not only reserved.
    pub captured: bool,
    /// When.
    pub at: DateTime<Utc>,
}

impl DomainEvent for PaymentEvent {
    fn event_type(&self) -> String {
        let name = match self {
            Self::IntentRequested(_) => "PaymentIntentRequested",
            Self::ActionRequired(_) => "PaymentActionRequired",
            Self::ActionAnswered(_) => "PaymentActionAnswered",
            Self::Authorised(_) => "PaymentAuthorised",
            Self::Declined(_) => "PaymentDeclined",
            Self::OutcomeUnknown(_) => "ProviderOutcomeUnknown",
            Self::CaptureRequested(_) => "CaptureRequested",
            Self::Captured(_) => "PaymentCaptured",
            Self::CaptureFailed(_) => "CaptureFailed",
            Self::VoidRequested(_) => "VoidRequested",
            Self::Voided(_) => "PaymentVoided",
            Self::RefundRequested(_) => "RefundRequested",
            Self::RefundSucceeded(_) => "RefundSucceeded",
            Self::RefundFailed(_) => "RefundFailed",
            Self::Processing(_) => "PaymentProcessing",
            Self::RefundPending(_) => "RefundPending",
            Self::IntegrityViolated(_) => "PaymentIntegrityViolated",
            Self::LateFound(_) => "LatePaymentFound",
        };
        name.to_owned()
    }

    fn event_version(&self) -> String {
        match self {
            Self::Authorised(_) | Self::ActionRequired(_) => "2".to_owned(),
            _ => "1".to_owned(),
        }
    }
}

/// Oldest first.
pub const UPCASTS: &[Upcast] = &[
    Upcast {
        event_type: "PaymentAuthorised",
        from: 1,
        change: |fields| {
            fields.insert("expires_at".to_owned(), serde_json::Value::Null);
        },
    },
    Upcast { event_type: "PaymentActionRequired", from: 1, change: |_| {} },
];
