//! The aggregate of these stories, written as one who knows only `cqrs-es` would: with a service,
//! an event enum that serde tags from outside, versions with dots, and a view.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent, EventEnvelope, View};
use event_store::cqrs::self_describing;
use event_store::{KeyChange, Kind};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug)]
pub(crate) enum BankCommand {
    /// Claims the name of the account.
    Open {
        name: String,
    },
    Deposit {
        amount: i64,
    },
    /// This many deposits of 1.
    DepositOften {
        times: usize,
    },
    /// Nothing happens.
    Look,
    /// Asks the bank.
    CashCheque {
        number: String,
        amount: i64,
    },
    /// Deposits, and then refuses.
    ChangeItsMind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum BankEvent {
    Opened {
        name: String,
    },
    /// Says the balance too, as events of the book do: decided again it reads otherwise.
    Deposited {
        amount: i64,
        balance: i64,
    },
    ChequeCashed {
        number: String,
        amount: i64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BankError {
    #[error("cheque {0} is not good")]
    BadCheque(String),
    #[error("changed its mind")]
    ChangedItsMind,
}

/// Knows which cheques are not good.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bank {
    pub(crate) bad_cheques: Vec<String>,
}

impl Bank {
    async fn check(&self, number: &str) -> Result<(), BankError> {
        tokio::task::yield_now().await;
        let bad = self.bad_cheques.iter().any(|bad| bad == number);
        if bad { Err(BankError::BadCheque(number.to_owned())) } else { Ok(()) }
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct BankAccount {
    pub(crate) balance: i64,
    pub(crate) deposits: u64,
}

impl Aggregate for BankAccount {
    const TYPE: &'static str = "bank_account";
    type Command = BankCommand;
    type Event = BankEvent;
    type Error = BankError;
    type Services = Bank;

    async fn handle(
        &mut self,
        command: BankCommand,
        bank: &Bank,
        sink: &EventSink<Self>,
    ) -> Result<(), BankError> {
        match command {
            BankCommand::Open { name } => sink.write(BankEvent::Opened { name }, self).await,
            BankCommand::Deposit { amount } => self.deposit(amount, sink).await,
            BankCommand::DepositOften { times } => {
                for _ in 0..times {
                    self.deposit(1, sink).await;
                }
            }
            BankCommand::Look => {}
            BankCommand::CashCheque { number, amount } => {
                bank.check(&number).await?;
                sink.write(BankEvent::ChequeCashed { number, amount }, self).await;
            }
            BankCommand::ChangeItsMind => {
                self.deposit(1, sink).await;
                return Err(BankError::ChangedItsMind);
            }
        }
        Ok(())
    }

    fn apply(&mut self, event: BankEvent) {
        match event {
            BankEvent::Opened { .. } => {}
            // By the amount and not the balance, so that applying it twice shows.
            BankEvent::Deposited { amount, .. } => {
                self.balance += amount;
                self.deposits += 1;
            }
            BankEvent::ChequeCashed { amount, .. } => self.balance += amount,
        }
    }
}

impl BankAccount {
    async fn deposit(&mut self, amount: i64, sink: &EventSink<Self>) {
        let balance = self.balance + amount;
        sink.write(BankEvent::Deposited { amount, balance }, self).await;
    }
}

impl DomainEvent for BankEvent {
    fn event_type(&self) -> String {
        match self {
            BankEvent::Opened { .. } => "Opened".into(),
            BankEvent::Deposited { .. } => "Deposited".into(),
            BankEvent::ChequeCashed { .. } => "ChequeCashed".into(),
        }
    }

    fn event_version(&self) -> String {
        "1.0".into()
    }
}

/// How the engine reads it: one line per aggregate.
pub(crate) static BANK_ACCOUNT: Kind<BankAccount> =
    Kind { decode: self_describing, schema: "1", keys };

fn keys(event: &BankEvent) -> Vec<KeyChange> {
    match event {
        BankEvent::Opened { name } => {
            vec![KeyChange::Claim { scope: "bank_account.name", key: name.clone() }]
        }
        _ => vec![],
    }
}

/// What a customer sees: the read model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Statement {
    pub(crate) balance: i64,
    /// Sequences of the events it was made from, as they came.
    pub(crate) seen: Vec<usize>,
}

impl View<BankAccount> for Statement {
    fn update(&mut self, event: &EventEnvelope<BankAccount>) {
        self.seen.push(event.sequence);
        match &event.payload {
            BankEvent::Opened { .. } => {}
            BankEvent::Deposited { amount, .. } | BankEvent::ChequeCashed { amount, .. } => {
                self.balance += amount;
            }
        }
    }
}
