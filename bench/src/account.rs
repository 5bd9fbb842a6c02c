//! The aggregate that is measured: an account that takes deposits. Small on purpose, because what
//! is measured is what lies around it.

use std::{convert::Infallible, sync::Arc};

use cqrs_es::{Aggregate, DomainEvent, event_sink::EventSink};
use event_store::Kind;
use serde::{Deserialize, Serialize};

use crate::load::Random;

/// Bytes of an event's payload, where nothing else is asked for.
pub(crate) const PAYLOAD_BYTES: usize = 300;
/// Bytes of a command's metadata: about what the program's own has.
pub(crate) const METADATA_BYTES: usize = 200;
/// Bytes of a payload around its note.
const AROUND_NOTE: usize = r#"{"amount":1,"note":""}"#.len();

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Account {
    balance: i64,
}

/// Makes `events` events.
#[derive(Clone, Debug)]
pub(crate) struct Deposit {
    pub(crate) events: u64,
    pub(crate) note: Arc<str>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Deposited {
    amount: i64,
    note: String,
}

impl DomainEvent for Deposited {
    fn event_type(&self) -> String {
        "Deposited".to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Aggregate for Account {
    const TYPE: &'static str = "benchmark";
    type Command = Deposit;
    type Event = Deposited;
    type Error = Infallible;
    type Services = ();

    async fn handle(
        &mut self,
        command: Deposit,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Infallible> {
        for _ in 0..command.events {
            sink.write(Deposited { amount: 1, note: command.note.to_string() }, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Deposited) {
        self.balance += event.amount;
    }
}

/// How the engine reads accounts.
pub(crate) static ACCOUNT: Kind<Account> = Kind {
    decode: |_, _, payload| serde_json::from_slice(payload),
    schema: "benchmark account 1",
    keys: |_| vec![],
};

/// What commands look like: number and size of events, size of metadata.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) events_per_command: u64,
    pub(crate) payload_bytes: usize,
    pub(crate) metadata_bytes: usize,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            events_per_command: 1,
            payload_bytes: PAYLOAD_BYTES,
            metadata_bytes: METADATA_BYTES,
        }
    }
}

/// Texts for commands of a shape. Prepared, so that making them is not measured; many and random,
/// so that PostgreSQL cannot compress pages of them as it could not in earnest.
#[derive(Clone, Debug)]
pub(crate) struct Texts {
    shape: Shape,
    notes: Arc<[Arc<str>]>,
    metadata: Arc<str>,
}

/// Different notes.
const NOTES: usize = 1_024;

impl Texts {
    pub(crate) fn new(shape: Shape) -> Texts {
        let mut random = Random(2);
        let note_bytes = shape.payload_bytes.saturating_sub(AROUND_NOTE);
        let notes = (0..NOTES).map(|_| text(&mut random, note_bytes).into()).collect();
        let around_text = r#"{"text":""}"#.len();
        let metadata = text(&mut random, shape.metadata_bytes.saturating_sub(around_text));
        Texts { shape, notes, metadata: metadata.into() }
    }

    /// The command of a turn.
    pub(crate) fn deposit(&self, turn: u64) -> Deposit {
        let index = usize::try_from(turn).unwrap_or(0) % NOTES;
        Deposit { events: self.shape.events_per_command, note: self.notes[index].clone() }
    }

    /// The payload of each event of a turn.
    pub(crate) fn payload(&self, turn: u64) -> Vec<u8> {
        let note = self.deposit(turn).note;
        format!(r#"{{"amount":1,"note":"{note}"}}"#).into_bytes()
    }

    /// What fills the metadata.
    pub(crate) fn metadata_text(&self) -> &str {
        &self.metadata
    }

    pub(crate) fn metadata(&self) -> Vec<u8> {
        format!(r#"{{"text":"{}"}}"#, self.metadata).into_bytes()
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }
}

/// Letters and digits.
fn text(random: &mut Random, bytes: usize) -> String {
    const ALPHABET: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";
    (0..bytes).map(|_| char::from(ALPHABET[(random.next() % 64) as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_payload_is_what_the_aggregate_would_store() {
        let texts = Texts::new(Shape::default());
        let event = Deposited { amount: 1, note: texts.deposit(7).note.to_string() };
        assert_eq!(texts.payload(7), serde_json::to_vec(&event).unwrap());
        assert_eq!(texts.payload(7).len(), PAYLOAD_BYTES);
        assert_eq!(texts.metadata().len(), METADATA_BYTES);
    }
}
