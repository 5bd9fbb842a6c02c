//! A payment provider: reserves, takes and gives back money on a card or another method.

use std::time::Duration;

use chrono::{DateTime, Utc};
use event_schemas::{
    money::Money,
    payment::{DeclineAdvice, PaymentAction},
};

pub mod sandbox;
mod statement;
pub mod stripe;

pub use sandbox::{CardError, Sandbox, TEST_CARDS, TestCard, is_card_number};
pub use statement::{EventPage, ProviderEvent, Statement, StatementPage};
pub use stripe::Stripe;

/// How long a call may take. After that the outcome is [`PaymentError::Unknown`], whatever the
/// provider goes on to do.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// How long a provider remembers a key: the shortest that a vendor promises (Stripe: keys may be
/// forgotten after 24 hours). Whoever asks again after that looks up first, or money moves twice.
pub const KEYS_KEPT: chrono::Duration = chrono::Duration::hours(24);

/// A payment provider. An enum rather than a trait: the set is closed, a `match` shows every
/// vendor, and "go to definition" lands on the code that runs.
///
/// Every call that moves money carries a key: for [`KEYS_KEPT`] the same key never moves money
/// twice, and gets the same answer. Callers stop waiting after [`DEADLINE`].
#[derive(Clone, Debug)]
pub enum PaymentProvider {
    /// Pretends. No money moves.
    Sandbox(Sandbox),
    /// A store's account at Stripe.
    Stripe(Stripe),
}

/// Money that shall be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge<'a> {
    /// Idempotency key: the payment's id. The provider keeps it with the payment.
    pub key: &'a str,
    /// The card or other method, as the provider named it. Without one the shopper chooses and
    /// confirms with the provider directly: [`PaymentAction::Confirm`].
    pub token: Option<&'a str>,
    /// How much; zero or more.
    pub amount: Money,
}

/// A charge whose outcome is not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookUp<'a> {
    /// What was asked for.
    pub charge: Charge<'a>,
    /// The provider's name of it, if an answer ever came.
    pub reference: Option<&'a str>,
    /// When it was asked for, the first time.
    pub asked_at: DateTime<Utc>,
    /// Now.
    pub now: DateTime<Utc>,
}

/// Where a payment is at the provider. A refusal is [`PaymentError::Declined`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorisation {
    /// The amount is reserved.
    Authorised {
        /// The provider's name of the payment, needed to capture, void or refund.
        reference: String,
        /// What is reserved. Compare it with what was asked for.
        amount: Money,
        /// When the reservation ends by itself, if the provider says.
        expires_at: Option<DateTime<Utc>>,
    },
    /// The shopper has to do something first; the answer goes to
    /// [`PaymentProvider::confirm_action`].
    ActionRequired {
        /// The provider's name of the payment.
        reference: String,
        /// What to do.
        action: PaymentAction,
    },
    /// The method takes its time, up to days: a bank debit. The outcome is looked up, or comes as
    /// an event of the provider.
    Processing {
        /// The provider's name of the payment.
        reference: String,
    },
    /// The money was taken: earlier, or at once by a method that cannot reserve.
    Captured {
        /// The provider's name of the payment.
        reference: String,
        /// What was taken, whatever of it was refunded since. Compare it with what was asked for.
        amount: Money,
    },
    /// It was given up: nothing is reserved, nothing was taken, and nothing will be.
    Voided {
        /// The provider's name of the payment.
        reference: String,
    },
    /// The provider knows of no such payment: the request never arrived, or is still on its way.
    /// Asking again under the same key is safe for [`KEYS_KEPT`]. Only a look-up says this.
    Absent,
}

/// Captured money that shall go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refund<'a> {
    /// Idempotency key: the refund's id. The provider keeps it with the refund.
    pub key: &'a str,
    /// The payment's id.
    pub payment_key: &'a str,
    /// The provider's name of the payment.
    pub reference: &'a str,
    /// How much; more than zero.
    pub amount: Money,
}

/// A refund at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refunded {
    /// The provider's name of the refund.
    pub reference: String,
    /// How much goes back. Compare it with what was asked for.
    pub amount: Money,
    /// How far it is.
    pub state: RefundState,
}

/// How far a refund is. Not even `Succeeded` is the end: a bank may send money back days later,
/// which makes it `Failed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundState {
    /// Accepted, and on its way.
    Pending,
    /// As far as the provider knows, done.
    Succeeded,
    /// It will not arrive; the money is the merchant's again.
    Failed {
        /// The provider's code, such as `expired_or_canceled_card`.
        code: String,
    },
}

/// What a shopper's browser needs to go on with the provider directly. Never stored: fetched when
/// it is shown, to the shopper alone.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSecret {
    /// Lets its holder confirm this one payment.
    pub client_secret: String,
    /// Names the merchant's account to the provider's script; public.
    pub publishable_key: Option<String>,
}

impl std::fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientSecret").finish_non_exhaustive()
    }
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
            Self::Stripe(_) => "stripe",
        }
    }

    /// A token for a card number, which is forgotten at once.
    ///
    /// Only the sandbox takes numbers: with a real vendor the shopper's browser gives the number
    /// to the vendor and we never see it.
    pub fn tokenise(&self, card_number: &str) -> Result<&'static str, CardError> {
        match self {
            Self::Sandbox(_) => sandbox::tokenise(card_number),
            Self::Stripe(_) => Err(CardError::NotTaken),
        }
    }

    /// Reserves an amount on a card.
    pub async fn authorise(&self, charge: Charge<'_>) -> Result<Authorisation, PaymentError> {
        match self {
            Self::Sandbox(sandbox) => std::future::ready(sandbox.authorise(charge)).await,
            Self::Stripe(stripe) => stripe.authorise(charge).await,
        }
    }

    /// Goes on with a payment after the shopper has done what was required. `answer` is what the
    /// shopper's bank handed back; a vendor that knows by itself does not look at it.
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
            Self::Stripe(stripe) => stripe.confirm_action(charge, reference).await,
        }
    }

    /// Where a payment is at the provider, whether or not an answer about it ever came. Moves no
    /// money.
    pub async fn look_up(&self, look_up: LookUp<'_>) -> Result<Authorisation, PaymentError> {
        match self {
            Self::Sandbox(sandbox) => std::future::ready(sandbox.look_up(look_up)).await,
            Self::Stripe(stripe) => stripe.look_up(look_up).await,
        }
    }

    /// What the shopper's browser needs for a payment that is [`Authorisation::ActionRequired`].
    pub async fn client_secret(&self, reference: &str) -> Result<ClientSecret, PaymentError> {
        match self {
            Self::Sandbox(_) => std::future::ready(Ok(sandbox::client_secret(reference))).await,
            Self::Stripe(stripe) => stripe.client_secret(reference).await,
        }
    }

    /// Takes a reserved amount, or a part of it; the rest is given up. One capture per payment.
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
            Self::Stripe(stripe) => stripe.capture(reference, amount, key).await,
        }
    }

    /// Gives a reservation up, or a payment that waits for its shopper.
    pub async fn void(&self, reference: &str, key: &str) -> Result<(), PaymentError> {
        match self {
            Self::Sandbox(sandbox) => {
                sandbox.void(reference, key);
                std::future::ready(Ok(())).await
            }
            Self::Stripe(stripe) => stripe.void(reference, key).await,
        }
    }

    /// Sends captured money back.
    pub async fn refund(&self, refund: Refund<'_>) -> Result<Refunded, PaymentError> {
        match self {
            Self::Sandbox(sandbox) => std::future::ready(Ok(sandbox.refund(refund))).await,
            Self::Stripe(stripe) => stripe.refund(refund).await,
        }
    }

    /// What became of a refund that was asked for at `asked_at`. None: the provider knows of no
    /// such refund, and asking again under the same key is safe for [`KEYS_KEPT`].
    pub async fn look_up_refund(
        &self,
        refund: Refund<'_>,
        asked_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Option<Refunded>, PaymentError> {
        match self {
            Self::Sandbox(sandbox) => {
                let found = sandbox.look_up_refund(refund, asked_at, now);
                std::future::ready(Ok(Some(found))).await
            }
            Self::Stripe(stripe) => stripe.look_up_refund(refund).await,
        }
    }

    /// The provider's books about one payment. None where the provider keeps none.
    pub async fn statement(&self, reference: &str) -> Result<Option<Statement>, PaymentError> {
        match self {
            Self::Sandbox(_) => Ok(None),
            Self::Stripe(stripe) => stripe.statement(reference).await,
        }
    }

    /// A page of the provider's books about every payment asked for since then, newest first.
    /// `after` is [`StatementPage::next`] of the page before.
    pub async fn statements(
        &self,
        since: DateTime<Utc>,
        after: Option<&str>,
    ) -> Result<StatementPage, PaymentError> {
        match self {
            Self::Sandbox(_) => Ok(StatementPage::default()),
            Self::Stripe(stripe) => stripe.statements(since, after).await,
        }
    }

    /// A page of what happened at the provider since then, newest first: the same events that it
    /// sends as webhooks. `after` is [`EventPage::next`] of the page before.
    pub async fn events(
        &self,
        since: DateTime<Utc>,
        after: Option<&str>,
    ) -> Result<EventPage, PaymentError> {
        match self {
            Self::Sandbox(_) => Ok(EventPage::default()),
            Self::Stripe(stripe) => stripe.events(since, after).await,
        }
    }
}
