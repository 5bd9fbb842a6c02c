//! The processes across contexts: what follows from what, and doing it exactly once.
//!
//! A process decides in a pure function and acts elsewhere. Everything it does can be done again:
//! commands carry ids that follow from the process and its step, provider calls carry keys, and
//! state only moves forward. So a crash anywhere is repaired by driving the process once more.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use chrono::{DateTime, Duration, Utc};
use commands::{CommandError, Ctx, Intent, payment::Payment};
use event_schemas::{
    ids::{ActorId, CheckoutId, StoreId},
    metadata::{Actor, ActorKind},
};
use event_store::StoreError;
use providers::{Providers, ProvidersError, payment::PaymentProvider};
use sqlx::PgPool;

mod attend;
pub mod checkout;
pub mod inbox;
mod order_number;
pub mod refund;
pub mod runner;
mod stuck;

pub use attend::{Attended, attend_payment, client_secret};
pub use checkout::{drive_checkout, drive_payment};
pub use refund::drive_order;
pub use runner::{drain, drive_to_rest, lease, pass_over, run};
pub use stuck::{Backlog, StuckProcess, backlog, stuck};

/// Shortest and longest wait before a provider is asked again: 1, 2, 4 … 60 s.
const BACK_OFF_MIN: Duration = Duration::seconds(1);
const BACK_OFF_MAX: Duration = Duration::seconds(60);

/// How long an answer of a provider may stay away before somebody has to look: outages are shorter,
/// and what lasts longer (a key that was revoked, an account that was replaced) does not end by
/// itself.
pub const ANSWER_WITHIN: Duration = Duration::minutes(10);

/// How long a provider may say that it is at it: bank debits and refunds, with weekends and
/// holidays.
pub const SLOW_ANSWER_WITHIN: Duration = Duration::days(14);

/// How long a runner leaves a checkout to whoever began it or told it something, and carries it on
/// themselves: longer than that takes, or both do the same work. After a crash the runner takes it
/// up that much later.
pub const GRACE: Duration = Duration::seconds(5);

/// Everything a process needs.
#[derive(Clone, Debug)]
pub struct SagaCtx {
    /// The log, the time, new ids.
    pub commands: Ctx,
    /// Connections of `Role::Process`, for what the processes have to do: their tables, and the
    /// tail of the log. Not the engine's: what is stored here does not wait for the disk, and may
    /// be lost (docs/adr/0012).
    pub pool: PgPool,
    /// Who moves the money, by store.
    pub payments: Providers,
    /// Whom events of processes name as their actor.
    pub actor: Actor,
    /// [`GRACE`] where requests drive what they begin; nothing where only runners do.
    pub grace: Duration,
    /// Effects left before [`DriveError::Stopped`]; none is without end. For crash tests.
    pub budget: Option<Arc<AtomicU32>>,
}

impl SagaCtx {
    /// A context for the running program. `pool` is one of `Role::Process`.
    pub fn new(commands: Ctx, pool: PgPool, payments: impl Into<Providers>) -> SagaCtx {
        let actor = Actor { kind: ActorKind::System, id: ActorId::derive(&[b"saga"]) };
        let payments = payments.into();
        SagaCtx { commands, pool, payments, actor, grace: Duration::zero(), budget: None }
    }

    /// Who moves the money of a store's new payments.
    pub async fn provider(&self, store_id: StoreId) -> Result<PaymentProvider, DriveError> {
        self.payments.of(store_id).await.map_err(no_provider)
    }

    /// Who moves the money of a payment: whom it was begun with. Whoever the store has now knows
    /// nothing of it, and the sandbox would say yes to everything.
    pub(crate) async fn provider_of(
        &self,
        store_id: StoreId,
        payment: &Payment,
    ) -> Result<PaymentProvider, DriveError> {
        let intent = payment.intent.as_ref().expect("the request is committed before the call");
        self.payments.named(store_id, &intent.provider).await.map_err(no_provider)
    }

    /// The time now.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.commands.now()
    }

    /// To be called before every effect.
    pub(crate) fn spend(&self) -> Result<(), DriveError> {
        let Some(budget) = &self.budget else { return Ok(()) };
        let one_less = |left: u32| left.checked_sub(1);
        match budget.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
            Ok(_) => Ok(()),
            Err(_) => Err(DriveError::Stopped),
        }
    }
}

fn no_provider(error: ProvidersError) -> DriveError {
    DriveError::Failed { step: "provider", detail: error.to_string() }
}

/// The checkout that everything a process does belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Journey {
    pub(crate) store_id: StoreId,
    pub(crate) checkout_id: CheckoutId,
}

impl Journey {
    /// The intent of one step. `parts` name it among all steps of the checkout: the same parts
    /// take effect once.
    pub(crate) fn intent(self, ctx: &SagaCtx, parts: &[&[u8]], at: DateTime<Utc>) -> Intent {
        let saga: [&[u8]; 2] = [b"checkout", self.checkout_id.0.as_bytes()];
        let parts: Vec<&[u8]> = saga.iter().chain(parts).copied().collect();
        let correlation_id = self.checkout_id.to_string();
        Intent { correlation_id, ..Intent::of_system(self.store_id, ctx.actor, &parts, at) }
    }
}

/// When a process wants to be driven again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At that time, unless something happens to it before.
    At(DateTime<Utc>),
    /// Soon: a provider was asked at that time, and has owed an answer for longer than it may take.
    Unanswered {
        /// When it was asked.
        since: DateTime<Utc>,
    },
    /// Not at all, unless something happens to it.
    Done,
}

/// Why a process does not go on. Driving it again later is always safe.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// A rule refused a step that the process counts on.
    #[error("{step} was refused: {detail}")]
    Refused {
        /// Which step.
        step: &'static str,
        /// What was said.
        detail: String,
    },
    /// The log could not be written or is moved by others all the time.
    #[error("{step} did not work: {detail}")]
    Failed {
        /// Which step.
        step: &'static str,
        /// What was said.
        detail: String,
    },
    /// The provider owes an answer for longer than it may take.
    #[error("the provider was asked at {since} and has not answered")]
    Unanswered {
        /// When it was asked.
        since: DateTime<Utc>,
    },
    /// The log could not be read.
    #[error("event store failed")]
    Store(#[from] StoreError),
    /// A table of the processes could not be read or written.
    #[error("database failed")]
    Database(#[from] sqlx::Error),
    /// Too many steps in a row: a bug.
    #[error("went round in circles")]
    Endless,
    /// The budget is used up. Only in tests.
    #[error("stopped on purpose")]
    Stopped,
}

impl DriveError {
    /// Sorts an error of a command: refused for good, or worth another try.
    pub(crate) fn of<E: std::error::Error>(step: &'static str, error: CommandError<E>) -> Self {
        match error {
            CommandError::Rejected(error) => Self::Refused { step, detail: error.to_string() },
            CommandError::Store(error) => Self::Store(error),
            other => Self::Failed { step, detail: other.to_string() },
        }
    }

    /// The step that does not go on, for people.
    pub(crate) fn step(&self) -> &'static str {
        match self {
            Self::Refused { step, .. } | Self::Failed { step, .. } => step,
            Self::Unanswered { .. } => "answer",
            _ => "store",
        }
    }
}

/// When to ask a provider again what became of something that was asked at `asked_at`: after as
/// long as has passed since, so that the waits double.
pub(crate) fn ask_again_at(asked_at: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    ask_again_within(asked_at, now, BACK_OFF_MAX)
}

/// Like [`ask_again_at`], with waits that are at most so long.
pub(crate) fn ask_again_within(
    asked_at: DateTime<Utc>,
    now: DateTime<Utc>,
    wait_max: Duration,
) -> DateTime<Utc> {
    now + (now - asked_at).clamp(BACK_OFF_MIN, wait_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute() {
        let asked = DateTime::UNIX_EPOCH;
        let mut now = asked;
        let waits: Vec<i64> = std::iter::repeat_with(|| {
            let next = ask_again_at(asked, now);
            let wait = (next - now).num_seconds();
            now = next;
            wait
        })
        .take(9)
        .collect();
        assert_eq!(waits, [1, 1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
