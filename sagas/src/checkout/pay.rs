//! Talking to the payment provider for a checkout.
//!
//! What is asked was committed before; the key is the payment's id. A call that takes too long is
//! left alone, and its outcome is unknown.

use std::future::Future;

use commands::payment::{PaymentCommand, PaymentStatus, RequestIntent};
use event_schemas::payment::ProviderCall;
use fail::fail_point;
use providers::payment::{Authorisation, Charge, DEADLINE, LookUp, PaymentError};

use super::{Step, drive::Drive};
use crate::DriveError;

/// The outcome of a call within its deadline.
pub(crate) async fn within_deadline<T>(
    call: impl Future<Output = Result<T, PaymentError>>,
) -> Result<T, PaymentError> {
    fail_point!("saga::before-call");
    let answer = tokio::time::timeout(DEADLINE, call).await;
    fail_point!("saga::after-call");
    answer.unwrap_or(Err(PaymentError::Unknown))
}

impl Drive<'_> {
    /// Commits what the provider shall be asked.
    pub(super) async fn request_payment(&mut self) -> Result<(), DriveError> {
        let attempt = self.checkout().last_attempt();
        let method = self.checkout().attempt(attempt).expect("a payment follows an attempt");
        let provider = self.ctx.provider(self.journey.store_id).await?;
        let request = RequestIntent {
            checkout_id: self.journey.checkout_id,
            attempt,
            amount: self.started().total,
            provider: provider.name().to_owned(),
            payment_method: method.payment_method.clone(),
            at: self.at(),
        };
        if self.has_known_payment() {
            // Of an attempt before this one.
            self.load_payment().await?;
        }
        let request = |_| PaymentCommand::RequestIntent(Box::new(request));
        self.tell_payment("request", request).await
    }

    /// Asks the provider and tells the payment what it said.
    pub(super) async fn ask_for_money(&mut self, step: &Step) -> Result<(), DriveError> {
        self.ctx.spend()?;
        match self.call(step).await? {
            Ok(Authorisation::Authorised { reference, amount, .. }) => {
                let provider_reference = reference;
                let authorised =
                    |at| PaymentCommand::RecordAuthorised { provider_reference, amount, at };
                self.tell_payment("authorised", authorised).await
            }
            Ok(Authorisation::ActionRequired { reference, action }) => {
                let provider_reference = reference;
                let required =
                    |at| PaymentCommand::RequireAction { action, provider_reference, at };
                self.tell_payment("action", required).await
            }
            Err(PaymentError::Declined { code, advice }) => {
                let declined = |at| PaymentCommand::RecordDeclined { code, advice, at };
                self.tell_payment("declined", declined).await
            }
            Ok(
                Authorisation::Processing { .. }
                | Authorisation::Captured { .. }
                | Authorisation::Voided { .. }
                | Authorisation::Absent,
            )
            | Err(PaymentError::Unknown) => self.outcome_unknown(ProviderCall::Authorise).await,
        }
    }

    async fn call(&self, step: &Step) -> Result<Result<Authorisation, PaymentError>, DriveError> {
        let payment = &self.situation.payment;
        let intent = payment.intent.as_ref().expect("the request is committed before the call");
        let id = self.payment_id().expect("a payment follows an attempt").to_string();
        let token = Some(intent.payment_method.as_str());
        let charge = Charge { key: &id, token, amount: intent.amount };
        let provider = self.ctx.provider(self.journey.store_id).await?;
        let asked_at = payment.asked_at.unwrap_or_else(|| self.at());
        Ok(match step {
            Step::LookUp => {
                let reference = payment.provider_reference.as_deref();
                let now = self.ctx.now();
                let look_up = LookUp { charge, reference, asked_at, now };
                within_deadline(provider.look_up(look_up)).await
            }
            Step::ConfirmAction => {
                let reference = payment.provider_reference.as_deref().unwrap_or_default();
                let answer = payment.answer.as_deref().unwrap_or_default();
                within_deadline(provider.confirm_action(charge, reference, answer)).await
            }
            _ => within_deadline(provider.authorise(charge)).await,
        })
    }

    async fn outcome_unknown(&mut self, call: ProviderCall) -> Result<(), DriveError> {
        self.situation.asked = true;
        if self.situation.payment.unknown == Some(call) {
            return Ok(());
        }
        self.tell_payment("unknown", |at| PaymentCommand::RecordUnknown { call, at }).await
    }

    /// Takes the reserved amount.
    pub(super) async fn capture(&mut self) -> Result<(), DriveError> {
        self.ctx.spend()?;
        let (reference, key) = self.reference_and_key("capture");
        let amount = self.started().total;
        let provider = self.ctx.provider(self.journey.store_id).await?;
        match within_deadline(provider.capture(&reference, amount, &key)).await {
            Ok(amount) => {
                let captured = |at| PaymentCommand::RecordCaptured { amount, at };
                self.tell_payment("captured", captured).await
            }
            Err(PaymentError::Declined { code, .. }) => {
                let failed = |at| PaymentCommand::RecordCaptureFailed { code, at };
                self.tell_payment("capture_failed", failed).await
            }
            Err(PaymentError::Unknown) => self.outcome_unknown(ProviderCall::Capture).await,
        }
    }

    /// Gives the reservation up.
    pub(super) async fn void(&mut self) -> Result<(), DriveError> {
        self.ctx.spend()?;
        let (reference, key) = self.reference_and_key("void");
        let provider = self.ctx.provider(self.journey.store_id).await?;
        match within_deadline(provider.void(&reference, &key)).await {
            Ok(()) => self.tell_payment("voided", |at| PaymentCommand::RecordVoided { at }).await,
            // A provider that will not give it up is asked again: the shopper's money hangs on it.
            Err(PaymentError::Declined { code, .. }) => {
                Err(DriveError::Refused { step: "void", detail: code })
            }
            Err(PaymentError::Unknown) => self.outcome_unknown(ProviderCall::Void).await,
        }
    }

    /// The provider's name of the payment, and the key of one call about it.
    fn reference_and_key(&self, call: &str) -> (String, String) {
        let payment = &self.situation.payment;
        debug_assert!(payment.status != PaymentStatus::Absent, "nothing to {call}");
        let id = self.payment_id().expect("a payment follows an attempt");
        (payment.provider_reference.clone().unwrap_or_default(), format!("{id}/{call}"))
    }
}
