//! What goes wrong, by seed.

use serde::{Deserialize, Serialize};

/// How often what goes wrong, in thousandths. The default is never.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// What happens follows from this and the requests.
    pub seed: u64,
    /// The request does not arrive, and no answer comes.
    pub request_lost: u16,
    /// The request takes effect, and no answer comes. For two seconds its key is in use.
    pub reply_lost: u16,
    /// The request does not take effect, and its key answers 500 from now on.
    pub saved_error: u16,
    /// The request takes effect, and yet its key answers 500 from now on.
    pub saved_error_after: u16,
    /// 429 with `Retry-After`; nothing is saved.
    pub rate_limited: u16,
    /// 409: the key is said to be in use; nothing is saved.
    pub in_use: u16,
    /// The shopper, or the bank, is faster than a cancellation: what waits for them goes through.
    pub success_before_cancel: u16,
    /// A webhook never comes.
    pub webhook_lost: u16,
    /// A webhook comes twice.
    pub webhook_twice: u16,
    /// A webhook comes up to a minute later, and so after later ones.
    pub webhook_reordered: u16,
    /// A webhook comes up to three days later.
    pub webhook_late: u16,
}

impl Faults {
    /// Everything that can go wrong, each in about one of thirty cases.
    pub fn all(seed: u64) -> Faults {
        Faults {
            seed,
            request_lost: 30,
            reply_lost: 30,
            saved_error: 20,
            saved_error_after: 20,
            rate_limited: 30,
            in_use: 20,
            success_before_cancel: 100,
            webhook_lost: 50,
            webhook_twice: 300,
            webhook_reordered: 300,
            webhook_late: 30,
        }
    }
}

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    RequestLost,
    ReplyLost,
    SavedError,
    SavedErrorAfter,
    RateLimited,
    InUse,
}

/// Faults and the chance they follow from.
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    pub(crate) faults: Faults,
    random: fastrand::Rng,
}

impl Chance {
    pub(crate) fn new(faults: Faults) -> Chance {
        let random = fastrand::Rng::with_seed(faults.seed);
        Chance { faults, random }
    }

    /// True in that many of a thousand cases.
    pub(crate) fn hits(&mut self, thousandths: u16) -> bool {
        thousandths > 0 && self.random.u16(0..1000) < thousandths
    }

    pub(crate) fn up_to(&mut self, seconds: i64) -> i64 {
        self.random.i64(1..=seconds)
    }

    pub(crate) fn fault(&mut self) -> Option<Fault> {
        let Faults {
            request_lost,
            reply_lost,
            saved_error,
            saved_error_after,
            rate_limited,
            in_use,
            ..
        } = self.faults;
        let chances = [
            (request_lost, Fault::RequestLost),
            (reply_lost, Fault::ReplyLost),
            (saved_error, Fault::SavedError),
            (saved_error_after, Fault::SavedErrorAfter),
            (rate_limited, Fault::RateLimited),
            (in_use, Fault::InUse),
        ];
        chances.into_iter().find(|(thousandths, _)| self.hits(*thousandths)).map(|(_, fault)| fault)
    }
}
