//! The aggregate of these tests: an account with a number that is unique in its store.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use event_store::{KeyChange, Kind, Priority, Request};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::db::new_id;

pub(crate) const STORE: Uuid = Uuid::from_u128(1);
pub(crate) const OTHER_STORE: Uuid = Uuid::from_u128(2);

#[derive(Clone, Debug)]
pub(crate) enum Command {
    Open {
        number: String,
    },
    Renumber {
        number: String,
    },
    Deposit {
        amount: i64,
    },
    /// This many deposits of 1.
    DepositOften {
        times: usize,
    },
    Withdraw {
        amount: i64,
    },
    /// Withdraws, and refuses only when it sees the outcome: a handler may be written like that.
    WithdrawFirst {
        amount: i64,
    },
    /// A bug.
    Panic,
    /// Nothing if it is closed already.
    Close,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub(crate) enum Event {
    Opened { number: String },
    Renumbered { from: String, to: String },
    Deposited { amount: i64 },
    Withdrawn { amount: i64 },
    Closed { number: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("account is open already")]
    AlreadyOpen,
    #[error("balance is too low")]
    Overdrawn,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) balance: i64,
    number: Option<String>,
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = Command;
    type Event = Event;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        command: Command,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        let careless = matches!(command, Command::WithdrawFirst { .. });
        for event in self.decide(command)? {
            sink.write(event, self).await;
        }
        if careless && self.balance < 0 { Err(Refusal::Overdrawn) } else { Ok(()) }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Opened { number } | Event::Renumbered { to: number, .. } => {
                self.number = Some(number);
            }
            Event::Deposited { amount } => self.balance += amount,
            Event::Withdrawn { amount } => self.balance -= amount,
            Event::Closed { .. } => self.number = None,
        }
    }
}

impl Account {
    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        match (command, &self.number) {
            (Command::Open { .. }, Some(_)) => Err(Refusal::AlreadyOpen),
            (Command::Open { number }, None) => Ok(vec![Event::Opened { number }]),
            (Command::Renumber { number: to }, from) => {
                let from = from.clone().unwrap_or_default();
                Ok(vec![Event::Renumbered { from, to }])
            }
            (Command::Deposit { amount }, _) => Ok(vec![Event::Deposited { amount }]),
            (Command::DepositOften { times }, _) => Ok(vec![Event::Deposited { amount: 1 }; times]),
            (Command::Withdraw { amount }, _) if amount > self.balance => Err(Refusal::Overdrawn),
            (Command::Withdraw { amount } | Command::WithdrawFirst { amount }, _) => {
                Ok(vec![Event::Withdrawn { amount }])
            }
            (Command::Panic, _) => panic!("a bug in a handler"),
            (Command::Close, None) => Ok(vec![]),
            (Command::Close, Some(number)) => Ok(vec![Event::Closed { number: number.clone() }]),
        }
    }
}

impl DomainEvent for Event {
    fn event_type(&self) -> String {
        match self {
            Event::Opened { .. } => "AccountOpened".into(),
            Event::Renumbered { .. } => "AccountRenumbered".into(),
            Event::Deposited { .. } => "AccountDeposited".into(),
            Event::Withdrawn { .. } => "AccountWithdrawn".into(),
            Event::Closed { .. } => "AccountClosed".into(),
        }
    }

    fn event_version(&self) -> String {
        "1".into()
    }
}

pub(crate) const ACCOUNT: Kind<Account> = Kind { decode, schema: "1", keys };

fn decode(_: &str, _: u16, payload: &[u8]) -> Result<Event, serde_json::Error> {
    serde_json::from_slice(payload)
}

fn keys(event: &Event) -> Vec<KeyChange> {
    let scope = "account.number";
    match event {
        Event::Opened { number } => vec![KeyChange::Claim { scope, key: number.clone() }],
        Event::Renumbered { from, to } => vec![
            KeyChange::Release { scope, key: from.clone() },
            KeyChange::Claim { scope, key: to.clone() },
        ],
        Event::Closed { number } => vec![KeyChange::Release { scope, key: number.clone() }],
        Event::Deposited { .. } | Event::Withdrawn { .. } => vec![],
    }
}

/// A request with an id and a fingerprint of its own.
pub(crate) fn request(id: Uuid, command: Command) -> Request<Command> {
    Request {
        store_id: STORE,
        id,
        command,
        command_id: new_id(),
        fingerprint: [7; 32],
        expected: None,
        metadata: br#"{"actor":{"kind":"system"}}"#.to_vec(),
        priority: Priority::Normal,
        deadline: None,
    }
}
