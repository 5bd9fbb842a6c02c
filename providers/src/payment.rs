//! A payment provider: reserves, takes and gives back money on a card.

use std::time::Duration;

use chrono::{DateTime, Utc};
use event_schemas::{
    money::Money,
    payment::{DeclineAdvice, PaymentAction},
};

pub mod sandbox;

pub use sandbox::{CardError, Sandbox, TEST_CARDS, TestCard};

/// How long a call may take. After that the outcome is [`PaymentError::Unknown`], whatever the
/// provider goes on to do.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// A payment provider. An enum rather than a trait: the set is closed, a `match` shows every
/// vendor, and "go to definition" lands on the code that runs.
///
/// Every call that moves money carries a key: the same key never moves money twice, and gets the
/// same answer. Callers stop waiting after [`DEADLINE`].
#[derive(Clone, Debug)]
pub enum PaymentProvider {
    /// Pretends. No money moves.
    Sandbox(Sandbox),
}

/// Money that shall be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge<'a> {
    /// Idempotency key: the payment's id.
    pub key: &'a str,
    /// The card, as the provider named it.
    pub token: &'a str,
    /// How much; zero or more.
    pub amount: Money,
}

/// What came of asking for money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorisation {
    /// The amount is reserved.
    Authorised {
        /// The provider's name of the payment, needed to capture, void or refund.
        reference: String,
        /// What is reserved. Compare it with what was asked for.
        amount: Money,
    },
    /// The shopper has to do something first; the answer goes to
    /// [`PaymentProvider::confirm_action`].
    ActionRequired {
        /// The provider's name of the payment.
        reference: String,
        /// What to do.
        action: PaymentAction,
    },
}

/// Why a provider did not do as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaymentError {
    /// Final. `code` is the provider's, for the merchant's eyes.
    #[error("the provider refused ({code})")]
    Declined {
        /// Such as `card_declined`.
        code: String,
        /// What the shopper should do.
        advice: DeclineAdvice,
    },
    /// Not known whether the money moved. Look it up; never take it for a refusal.
    #[error("the provider did not answer")]
    Unknown,
}

impl PaymentProvider {
    /// Name of the vendor, as stored with a payment.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sandbox(_) => "sandbox",
        }
    }

    /// A token for a card number, which is forgotten at once.
    ///
    /// Only the sandbox takes numbers: with a real vendor the shopper's browser gives the number
    /// to the vendor and we never see it.
    pub fn tokenise(&self, card_number: &str) -> Result<&'static str, CardError> {
        match self {
            Self::Sandbox(_) => sandbox::tokenise(card_number),
        }
    }

    /// Reserves an amount on a card.
    pub async fn authorise(&self, charge: Charge<'_>) -> Result<Authorisation, PaymentError> {
        match self {
            Self::Sandbox(sandbox) => std::future::ready(sandbox.authorise(charge)).await,
        }
    }

    /// Goes on with a payment after the shopper has done what was required. `answer` is what the
    /// shopper's bank handed back.
    pub async fn confirm_action(
        &self,
        charge: Charge<'_>,
        reference: &str,
        answer: &str,
    ) -> Result<Authorisation, PaymentError> {
        match self {
            Self::Sandbox(sandbox) => {
                std::future::ready(sandbox.confirm_action(charge, reference, answer)).await
            }
        }
    }

    /// What became of a charge that was asked for at `asked_at` and not answered. Moves no money.
    pub async fn look_up(
        &self,
        charge: Charge<'_>,
        asked_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Authorisation, PaymentError> {
        match self {
            Self::Sandbox(sandbox) => {
                std::future::ready(sandbox.look_up(charge, asked_at, now)).await
            }
        }
    }

    /// Takes a reserved amount.
    pub async fn capture(
        &self,
        reference: &str,
        amount: Money,
        key: &str,
    ) -> Result<Money, PaymentError> {
        match self {
            Self::Sandbox(sandbox) => {
                std::future::ready(sandbox.capture(reference, amount, key)).await
            }
        }
    }

    /// Gives a reservation up, or a payment that waits for its shopper.
    pub async fn void(&self, reference: &str, key: &str) -> Result<(), PaymentError> {
        match self {
            Self::Sandbox(sandbox) => {
                sandbox.void(reference, key);
                std::future::ready(Ok(())).await
            }
        }
    }

    /// Sends captured money back. Returns the provider's name of the refund.
    pub async fn refund(
        &self,
        reference: &str,
        amount: Money,
        key: &str,
    ) -> Result<String, PaymentError> {
        match self {
            Self::Sandbox(sandbox) => {
                std::future::ready(Ok(sandbox.refund(reference, amount, key))).await
            }
        }
    }
}
