//! Talking to the payment provider for a checkout.
//!
//! What is asked was committed before; the key is the payment's id. A call that takes too long is
//! left alone, and its outcome is unknown.

use std::future::Future;

use commands::{
    checkout::CONFIRM_WITH_PROVIDER,
    payment::{Payment, PaymentCommand, PaymentStatus, RequestIntent},
};
use event_schemas::{
    money::Money,
    payment::{DeclineAdvice, ProviderCall},
};
use fail::fail_point;
use providers::payment::{Authorisation, Charge, DEADLINE, LookUp, PaymentError, PaymentProvider};

use super::{Step, drive::Drive, is_forgotten};
use crate::DriveError;

/// The provider of payments of nothing, and the reference it gives them.
pub const NOBODY: &str = "none";

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
        let amount = self.due();
        let provider = match amount.amount_minor {
            // No provider takes nothing, and the shopper owes it to nobody.
            0 => NOBODY,
            _ => self.ctx.provider(self.journey.store_id).await?.name(),
        };
        let request = RequestIntent {
            checkout_id: self.journey.checkout_id,
            attempt,
            amount,
            provider: provider.to_owned(),
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
        if let Some(nothing) = self.nothing() {
            self.hear(Ok(nothing)).await?;
            return Ok(());
        }
        let provider = self.provider().await?;
        let payment = &self.situation.payment;
        let key = self.key();
        let charge = charge(payment, &key);
        let answer = if let Step::ConfirmAction = step {
            let reference = payment.provider_reference.as_deref().unwrap_or_default();
            let answer = payment.answer.as_deref().unwrap_or_default();
            within_deadline(provider.confirm_action(charge, reference, answer)).await
        } else {
            within_deadline(provider.authorise(charge)).await
        };
        match self.hear(answer).await? {
            Heard::Nothing => self.outcome_unknown(ProviderCall::Authorise).await,
            Heard::Absent | Heard::Told => Ok(()),
        }
    }

    /// Asks the provider what became of the payment, and tells the payment.
    pub(super) async fn look_up(&mut self) -> Result<(), DriveError> {
        match self.look().await? {
            Heard::Nothing => self.outcome_unknown(ProviderCall::Authorise).await,
            Heard::Absent | Heard::Told => Ok(()),
        }
    }

    /// Where the payment is at the provider, which moves no money. What is new is recorded.
    pub(crate) async fn look(&mut self) -> Result<Heard, DriveError> {
        self.ctx.spend()?;
        if let Some(nothing) = self.nothing() {
            return self.hear(Ok(nothing)).await;
        }
        let provider = self.provider().await?;
        let payment = &self.situation.payment;
        let (key, now) = (self.key(), self.ctx.now());
        let reference = payment.provider_reference.as_deref();
        let asked_at = payment.asked_at.unwrap_or(now);
        let look_up = LookUp { charge: charge(payment, &key), reference, asked_at, now };
        let answer = within_deadline(provider.look_up(look_up)).await;
        self.hear(answer).await
    }

    /// Tells the payment what the provider says of it.
    async fn hear(
        &mut self,
        answer: Result<Authorisation, PaymentError>,
    ) -> Result<Heard, DriveError> {
        use PaymentCommand as C;
        match answer {
            Ok(Authorisation::Authorised { reference, amount, expires_at }) => {
                let provider_reference = reference;
                let command =
                    |at| C::RecordAuthorised { provider_reference, amount, expires_at, at };
                self.tell_payment("authorised", command).await?;
            }
            Ok(Authorisation::ActionRequired { reference, action }) => {
                let provider_reference = reference;
                let command = |at| C::RequireAction { action, provider_reference, at };
                self.tell_payment("action", command).await?;
            }
            Ok(Authorisation::Processing { reference }) => {
                let provider_reference = reference;
                let command = |at| C::RecordProcessing { provider_reference, at };
                self.tell_payment("processing", command).await?;
                // It takes its time: no use in asking again at once.
                self.situation.asked = true;
            }
            Ok(Authorisation::Captured { reference, amount }) => {
                let provider_reference = reference;
                let command = |at| C::RecordCaptured { provider_reference, amount, at };
                self.tell_payment("captured", command).await?;
            }
            Ok(Authorisation::Voided { .. }) => {
                self.tell_payment("voided", |at| C::RecordVoided { at }).await?;
            }
            Ok(Authorisation::Absent) => {
                self.situation.absent = true;
                return Ok(Heard::Absent);
            }
            Err(PaymentError::Declined { code, advice }) => {
                let command = |at| C::RecordDeclined { code, advice, at };
                self.tell_payment("declined", command).await?;
            }
            Err(PaymentError::Unknown) => return Ok(Heard::Nothing),
        }
        Ok(Heard::Told)
    }

    /// What was asked for and is not known at the provider after all this time never came there. If
    /// it comes nevertheless, it is found as late money.
    pub(super) async fn record_never_arrived(&mut self) -> Result<(), DriveError> {
        let (code, advice) = ("never_arrived".to_owned(), DeclineAdvice::Retry);
        let command = |at| PaymentCommand::RecordDeclined { code, advice, at };
        self.tell_payment("never_arrived", command).await
    }

    async fn outcome_unknown(&mut self, call: ProviderCall) -> Result<(), DriveError> {
        self.situation.asked = true;
        self.situation.silent = true;
        if self.situation.payment.unknown == Some(call) {
            return Ok(());
        }
        self.tell_payment("unknown", |at| PaymentCommand::RecordUnknown { call, at }).await
    }

    /// Takes the reserved amount.
    pub(super) async fn capture(&mut self) -> Result<(), DriveError> {
        if is_free(&self.situation.payment) {
            let (provider_reference, amount) = (NOBODY.to_owned(), self.amount());
            let taken = |at| PaymentCommand::RecordCaptured { provider_reference, amount, at };
            return self.tell_payment("captured", taken).await;
        }
        if self.is_settled_by_a_look(ProviderCall::Capture).await? {
            return Ok(());
        }
        self.ctx.spend()?;
        let (reference, key) = self.reference_and_key("capture");
        let amount = self.amount();
        let provider = self.provider().await?;
        match within_deadline(provider.capture(&reference, amount, &key)).await {
            Ok(amount) => {
                let provider_reference = reference;
                let captured =
                    |at| PaymentCommand::RecordCaptured { provider_reference, amount, at };
                self.tell_payment("captured", captured).await
            }
            Err(PaymentError::Declined { code, .. }) => {
                // A refusal may only mean that it was taken before.
                match self.look_after_refusal().await? {
                    Refusal::Stands => {
                        let failed = |at| PaymentCommand::RecordCaptureFailed { code, at };
                        self.tell_payment("capture_failed", failed).await
                    }
                    Refusal::Explained => Ok(()),
                    Refusal::Unclear => self.outcome_unknown(ProviderCall::Capture).await,
                }
            }
            Err(PaymentError::Unknown) => self.outcome_unknown(ProviderCall::Capture).await,
        }
    }

    /// Gives the reservation up.
    pub(super) async fn void(&mut self) -> Result<(), DriveError> {
        if is_free(&self.situation.payment) {
            return self.tell_payment("voided", |at| PaymentCommand::RecordVoided { at }).await;
        }
        if self.is_settled_by_a_look(ProviderCall::Void).await? {
            return Ok(());
        }
        self.ctx.spend()?;
        let (reference, key) = self.reference_and_key("void");
        let provider = self.provider().await?;
        match within_deadline(provider.void(&reference, &key)).await {
            Ok(()) => self.tell_payment("voided", |at| PaymentCommand::RecordVoided { at }).await,
            Err(PaymentError::Declined { code, .. }) => match self.look_after_refusal().await? {
                // It is asked again: the shopper's money hangs on it.
                Refusal::Stands => Err(DriveError::Refused { step: "void", detail: code }),
                Refusal::Explained => Ok(()),
                Refusal::Unclear => self.outcome_unknown(ProviderCall::Void).await,
            },
            Err(PaymentError::Unknown) => self.outcome_unknown(ProviderCall::Void).await,
        }
    }

    /// Looks before a call is made again whose answer was lost, or whose key the provider may have
    /// forgotten. Whether that says already what the call was for, or says nothing.
    async fn is_settled_by_a_look(&mut self, call: ProviderCall) -> Result<bool, DriveError> {
        let payment = &self.situation.payment;
        let blind = is_forgotten(payment.asked_at, self.ctx.now());
        if payment.unknown != Some(call) && !blind {
            return Ok(false);
        }
        let status = payment.status;
        match self.look().await? {
            Heard::Nothing => {
                self.outcome_unknown(call).await?;
                Ok(true)
            }
            Heard::Absent => Ok(false),
            Heard::Told => Ok(self.situation.payment.status != status),
        }
    }

    async fn look_after_refusal(&mut self) -> Result<Refusal, DriveError> {
        let status = self.situation.payment.status;
        Ok(match self.look().await? {
            Heard::Nothing => Refusal::Unclear,
            Heard::Told if self.situation.payment.status != status => Refusal::Explained,
            Heard::Absent | Heard::Told => Refusal::Stands,
        })
    }

    /// What is reserved of a payment of nothing; none if there is something to pay.
    fn nothing(&self) -> Option<Authorisation> {
        let (reference, amount) = (NOBODY.to_owned(), self.amount());
        let nothing = Authorisation::Authorised { reference, amount, expires_at: None };
        is_free(&self.situation.payment).then_some(nothing)
    }

    /// Whom this payment was begun with.
    async fn provider(&self) -> Result<PaymentProvider, DriveError> {
        self.ctx.provider_of(self.journey.store_id, &self.situation.payment).await
    }

    fn amount(&self) -> Money {
        let intent = self.situation.payment.intent.as_ref();
        intent.expect("the request is committed before the call").amount
    }

    fn key(&self) -> String {
        self.payment_id().expect("a payment follows an attempt").to_string()
    }

    /// The provider's name of the payment, and the key of one call about it.
    fn reference_and_key(&self, call: &str) -> (String, String) {
        let payment = &self.situation.payment;
        debug_assert!(payment.status != PaymentStatus::Absent, "nothing to {call}");
        let id = self.payment_id().expect("a payment follows an attempt");
        (payment.provider_reference.clone().unwrap_or_default(), format!("{id}/{call}"))
    }
}

/// Whether there is nothing to pay, and so nobody to ask.
pub(crate) fn is_free(payment: &Payment) -> bool {
    payment.intent.as_ref().is_some_and(|intent| intent.provider == NOBODY)
}

/// What an answer of the provider came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The payment was told.
    Told,
    /// The provider knows of no such payment.
    Absent,
    /// No answer, or none to rely on.
    Nothing,
}

/// What a look says of a call that was refused.
enum Refusal {
    /// Nothing has changed: the provider will not.
    Stands,
    /// Something else had happened to the payment before.
    Explained,
    /// No answer.
    Unclear,
}

/// What a payment asks for. Without a token, the shopper confirms with the provider directly.
fn charge<'a>(payment: &'a Payment, key: &'a str) -> Charge<'a> {
    let intent = payment.intent.as_ref().expect("the request is committed before the call");
    let token = intent.payment_method.as_str();
    Charge { key, token: (token != CONFIRM_WITH_PROVIDER).then_some(token), amount: intent.amount }
}
