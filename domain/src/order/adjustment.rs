//! Money given back that belongs to no order we know.

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use event_schemas::{
    money::Money,
    order::{AdjustmentEvent, AdjustmentLine, RefundAdjustmentRecorded},
};
use serde::{Deserialize, Serialize};

use super::REASON_CHARS_MAX;
use crate::pricing::TOTAL_MINOR_MAX;

/// What can be asked of a stand-alone refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdjustmentCommand {
    /// It was given back. Once recorded it never changes; repeating it changes nothing.
    Record(Box<RecordAdjustment>),
}

/// A refund without an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordAdjustment {
    /// Document behind it; unique in the store, which the append guards.
    pub reference: String,
    /// What went back; above zero, at most [`TOTAL_MINOR_MAX`].
    pub amount: Money,
    /// What it was for.
    pub lines: Vec<AdjustmentLine>,
    /// The merchant's own reference of the customer.
    pub customer_reference: Option<String>,
    /// Why; 1 to [`REASON_CHARS_MAX`] characters.
    pub reason: String,
    /// When it was given back.
    pub at: DateTime<Utc>,
}

/// Why a stand-alone refund is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdjustmentError {
    /// Money given back is more than nothing.
    #[error("amount must be above zero")]
    AmountNotPositive,
    /// More than any order can be of.
    #[error("amount must be at most {TOTAL_MINOR_MAX} minor units")]
    AmountTooHigh,
    /// There is no document.
    #[error("a reference is required")]
    ReferenceMissing,
    /// No reason, or too long a one.
    #[error("a reason of 1 to {REASON_CHARS_MAX} characters is required")]
    BadReason,
}

/// A stand-alone refund.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjustment {
    recorded: bool,
}

impl Adjustment {
    /// Says what a command makes happen.
    pub fn decide(
        &self,
        command: AdjustmentCommand,
    ) -> Result<Vec<AdjustmentEvent>, AdjustmentError> {
        let AdjustmentCommand::Record(new) = command;
        if self.recorded {
            return Ok(vec![]);
        }
        if new.amount.amount_minor <= 0 {
            return Err(AdjustmentError::AmountNotPositive);
        }
        if TOTAL_MINOR_MAX < new.amount.amount_minor {
            return Err(AdjustmentError::AmountTooHigh);
        }
        if new.reference.trim().is_empty() {
            return Err(AdjustmentError::ReferenceMissing);
        }
        if new.reason.trim().is_empty() || REASON_CHARS_MAX < new.reason.chars().count() {
            return Err(AdjustmentError::BadReason);
        }
        let RecordAdjustment { reference, amount, lines, customer_reference, reason, at } = *new;
        Ok(vec![AdjustmentEvent::Recorded(RefundAdjustmentRecorded {
            reference,
            amount,
            lines,
            customer_reference,
            reason,
            at,
        })])
    }
}

impl Aggregate for Adjustment {
    const TYPE: &'static str = "refund_adjustment";
    type Command = AdjustmentCommand;
    type Event = AdjustmentEvent;
    type Error = AdjustmentError;
    type Services = ();

    async fn handle(
        &mut self,
        command: AdjustmentCommand,
        _services: &(),
        sink: &EventSink<Self>,
    ) -> Result<(), AdjustmentError> {
        for event in self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, _event: AdjustmentEvent) {
        self.recorded = true;
    }
}
