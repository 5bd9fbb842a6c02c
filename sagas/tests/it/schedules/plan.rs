//! What a shopper does and what goes wrong, by seed.

use chrono::Duration;
use commands::checkout::CONFIRM_WITH_PROVIDER;
use fastrand::Rng;
use stripe_sim::Faults;

/// What one shopper will do.
#[expect(clippy::struct_excessive_bools, reason = "each says yes or no to something of its own")]
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Means of payment, tried one after the other.
    pub(super) methods: Vec<&'static str>,
    /// What they choose on the provider's form.
    pub(super) chosen: &'static str,
    /// Whether they are who they say.
    pub(super) passes: bool,
    /// Whether they ever do what the provider asks of them.
    pub(super) acts: bool,
    /// How long they take for it.
    pub(super) hesitates: Duration,
    /// Whether they come back to the shop afterwards, or leave it to the provider to say so.
    pub(super) returns: bool,
    /// They give it up while the provider waits for them.
    pub(super) abandons: bool,
    /// What happens to their order.
    pub(super) afterwards: Afterwards,
    /// How long banks take, in seconds.
    pub(super) pace: (i64, i64),
    /// A process dies in that many of a hundred cases, somewhere on its way.
    pub(super) dies: u8,
    /// Nobody does anything for longer than the provider remembers keys, in so many of a hundred
    /// cases.
    pub(super) sleeps: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Afterwards {
    Kept,
    Cancelled,
    RefundedOnce,
    RefundedTwice,
}

/// Means of payment. Repeated is likelier.
const METHODS: &[&str] = &[
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_visa_chargeDeclined",
    "pm_card_authenticationRequired",
    "pm_card_authenticationRequired",
    "pm_usBankAccount_success",
    "pm_usBankAccount_insufficientFunds",
    "pm_card_pendingRefund",
    CONFIRM_WITH_PROVIDER,
    CONFIRM_WITH_PROVIDER,
];

/// What banks take, in seconds: moments, longer than a hold, longer than keys are remembered.
const PACES: &[i64] = &[2, 60, 20 * 60, 2 * 3600, 30 * 3600, 5 * 24 * 3600];

/// How long shoppers take, in seconds: some longer than any hold.
const HESITATIONS: &[i64] = &[1, 30, 300, 840, 1_000, 2_000, 7_200];

impl Plan {
    pub(super) fn of(rng: &mut Rng) -> Plan {
        let methods = (0..rng.usize(1..=3)).map(|_| *one_of(rng, METHODS)).collect();
        let chosen = ["pm_card_visa", "pm_usBankAccount_success", "pm_card_visa_chargeDeclined"];
        let afterwards = [
            Afterwards::Kept,
            Afterwards::Cancelled,
            Afterwards::RefundedOnce,
            Afterwards::RefundedTwice,
        ];
        Plan {
            methods,
            chosen: one_of::<&str>(rng, &chosen),
            passes: rng.u8(0..100) < 70,
            acts: rng.u8(0..100) < 85,
            hesitates: Duration::seconds(*one_of(rng, HESITATIONS)),
            returns: rng.bool(),
            abandons: rng.u8(0..100) < 15,
            afterwards: *one_of(rng, &afterwards),
            pace: (*one_of(rng, PACES), *one_of(rng, PACES)),
            dies: *one_of(rng, &[0, 0, 10, 40]),
            sleeps: *one_of(rng, &[0, 0, 2, 10]),
        }
    }
}

/// From a provider that works to one that hardly does.
pub(super) fn faults(rng: &mut Rng) -> Faults {
    let usual = Faults::all(rng.u64(..));
    let times = *one_of(rng, &[0, 1, 1, 3, 6]);
    let often = |one: u16| (one * times).min(300);
    Faults {
        request_lost: often(usual.request_lost),
        reply_lost: often(usual.reply_lost),
        saved_error: often(usual.saved_error),
        saved_error_after: often(usual.saved_error_after),
        rate_limited: often(usual.rate_limited),
        in_use: often(usual.in_use),
        ..usual
    }
}

pub(super) fn one_of<'a, T>(rng: &mut Rng, all: &'a [T]) -> &'a T {
    &all[rng.usize(..all.len())]
}
