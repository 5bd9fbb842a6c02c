//! What is known of a checkout, and how its events change that.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use event_schemas::{
    checkout::{CheckoutEvent, CheckoutStarted, FailureCause, ShippingAddressSet},
    ids::{OrderId, PaymentId},
    money::Money,
    order::Charge,
    payment::{DeclineAdvice, PaymentAction},
    quote::{Quote, ShippingOption},
};
use serde::{Deserialize, Serialize};

use super::{CheckoutCommand, CheckoutError};

/// One attempt to buy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkout {
    /// Where it is.
    pub phase: Phase,
    /// What shall be bought; none before it began.
    pub started: Option<Box<CheckoutStarted>>,
    /// Where it goes; none before the shopper has said.
    pub address: Option<ShippingAddressSet>,
    /// How it gets there; none before the shopper has chosen, and again when the address changes.
    pub shipping: Option<ShippingOption>,
    /// What it costs; none before it was asked for, and again when address or carriage change.
    pub quote: Option<Box<Quote>>,
    /// Codes of all coupons that any quote of it counted on: their uses may still be claimed.
    pub coupons: BTreeSet<String>,
    /// Addresses, ways to send and quotes so far.
    pub changes: u32,
    /// Every attempt to pay, in order; the first one has number 1.
    pub attempts: Vec<PaymentAttempt>,
    /// End of the hold; set when it began.
    pub hold_until: Option<DateTime<Utc>>,
    /// The hold was extended; that happens once.
    pub extended: bool,
    /// The last refusal of a card, until the next attempt.
    pub last_decline: Option<Decline>,
    /// A step does not go on. Cleared by the next step that does.
    pub stuck: Option<Stuck>,
}

/// Where a checkout is. A function of its events; nobody sets it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It did not begin.
    #[default]
    Absent,
    /// The stock of its lines is being held.
    Reserving,
    /// The shopper shall give a means of payment.
    AwaitingPayment,
    /// The amount shall be authorised.
    Paying {
        /// Which attempt, from 1.
        attempt: u32,
        /// What it waits for.
        waiting: Waiting,
    },
    /// The money is authorised; the order shall be placed, confirmed and captured.
    Completing {
        /// The attempt that worked.
        attempt: u32,
    },
    /// There is a paid order. The end.
    Completed {
        /// The order.
        order_id: OrderId,
        /// Its number.
        order_number: String,
    },
    /// What was done is being undone.
    Compensating {
        /// Why.
        cause: FailureCause,
    },
    /// Everything is undone. The end.
    Failed {
        /// Why.
        cause: FailureCause,
    },
}

/// What a payment under way waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Waiting {
    /// The provider's first answer.
    FirstAnswer,
    /// Something the shopper has to do.
    Action(PaymentAction),
    /// The provider's answer, which did not come in time.
    LateAnswer,
}

/// One attempt to pay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentAttempt {
    /// Its payment.
    pub payment_id: PaymentId,
    /// The provider's token of the card.
    pub payment_method: String,
}

/// A refusal of a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decline {
    /// The provider's code.
    pub code: String,
    /// What the shopper should do.
    pub advice: DeclineAdvice,
}

/// A step that does not go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// Which step.
    pub step: String,
    /// What it says.
    pub detail: String,
}

impl Checkout {
    /// The payment attempt with that number, from 1.
    pub fn attempt(&self, number: u32) -> Option<&PaymentAttempt> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.attempts.get(index)
    }

    /// Number of the last attempt; 0 before the first.
    pub fn last_attempt(&self) -> u32 {
        u32::try_from(self.attempts.len()).unwrap_or(u32::MAX)
    }

    /// Whether the process waits for the shopper, for time to pass or for a person, or has ended:
    /// what a client is answered.
    pub fn rests(&self) -> bool {
        match &self.phase {
            Phase::Absent => false,
            Phase::AwaitingPayment | Phase::Completed { .. } | Phase::Failed { .. } => true,
            Phase::Paying { waiting, .. } => {
                *waiting != Waiting::FirstAnswer || self.stuck.is_some()
            }
            Phase::Reserving | Phase::Completing { .. } | Phase::Compensating { .. } => {
                self.stuck.is_some()
            }
        }
    }

    /// What the shopper owes: as quoted, else what it began with. `None` before it began.
    pub fn due(&self) -> Option<Money> {
        let quoted = self.quote.as_ref().map(|quote| quote.total);
        quoted.or_else(|| self.started.as_ref().map(|started| started.total))
    }

    /// What is charged beside the lines, or taken off: as quoted, else what it began with.
    pub fn charges(&self) -> &[Charge] {
        let began = || self.started.as_ref().map_or(&[][..], |started| &started.charges);
        self.quote.as_ref().map_or_else(began, |quote| &quote.charges)
    }

    /// Whether the quote counts on a coupon.
    pub fn counts_on(&self, coupon: &str) -> bool {
        let mut applied = self.quote.iter().flat_map(|quote| &quote.pricing.coupons);
        applied.any(|applied| applied.code == coupon)
    }

    /// Country the goods go to: of the address, if there is one.
    pub fn country(&self) -> Option<&str> {
        let address = self.address.as_ref().map(|address| address.country.as_str());
        address.or_else(|| self.started.as_ref()?.country.as_deref())
    }

    /// The business time of a step taken now.
    pub fn business_time(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.started.as_ref().and_then(|started| started.backdated_to).unwrap_or(now)
    }

    /// Whether the hold is over.
    pub fn hold_ended(&self, now: DateTime<Utc>) -> bool {
        self.hold_until.is_some_and(|until| until <= now)
    }
}

impl Aggregate for Checkout {
    const TYPE: &'static str = "checkout";
    type Command = CheckoutCommand;
    type Event = CheckoutEvent;
    type Error = CheckoutError;
    type Services = ();

    async fn handle(
        &mut self,
        command: CheckoutCommand,
        _services: &(),
        sink: &EventSink<Self>,
    ) -> Result<(), CheckoutError> {
        for event in self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: CheckoutEvent) {
        if !matches!(event, CheckoutEvent::Stuck(_)) {
            self.stuck = None;
        }
        if let CheckoutEvent::AddressSet(_)
        | CheckoutEvent::ShippingChosen(_)
        | CheckoutEvent::Priced(_) = event
        {
            self.changes = self.changes.saturating_add(1);
        }
        match event {
            CheckoutEvent::Started(e) => {
                self.phase = Phase::Reserving;
                self.hold_until = Some(e.hold_until);
                self.started = Some(Box::new(e));
            }
            CheckoutEvent::StockSecured(_) => self.phase = self.phase_with_stock(),
            CheckoutEvent::AddressSet(e) => {
                self.address = Some(e);
                (self.shipping, self.quote) = (None, None);
            }
            CheckoutEvent::ShippingChosen(e) => {
                self.shipping = Some(e.option);
                self.quote = None;
            }
            CheckoutEvent::Priced(e) => {
                let coupons = e.quote.pricing.coupons.iter().map(|coupon| coupon.code.clone());
                self.coupons.extend(coupons);
                self.quote = Some(Box::new(e.quote));
            }
            CheckoutEvent::PaymentStarted(e) => {
                let (payment_id, payment_method) = (e.payment_id, e.payment_method);
                self.attempts.push(PaymentAttempt { payment_id, payment_method });
                self.last_decline = None;
                if self.phase != Phase::Reserving {
                    self.phase = self.phase_with_stock();
                }
            }
            CheckoutEvent::ActionRequired(e) => self.wait(e.attempt, Waiting::Action(e.action)),
            CheckoutEvent::PaymentUnclear(e) => self.wait(e.attempt, Waiting::LateAnswer),
            CheckoutEvent::PaymentDeclined(e) => {
                self.phase = Phase::AwaitingPayment;
                self.last_decline = Some(Decline { code: e.code, advice: e.advice });
            }
            CheckoutEvent::HoldExtended(e) => {
                self.extended = true;
                self.hold_until = Some(e.until);
            }
            CheckoutEvent::PaymentAuthorised(e) => {
                self.phase = Phase::Completing { attempt: e.attempt };
            }
            CheckoutEvent::Completed(e) => {
                let (order_id, order_number) = (e.order_id, e.order_number);
                self.phase = Phase::Completed { order_id, order_number };
            }
            CheckoutEvent::CompensationStarted(e) => {
                self.phase = Phase::Compensating { cause: e.cause };
            }
            CheckoutEvent::Failed(e) => self.phase = Phase::Failed { cause: e.cause },
            CheckoutEvent::Stuck(e) => {
                self.stuck = Some(Stuck { step: e.step, detail: e.detail });
            }
        }
    }
}

impl Checkout {
    fn phase_with_stock(&self) -> Phase {
        match self.last_attempt() {
            0 => Phase::AwaitingPayment,
            attempt => Phase::Paying { attempt, waiting: Waiting::FirstAnswer },
        }
    }

    fn wait(&mut self, attempt: u32, waiting: Waiting) {
        self.phase = Phase::Paying { attempt, waiting };
    }
}
