//! The rules of payments.

use chrono::{DateTime, Utc};
use event_schemas::{
    ids::RefundId,
    money::Money,
    payment::{
        CaptureFailed, CaptureRequested, LatePaymentFound, PaymentAction, PaymentActionAnswered,
        PaymentActionRequired, PaymentAuthorised, PaymentCaptured, PaymentDeclined, PaymentEvent,
        PaymentIntegrityViolated, PaymentIntentRequested, PaymentProcessing, PaymentVoided,
        ProviderCall, ProviderOutcomeUnknown, RefundFailed, RefundPending, RefundRequested,
        RefundSucceeded, VoidRequested,
    },
};

use super::{
    ANSWER_CHARS_MAX, Intent, Payment, PaymentCommand, PaymentError, PaymentRefundState,
    PaymentStatus, RequestIntent,
};

type Decision = Result<Vec<PaymentEvent>, PaymentError>;

impl Payment {
    /// Says what a command makes happen, given everything that happened before.
    pub fn decide(&self, command: PaymentCommand) -> Decision {
        use PaymentCommand as C;
        let Some(intent) = &self.intent else {
            return match command {
                C::RequestIntent(new) => request_intent(*new),
                _ => Err(PaymentError::NotFound),
            };
        };
        match command {
            C::RequestIntent(new) if new.checkout_id == intent.checkout_id => Ok(vec![]),
            C::RequestIntent(_) => Err(PaymentError::AlreadyRequested),
            C::RequireAction { action, provider_reference, at } => {
                let required = PaymentActionRequired { action, provider_reference, at };
                let asked = &[PaymentStatus::Requested, PaymentStatus::ActionAnswered];
                Ok(self.once_in(asked, PaymentEvent::ActionRequired(required)))
            }
            C::AnswerAction { answer, at } => self.answer(answer, at),
            C::RecordProcessing { provider_reference, at } => {
                let processing = PaymentProcessing { provider_reference, at };
                let asked = &[
                    PaymentStatus::Requested,
                    PaymentStatus::ActionRequired,
                    PaymentStatus::ActionAnswered,
                ];
                Ok(self.once_in(asked, PaymentEvent::Processing(processing)))
            }
            C::RecordAuthorised { provider_reference, amount, expires_at, at } => {
                let authorised = PaymentAuthorised { provider_reference, amount, expires_at, at };
                Ok(self.record_authorised(intent, authorised))
            }
            C::RecordDeclined { code, advice, at } => {
                let declined = PaymentEvent::Declined(PaymentDeclined { code, advice, at });
                Ok(if self.may_be_declined() { vec![declined] } else { vec![] })
            }
            C::RecordUnknown { call, at } => Ok(self.record_unknown(call, at)),
            C::RequestCapture { at } => self.request_capture(intent.amount, at),
            C::RecordCaptured { provider_reference, amount, at } => {
                Ok(self.record_captured(intent, provider_reference, PaymentCaptured { amount, at }))
            }
            C::RecordCaptureFailed { code, at } => {
                let failed = PaymentEvent::CaptureFailed(CaptureFailed { code, at });
                Ok(self.once_in(&[PaymentStatus::CaptureRequested], failed))
            }
            C::RequestVoid { cause, at } => self.request_void(cause, at),
            C::RecordVoided { at } => {
                let voided = PaymentEvent::Voided(PaymentVoided { at });
                Ok(if self.is_open() { vec![voided] } else { vec![] })
            }
            C::RequestRefund { refund_id, amount, reason, at } => {
                self.request_refund(RefundRequested { refund_id, amount, reason, at })
            }
            C::RecordRefundPending { refund_id, provider_reference, at } => {
                let pending = RefundPending { refund_id, provider_reference, at };
                let refund = self.refunds.get(&refund_id).ok_or(PaymentError::UnknownRefund)?;
                let news = refund.state == PaymentRefundState::Requested;
                Ok(if news { vec![PaymentEvent::RefundPending(pending)] } else { vec![] })
            }
            C::RecordRefundSucceeded { refund_id, provider_reference, at } => {
                let succeeded = RefundSucceeded { refund_id, provider_reference, at };
                self.settle_refund(refund_id, PaymentEvent::RefundSucceeded(succeeded))
            }
            C::RecordRefundFailed { refund_id, code, at } => {
                let failed = RefundFailed { refund_id, code, at };
                self.settle_refund(refund_id, PaymentEvent::RefundFailed(failed))
            }
        }
    }

    /// The event if the payment is where it belongs; nothing if the fact comes late or twice.
    fn once_in(&self, statuses: &[PaymentStatus], event: PaymentEvent) -> Vec<PaymentEvent> {
        if statuses.contains(&self.status) { vec![event] } else { vec![] }
    }

    fn illegal(&self, command: &'static str) -> PaymentError {
        PaymentError::IllegalTransition { from: self.status, command }
    }

    /// A card that is refused on the provider's own form can be replaced there: that ends nothing.
    fn may_be_declined(&self) -> bool {
        match self.status {
            PaymentStatus::ActionRequired => self.action != Some(PaymentAction::Confirm),
            status => ASKED.contains(&status),
        }
    }

    fn record_authorised(&self, intent: &Intent, found: PaymentAuthorised) -> Vec<PaymentEvent> {
        match self.status {
            status if !ASKED.contains(&status) && !OVER.contains(&status) => vec![],
            _ if found.amount != intent.amount => {
                let PaymentAuthorised { provider_reference, amount, at, .. } = found;
                vec![violated(intent, provider_reference, (amount, false), at)]
            }
            status if OVER.contains(&status) => {
                let PaymentAuthorised { provider_reference, amount, at, .. } = found;
                let late = LatePaymentFound { provider_reference, amount, captured: false, at };
                vec![PaymentEvent::LateFound(late)]
            }
            _ => vec![PaymentEvent::Authorised(found)],
        }
    }

    /// Money can be taken without our asking: by a person in the provider's own program, or by the
    /// provider.
    fn record_captured(
        &self,
        intent: &Intent,
        provider_reference: String,
        found: PaymentCaptured,
    ) -> Vec<PaymentEvent> {
        let PaymentCaptured { amount, at } = found;
        match self.status {
            PaymentStatus::Captured => vec![],
            _ if amount != intent.amount => {
                vec![violated(intent, provider_reference, (amount, true), at)]
            }
            status if OVER.contains(&status) || self.stray => {
                let late = LatePaymentFound { provider_reference, amount, captured: true, at };
                vec![PaymentEvent::LateFound(late)]
            }
            status if ASKED.contains(&status) => {
                let authorised =
                    PaymentAuthorised { provider_reference, amount, expires_at: None, at };
                vec![PaymentEvent::Authorised(authorised), PaymentEvent::Captured(found)]
            }
            _ => vec![PaymentEvent::Captured(found)],
        }
    }

    fn answer(&self, answer: String, at: DateTime<Utc>) -> Decision {
        if self.status != PaymentStatus::ActionRequired {
            return Err(PaymentError::ActionNotExpected);
        }
        if !(1..=ANSWER_CHARS_MAX).contains(&answer.chars().count()) {
            return Err(PaymentError::BadAnswer);
        }
        Ok(vec![PaymentEvent::ActionAnswered(PaymentActionAnswered { answer, at })])
    }

    /// Recorded once per call: a second look that finds nothing new is no news.
    fn record_unknown(&self, call: ProviderCall, at: DateTime<Utc>) -> Vec<PaymentEvent> {
        let open = match call {
            ProviderCall::Authorise => ASKED.contains(&self.status),
            ProviderCall::Capture => self.status == PaymentStatus::CaptureRequested,
            ProviderCall::Void => self.status == PaymentStatus::VoidRequested,
            ProviderCall::Refund => self.has_open_refund(),
        };
        let news = open && self.unknown != Some(call);
        let unknown = PaymentEvent::OutcomeUnknown(ProviderOutcomeUnknown { call, at });
        if news { vec![unknown] } else { vec![] }
    }

    fn request_capture(&self, amount: Money, at: DateTime<Utc>) -> Decision {
        match self.status {
            PaymentStatus::Authorised if !self.stray => {
                Ok(vec![PaymentEvent::CaptureRequested(CaptureRequested { amount, at })])
            }
            PaymentStatus::CaptureRequested
            | PaymentStatus::Captured
            | PaymentStatus::CaptureFailed => Ok(vec![]),
            _ => Err(self.illegal("be captured")),
        }
    }

    /// A reservation that may exist is not given up before it is known: look it up first.
    fn request_void(&self, cause: String, at: DateTime<Utc>) -> Decision {
        match self.status {
            PaymentStatus::ActionRequired
            | PaymentStatus::Processing
            | PaymentStatus::Authorised
            | PaymentStatus::CaptureFailed => {
                Ok(vec![PaymentEvent::VoidRequested(VoidRequested { cause, at })])
            }
            PaymentStatus::VoidRequested | PaymentStatus::Voided | PaymentStatus::Declined => {
                Ok(vec![])
            }
            _ => Err(self.illegal("be voided")),
        }
    }

    /// What was captured and is neither refunded nor being refunded; zero before the capture.
    pub fn refundable(&self) -> Option<Money> {
        let intent = self.intent.as_ref()?;
        let captured = self.captured.unwrap_or(Money::zero(intent.amount.currency));
        let live = self.refunds.values().filter(|refund| !refund.state.is_failed());
        Some(live.fold(captured, |left, refund| Money {
            // In the payment's currency, and never more than was left: the rules saw to it.
            amount_minor: left.amount_minor.saturating_sub(refund.amount.amount_minor),
            ..left
        }))
    }

    fn request_refund(&self, new: RefundRequested) -> Decision {
        if self.refunds.contains_key(&new.refund_id) {
            return Ok(vec![]);
        }
        if self.status != PaymentStatus::Captured {
            return Err(self.illegal("be refunded"));
        }
        if new.amount.amount_minor <= 0 {
            return Err(PaymentError::NegativeAmount);
        }
        let available = self.refundable().ok_or(PaymentError::NotFound)?;
        if new.amount.currency != available.currency
            || available.amount_minor < new.amount.amount_minor
        {
            return Err(PaymentError::RefundExceedsCaptured { available });
        }
        Ok(vec![PaymentEvent::RefundRequested(new)])
    }

    fn settle_refund(&self, refund_id: RefundId, event: PaymentEvent) -> Decision {
        let refund = self.refunds.get(&refund_id).ok_or(PaymentError::UnknownRefund)?;
        Ok(if refund.state.is_open() { vec![event] } else { vec![] })
    }
}

/// The provider was asked to reserve the amount and has not answered for good.
pub(super) const ASKED: &[PaymentStatus] = &[
    PaymentStatus::Requested,
    PaymentStatus::ActionRequired,
    PaymentStatus::ActionAnswered,
    PaymentStatus::Processing,
];

/// Nothing more is expected of the provider.
const OVER: &[PaymentStatus] = &[PaymentStatus::Declined, PaymentStatus::Voided];

impl PaymentRefundState {
    fn is_failed(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

fn request_intent(new: RequestIntent) -> Decision {
    let RequestIntent { checkout_id, attempt, amount, provider, payment_method, at } = new;
    if amount.amount_minor < 0 {
        return Err(PaymentError::NegativeAmount);
    }
    let requested =
        PaymentIntentRequested { checkout_id, attempt, amount, provider, payment_method, at };
    Ok(vec![PaymentEvent::IntentRequested(requested)])
}

fn violated(
    intent: &Intent,
    provider_reference: String,
    (actual, captured): (Money, bool),
    at: DateTime<Utc>,
) -> PaymentEvent {
    let expected = intent.amount;
    let violated = PaymentIntegrityViolated { provider_reference, expected, actual, captured, at };
    PaymentEvent::IntegrityViolated(violated)
}
