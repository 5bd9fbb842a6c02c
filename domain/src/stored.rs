//! For tests: a state must survive its snapshot. The engine may store it after any event and go on
//! with what it reads back, in this process or the next.

use std::collections::BTreeSet;
use std::fmt::Debug;

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, DomainEvent as _, event_sink::EventSink};
use event_schemas::{
    money::{Currency, Money},
    order::AdjustmentEvent,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::order::{Adjustment, AdjustmentCommand, AdjustmentError, RecordAdjustment};

/// Histories per property, and that [`reached`] looks at (the same ones each time). Every event of
/// a history is a case of its own.
pub(crate) const HISTORIES: u32 = 64;

type Decide<A> = fn(
    &A,
    <A as Aggregate>::Command,
) -> Result<Vec<<A as Aggregate>::Event>, <A as Aggregate>::Error>;

/// Carries out commands one after another, on a state that stays in memory, on one that is stored
/// and read back before each command, and on one made from the stored events. All must decide alike
/// and serialise alike. Returns the events.
///
/// # Panics
/// If they do not.
pub(crate) fn survives<A>(commands: Vec<A::Command>, decide: Decide<A>) -> Vec<A::Event>
where
    A: Aggregate,
    A::Command: Clone + Debug,
    A::Error: PartialEq,
{
    let (mut kept, mut stored, mut replayed) = (A::default(), A::default(), A::default());
    let mut history = Vec::new();
    for command in commands {
        stored = read_back(&stored);
        let decided = decide(&kept, command.clone());
        for other in [&stored, &replayed] {
            assert!(decided == decide(other, command.clone()), "{command:?} decided differently");
        }
        for event in decided.unwrap_or_default() {
            replayed.apply(read_back(&event));
            stored.apply(event.clone());
            kept.apply(event.clone());
            history.push(event);
        }
        assert_eq!(text(&kept), text(&stored), "after {command:?}");
        assert_eq!(text(&kept), text(&replayed), "after {command:?}");
    }
    history
}

/// The types of all events that [`HISTORIES`] of such commands come to, so that a test can show
/// that it tried everything.
pub(crate) fn reached<A>(
    commands: &impl Strategy<Value = Vec<A::Command>>,
    decide: Decide<A>,
) -> BTreeSet<String>
where
    A: Aggregate,
    A::Command: Clone + Debug,
    A::Error: PartialEq,
{
    let mut runner = TestRunner::deterministic();
    let mut history = || {
        let commands = commands.new_tree(&mut runner).unwrap().current();
        survives(commands, decide)
    };
    (0..HISTORIES).flat_map(|_| history()).map(|event| event.event_type()).collect()
}

/// Times as they come from a clock, with parts of a second.
pub(crate) fn moment() -> impl Strategy<Value = DateTime<Utc>> {
    (0..7_200_000_000_000_i64).prop_map(DateTime::from_timestamp_nanos)
}

/// Texts that JSON has to escape, among others; never blank.
pub(crate) fn words() -> impl Strategy<Value = String> {
    prop_oneof![Just("plain"), Just("\"\\\u{0}\u{7f}\u{2028}"), Just(" é 客 \n")]
        .prop_map(str::to_owned)
}

fn read_back<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let bytes = serde_json::to_vec(value).unwrap();
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{error}: {}", text(value)))
}

fn text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap()
}

/// A state with a field that is not stored.
#[derive(Default, Serialize, Deserialize)]
struct Forgetful {
    #[serde(skip)]
    recorded: bool,
}

impl Aggregate for Forgetful {
    const TYPE: &'static str = "forgetful";
    type Command = AdjustmentCommand;
    type Event = AdjustmentEvent;
    type Error = AdjustmentError;
    type Services = ();

    async fn handle(
        &mut self,
        _: AdjustmentCommand,
        (): &(),
        _: &EventSink<Self>,
    ) -> Result<(), AdjustmentError> {
        Ok(())
    }

    fn apply(&mut self, _: AdjustmentEvent) {
        self.recorded = true;
    }
}

#[test]
#[should_panic(expected = "decided differently")]
fn a_state_that_forgets_is_noticed() {
    let command = AdjustmentCommand::Record(Box::new(RecordAdjustment {
        reference: "1".to_owned(),
        amount: Money { amount_minor: 1, currency: Currency::GBP },
        lines: vec![],
        customer_reference: None,
        reason: "broken".to_owned(),
        at: DateTime::UNIX_EPOCH,
    }));
    survives::<Forgetful>(vec![command.clone(), command], |state, command| {
        if state.recorded { Ok(vec![]) } else { Adjustment::default().decide(command) }
    });
}
