//! A store and how it wants to do business.

use chrono::{DateTime, Duration, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use event_schemas::store::{CaptureMoment, PolicyChange, StoreEvent, StorePolicyChanged};
use serde::{Deserialize, Serialize};

/// How long stock is held for a shopper who has not paid, if the store does not say.
pub const HOLD_MINUTES: u32 = 15;

/// Fewest minutes of a hold: a shopper has to find the card.
pub const HOLD_MINUTES_MIN: u32 = 5;

/// Most minutes of a hold: a day. Whoever holds for longer sells nothing.
pub const HOLD_MINUTES_MAX: u32 = 1_440;

/// What can be asked of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreCommand {
    /// It shall do business so from now on. Repeating it changes nothing.
    SetPolicies { policies: Policies, at: DateTime<Utc> },
}

/// How a store does business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policies {
    /// Minutes that stock is held for a shopper who has not paid:
    /// [`HOLD_MINUTES_MIN`] to [`HOLD_MINUTES_MAX`].
    pub hold_minutes: u32,
    /// When the money of an order is taken.
    pub capture: CaptureMoment,
}

impl Default for Policies {
    fn default() -> Policies {
        Policies { hold_minutes: HOLD_MINUTES, capture: CaptureMoment::default() }
    }
}

impl Policies {
    /// How long stock is held for a shopper who has not paid.
    pub fn hold(self) -> Duration {
        Duration::minutes(i64::from(self.hold_minutes))
    }
}

/// Why a store refuses a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A hold that is too short or too long.
    #[error("a hold lasts {HOLD_MINUTES_MIN} to {HOLD_MINUTES_MAX} minutes")]
    HoldOutOfRange,
}

/// A store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    /// How it does business now.
    pub policies: Policies,
}

impl Store {
    /// Says what a command makes happen: one event for each policy that is another one.
    pub fn decide(&self, command: StoreCommand) -> Result<Vec<StoreEvent>, StoreError> {
        let StoreCommand::SetPolicies { policies, at } = command;
        if !(HOLD_MINUTES_MIN..=HOLD_MINUTES_MAX).contains(&policies.hold_minutes) {
            return Err(StoreError::HoldOutOfRange);
        }
        let now = self.policies;
        let hold = PolicyChange::HoldMinutes { from: now.hold_minutes, to: policies.hold_minutes };
        let capture = PolicyChange::Capture { from: now.capture, to: policies.capture };
        let changes = [
            (now.hold_minutes != policies.hold_minutes, hold),
            (now.capture != policies.capture, capture),
        ];
        let new = changes.into_iter().filter(|(differs, _)| *differs);
        let event = |(_, change)| StoreEvent::PolicyChanged(StorePolicyChanged { change, at });
        Ok(new.map(event).collect())
    }
}

impl Aggregate for Store {
    const TYPE: &'static str = "store";
    type Command = StoreCommand;
    type Event = StoreEvent;
    type Error = StoreError;
    type Services = ();

    async fn handle(
        &mut self,
        command: StoreCommand,
        _services: &(),
        sink: &EventSink<Self>,
    ) -> Result<(), StoreError> {
        for event in self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: StoreEvent) {
        let StoreEvent::PolicyChanged(StorePolicyChanged { change, .. }) = event;
        match change {
            PolicyChange::HoldMinutes { to, .. } => self.policies.hold_minutes = to,
            PolicyChange::Capture { to, .. } => self.policies.capture = to,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stored::{HISTORIES, moment, survives};

    fn set(hold_minutes: u32, capture: CaptureMoment) -> StoreCommand {
        let policies = Policies { hold_minutes, capture };
        StoreCommand::SetPolicies { policies, at: DateTime::UNIX_EPOCH }
    }

    #[test]
    fn what_changes_is_said_once() {
        let store = Store::default();
        assert_eq!(store.decide(set(HOLD_MINUTES, CaptureMoment::Immediately)), Ok(vec![]));
        let both = store.decide(set(30, CaptureMoment::OnShipment)).unwrap();
        let change = |change| {
            StoreEvent::PolicyChanged(StorePolicyChanged { change, at: DateTime::UNIX_EPOCH })
        };
        let hold = PolicyChange::HoldMinutes { from: 15, to: 30 };
        let (from, to) = (CaptureMoment::Immediately, CaptureMoment::OnShipment);
        assert_eq!(both, [change(hold), change(PolicyChange::Capture { from, to })]);
    }

    #[test]
    fn a_hold_has_bounds() {
        for minutes in [0, HOLD_MINUTES_MIN - 1, HOLD_MINUTES_MAX + 1, u32::MAX] {
            let refused = Store::default().decide(set(minutes, CaptureMoment::Immediately));
            assert_eq!(refused, Err(StoreError::HoldOutOfRange));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(HISTORIES))]
        #[test]
        fn a_state_that_was_stored_decides_as_before(
            all in proptest::collection::vec((0..2000_u32, any::<bool>(), moment()), 1..12)
        ) {
            let command = |(hold_minutes, late, at)| {
                let capture =
                    if late { CaptureMoment::OnShipment } else { CaptureMoment::Immediately };
                StoreCommand::SetPolicies { policies: Policies { hold_minutes, capture }, at }
            };
            survives(all.into_iter().map(command).collect(), Store::decide);
        }
    }
}
