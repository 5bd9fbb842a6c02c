//! Payments: one attempt to pay, and what the provider made of it.
//!
//! State only moves forward: a fact that comes late or twice changes nothing. What a provider is
//! asked is stored before it is asked.
//!
//! ```text
//! requested ─▶ action required ─▶ answered ─▶ processing ─▶ authorised ─▶ captured ─▶ refunds
//!     └──────────────┴───────────────┴─────────────┴──▶ declined │ voided
//! ```
//!
//! Money that turns up where the payment is over, or that is not what was asked for, makes the
//! payment a stray: nothing counts on it, and all of it goes back.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use event_schemas::{
    ids::{CheckoutId, RefundId},
    money::Money,
    payment::{DeclineAdvice, PaymentAction, PaymentEvent, ProviderCall},
};
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod properties;
mod rules;
#[cfg(test)]
mod tests;

/// Longest answer of a shopper's bank, in characters.
pub const ANSWER_CHARS_MAX: usize = 500;

/// What can be asked of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaymentCommand {
    /// The provider shall reserve the amount.
    RequestIntent(Box<RequestIntent>),
    /// The provider wants the shopper to do something.
    RequireAction { action: PaymentAction, provider_reference: String, at: DateTime<Utc> },
    /// The shopper did it.
    AnswerAction { answer: String, at: DateTime<Utc> },
    /// The provider took it on and will say later.
    RecordProcessing { provider_reference: String, at: DateTime<Utc> },
    /// The amount is reserved. If it is not the amount asked for, it is not counted.
    RecordAuthorised {
        provider_reference: String,
        amount: Money,
        expires_at: Option<DateTime<Utc>>,
        at: DateTime<Utc>,
    },
    /// The provider refused for good.
    RecordDeclined { code: String, advice: DeclineAdvice, at: DateTime<Utc> },
    /// No answer, or none to rely on.
    RecordUnknown { call: ProviderCall, at: DateTime<Utc> },
    /// The reserved amount shall be taken, all of it.
    RequestCapture { at: DateTime<Utc> },
    /// It was taken, by whomever. If it is not the amount asked for, it is not counted.
    RecordCaptured { provider_reference: String, amount: Money, at: DateTime<Utc> },
    /// It could not be taken.
    RecordCaptureFailed { code: String, at: DateTime<Utc> },
    /// The reservation shall be given up.
    RequestVoid { cause: String, at: DateTime<Utc> },
    /// It was given up, by us, by the provider or by time.
    RecordVoided { at: DateTime<Utc> },
    /// Captured money shall go back.
    RequestRefund { refund_id: RefundId, amount: Money, reason: String, at: DateTime<Utc> },
    /// The provider took the refund on and will say later.
    RecordRefundPending { refund_id: RefundId, provider_reference: String, at: DateTime<Utc> },
    /// It went back.
    RecordRefundSucceeded { refund_id: RefundId, provider_reference: String, at: DateTime<Utc> },
    /// It could not be sent back.
    RecordRefundFailed { refund_id: RefundId, code: String, at: DateTime<Utc> },
}

/// What the provider shall be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestIntent {
    /// The checkout that wants to pay.
    pub checkout_id: CheckoutId,
    /// Which attempt of it, from 1.
    pub attempt: u32,
    /// How much; zero or more.
    pub amount: Money,
    /// Whom we ask.
    pub provider: String,
    /// The provider's token of the card.
    pub payment_method: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Why a payment refuses a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaymentError {
    /// Nothing was asked of a provider yet.
    #[error("payment does not exist")]
    NotFound,
    /// Another checkout's payment stands there.
    #[error("payment already exists")]
    AlreadyRequested,
    /// Less than nothing was to be reserved or refunded.
    #[error("amount must not be below zero")]
    NegativeAmount,
    /// The shopper is not asked to do anything, or has done it.
    #[error("payment does not wait for the shopper")]
    ActionNotExpected,
    /// The answer is empty or too long.
    #[error("an answer has 1 to {ANSWER_CHARS_MAX} characters")]
    BadAnswer,
    /// The payment is somewhere else in its life.
    #[error("payment is {from} and cannot {command}")]
    IllegalTransition {
        /// Where it is.
        from: PaymentStatus,
        /// What was asked, as a verb.
        command: &'static str,
    },
    /// More than was captured and not yet refunded.
    #[error("only {available} can still be refunded")]
    RefundExceedsCaptured {
        /// What can still be refunded.
        available: Money,
    },
    /// The payment has no such refund.
    #[error("payment has no such refund")]
    UnknownRefund,
}

/// Where a payment is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// Nothing was asked yet.
    #[default]
    Absent,
    /// The provider shall reserve the amount.
    Requested,
    /// The shopper has to do something.
    ActionRequired,
    /// The shopper did it; the provider shall go on.
    ActionAnswered,
    /// The provider took it on and will say later.
    Processing,
    /// The amount is reserved.
    Authorised,
    /// The provider refused.
    Declined,
    /// The amount shall be taken.
    CaptureRequested,
    /// The money is ours.
    Captured,
    /// The provider would not capture; the reservation still stands.
    CaptureFailed,
    /// The reservation shall be given up.
    VoidRequested,
    /// Nothing was taken and nothing is reserved.
    Voided,
}

impl std::fmt::Display for PaymentStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Absent => "absent",
            Self::Requested => "requested",
            Self::ActionRequired => "waiting for the shopper",
            Self::ActionAnswered => "answered",
            Self::Processing => "being processed",
            Self::Authorised => "authorised",
            Self::Declined => "declined",
            Self::CaptureRequested => "being captured",
            Self::Captured => "captured",
            Self::CaptureFailed => "not capturable",
            Self::VoidRequested => "being voided",
            Self::Voided => "voided",
        })
    }
}

/// One attempt to pay, as far as its rules and its processes need it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Where it is.
    pub status: PaymentStatus,
    /// What was asked for; none before it was asked.
    pub intent: Option<Intent>,
    /// The provider's name of the payment, once known.
    pub provider_reference: Option<String>,
    /// What the shopper has to do, and then what came back.
    pub action: Option<PaymentAction>,
    /// What the shopper's bank handed back.
    pub answer: Option<String>,
    /// Code and advice of the refusal.
    pub decline: Option<(String, DeclineAdvice)>,
    /// Code of the capture that failed.
    pub capture_failure: Option<String>,
    /// The call whose outcome is not known.
    pub unknown: Option<ProviderCall>,
    /// Time of the last thing asked of the provider.
    pub asked_at: Option<DateTime<Utc>>,
    /// From then on the provider does not hold the amount any more, if it said so.
    pub expires_at: Option<DateTime<Utc>>,
    /// What was taken.
    pub captured: Option<Money>,
    /// Nothing counts on this money: it came for a payment that was over, or is not what was asked
    /// for.
    pub stray: bool,
    /// Every refund, whatever became of it.
    pub refunds: BTreeMap<RefundId, PaymentRefund>,
}

/// What a provider was asked to reserve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The checkout that wants to pay.
    pub checkout_id: CheckoutId,
    /// Which attempt of it.
    pub attempt: u32,
    /// How much.
    pub amount: Money,
    /// Whom we asked. Everything about this payment is asked there, whatever provider the store
    /// has now.
    pub provider: String,
    /// The provider's token of the card.
    pub payment_method: String,
}

/// One refund of a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentRefund {
    /// How much.
    pub amount: Money,
    /// What became of it.
    pub state: PaymentRefundState,
    /// When it was asked for.
    pub asked_at: DateTime<Utc>,
}

/// What became of a refund.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentRefundState {
    /// The provider shall send the money back.
    Requested,
    /// It is about to.
    Pending {
        /// The provider's name of the refund.
        reference: String,
    },
    /// It did.
    Succeeded,
    /// It would not.
    Failed {
        /// The provider's code.
        code: String,
    },
}

impl PaymentRefundState {
    /// Whether the provider has not said yes or no.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Requested | Self::Pending { .. })
    }
}

impl Aggregate for Payment {
    const TYPE: &'static str = "payment";
    type Command = PaymentCommand;
    type Event = PaymentEvent;
    type Error = PaymentError;
    type Services = ();

    async fn handle(
        &mut self,
        command: PaymentCommand,
        _services: &(),
        sink: &EventSink<Self>,
    ) -> Result<(), PaymentError> {
        for event in self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: PaymentEvent) {
        self.unknown = None;
        match event {
            PaymentEvent::IntentRequested(e) => {
                self.status = PaymentStatus::Requested;
                self.asked_at = Some(e.at);
                self.intent = Some(Intent {
                    checkout_id: e.checkout_id,
                    attempt: e.attempt,
                    amount: e.amount,
                    provider: e.provider,
                    payment_method: e.payment_method,
                });
            }
            PaymentEvent::ActionRequired(e) => {
                self.status = PaymentStatus::ActionRequired;
                self.action = Some(e.action);
                self.provider_reference = Some(e.provider_reference);
            }
            PaymentEvent::ActionAnswered(e) => {
                self.status = PaymentStatus::ActionAnswered;
                self.asked_at = Some(e.at);
                self.answer = Some(e.answer);
            }
            PaymentEvent::Processing(e) => {
                self.status = PaymentStatus::Processing;
                self.asked_at = Some(e.at);
                self.provider_reference = Some(e.provider_reference);
            }
            PaymentEvent::Authorised(e) => {
                self.status = PaymentStatus::Authorised;
                self.provider_reference = Some(e.provider_reference);
                self.expires_at = e.expires_at;
            }
            PaymentEvent::Declined(e) => {
                self.status = PaymentStatus::Declined;
                self.decline = Some((e.code, e.advice));
            }
            PaymentEvent::OutcomeUnknown(e) => self.unknown = Some(e.call),
            PaymentEvent::CaptureRequested(e) => {
                self.status = PaymentStatus::CaptureRequested;
                self.asked_at = Some(e.at);
            }
            PaymentEvent::Captured(e) => {
                self.status = PaymentStatus::Captured;
                self.captured = Some(e.amount);
            }
            PaymentEvent::CaptureFailed(e) => {
                self.status = PaymentStatus::CaptureFailed;
                self.capture_failure = Some(e.code);
            }
            PaymentEvent::VoidRequested(e) => {
                self.status = PaymentStatus::VoidRequested;
                self.asked_at = Some(e.at);
            }
            PaymentEvent::Voided(_) => self.status = PaymentStatus::Voided,
            PaymentEvent::RefundRequested(_)
            | PaymentEvent::RefundPending(_)
            | PaymentEvent::RefundSucceeded(_)
            | PaymentEvent::RefundFailed(_) => self.apply_to_refund(event),
            PaymentEvent::IntegrityViolated(e) => {
                self.found_stray(e.provider_reference, e.captured.then_some(e.actual));
            }
            PaymentEvent::LateFound(e) => {
                self.found_stray(e.provider_reference, e.captured.then_some(e.amount));
            }
        }
    }
}

impl Payment {
    fn apply_to_refund(&mut self, event: PaymentEvent) {
        match event {
            PaymentEvent::RefundRequested(e) => {
                self.asked_at = Some(e.at);
                let refund = PaymentRefund {
                    amount: e.amount,
                    state: PaymentRefundState::Requested,
                    asked_at: e.at,
                };
                self.refunds.insert(e.refund_id, refund);
            }
            PaymentEvent::RefundPending(e) => {
                let reference = e.provider_reference;
                self.settle(e.refund_id, PaymentRefundState::Pending { reference });
            }
            PaymentEvent::RefundSucceeded(e) => {
                self.settle(e.refund_id, PaymentRefundState::Succeeded);
            }
            PaymentEvent::RefundFailed(e) => {
                self.settle(e.refund_id, PaymentRefundState::Failed { code: e.code });
            }
            _ => {}
        }
    }

    fn found_stray(&mut self, provider_reference: String, captured: Option<Money>) {
        self.stray = true;
        self.provider_reference = Some(provider_reference);
        self.status = match captured {
            Some(_) => PaymentStatus::Captured,
            None => PaymentStatus::Authorised,
        };
        self.captured = captured;
    }

    fn settle(&mut self, id: RefundId, state: PaymentRefundState) {
        if let Some(refund) = self.refunds.get_mut(&id) {
            refund.state = state;
        }
    }

    /// Whether a refund was asked for and the provider has not said yes or no.
    pub fn has_open_refund(&self) -> bool {
        self.refunds.values().any(|refund| refund.state.is_open())
    }

    /// Whether the provider took a refund on and has not said yes or no.
    pub fn has_pending_refund(&self) -> bool {
        let pending = |state: &_| matches!(state, PaymentRefundState::Pending { .. });
        self.refunds.values().any(|refund| pending(&refund.state))
    }

    /// Whether the provider was asked for the money and has not said yes or no.
    pub fn is_awaited(&self) -> bool {
        rules::ASKED.contains(&self.status)
    }

    /// Whether money is reserved, or may be, and nobody has taken it or given it up.
    pub fn is_open(&self) -> bool {
        !matches!(
            self.status,
            PaymentStatus::Absent
                | PaymentStatus::Declined
                | PaymentStatus::Captured
                | PaymentStatus::Voided
        )
    }
}
