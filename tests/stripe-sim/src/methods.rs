//! Payment methods of the test mode, by Stripe's names for them, and what they do.

/// What a payment method does when an intent is confirmed with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// Goes through.
    Succeeds,
    /// Is refused: `code` and `decline_code`.
    Declines(&'static str, &'static str),
    /// The shopper has to prove who they are.
    Authenticates,
    /// The bank takes its time, and takes the money.
    Settles,
    /// The bank takes its time, and refuses.
    Bounces,
}

/// What becomes of a refund to a payment method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refunds {
    /// At once.
    AtOnce,
    /// Pending at first, then it arrives.
    Later,
    /// Pending at first, then it comes back.
    Fails,
}

/// A payment method.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Method {
    pub(crate) id: &'static str,
    /// `card` or `us_bank_account`.
    pub(crate) kind: &'static str,
    pub(crate) does: Does,
    pub(crate) refunds: Refunds,
}

const fn card(id: &'static str, does: Does) -> Method {
    Method { id, kind: "card", does, refunds: Refunds::AtOnce }
}

const fn debit(id: &'static str, does: Does) -> Method {
    Method { id, kind: "us_bank_account", does, refunds: Refunds::AtOnce }
}

static METHODS: &[Method] = &[
    card("pm_card_visa", Does::Succeeds),
    card("pm_card_mastercard", Does::Succeeds),
    card("pm_card_amex", Does::Succeeds),
    card("pm_card_visa_chargeDeclined", Does::Declines("card_declined", "generic_decline")),
    card(
        "pm_card_visa_chargeDeclinedInsufficientFunds",
        Does::Declines("card_declined", "insufficient_funds"),
    ),
    card("pm_card_visa_chargeDeclinedLostCard", Does::Declines("card_declined", "lost_card")),
    card("pm_card_chargeDeclinedExpiredCard", Does::Declines("expired_card", "")),
    card("pm_card_chargeDeclinedProcessingError", Does::Declines("processing_error", "")),
    card("pm_card_authenticationRequired", Does::Authenticates),
    card("pm_card_threeDSecure2Required", Does::Authenticates),
    Method { refunds: Refunds::Later, ..card("pm_card_pendingRefund", Does::Succeeds) },
    Method { refunds: Refunds::Fails, ..card("pm_card_refundFail", Does::Succeeds) },
    debit("pm_usBankAccount_success", Does::Settles),
    debit("pm_usBankAccount_insufficientFunds", Does::Bounces),
];

pub(crate) fn find(id: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.id == id)
}
