//! The rules of checkouts.

use chrono::{DateTime, Utc};
use event_schemas::{
    checkout::{
        CheckoutActionRequired, CheckoutCompensationStarted, CheckoutCompleted, CheckoutEvent,
        CheckoutFailed, CheckoutHoldExtended, CheckoutPaymentAuthorised, CheckoutPaymentDeclined,
        CheckoutPaymentUnclear, CheckoutPriced, CheckoutStarted, CheckoutStockSecured,
        CheckoutStuck, FailureCause, PaymentStarted, ShippingAddressSet, ShippingChosen,
    },
    ids::CheckoutId,
    money::Money,
    order::OrderLine,
    quote::{Quote, ShippingOption},
};

use super::{
    ATTEMPTS_MAX, BeginCheckout, CHANGES_MAX, Checkout, CheckoutCommand, CheckoutError,
    Destination, PAYMENT_METHOD_CHARS_MAX, Phase, Requirement, Terms, Waiting, payment_id,
};
use crate::pricing::are_bounded;

/// The time now and the business time.
type Times = (DateTime<Utc>, DateTime<Utc>);

type Decision = Result<Vec<CheckoutEvent>, CheckoutError>;

impl Checkout {
    /// Says what a command makes happen, given everything that happened before.
    pub fn decide(&self, command: CheckoutCommand) -> Decision {
        use CheckoutCommand as C;
        match (&self.phase, command) {
            (Phase::Absent, C::Begin(new)) => begin(*new),
            (_, C::Begin(_)) => Err(CheckoutError::AlreadyBegun),
            (Phase::Absent, _) => Err(CheckoutError::NotFound),
            (_, C::StartPayment { checkout_id, payment_method, terms, now, at }) => {
                self.may_start_payment(now)?;
                self.check_terms(terms, now)?;
                let started =
                    payment_started(checkout_id, self.last_attempt() + 1, payment_method, at)?;
                Ok(vec![CheckoutEvent::PaymentStarted(started)])
            }
            (_, C::SetAddress { destination, now, at }) => {
                self.may_change(now)?;
                Ok(vec![address_set(*destination, at)])
            }
            (_, C::ChooseShipping { option, now, at }) => self.choose_shipping(*option, (now, at)),
            (_, C::Price { quote, now, at }) => self.accept(*quote, (now, at)),
            (_, C::Abandon { at }) => {
                self.may_abandon()?;
                Ok(vec![compensation(FailureCause::Abandoned, at)])
            }
            (_, record) => Ok(self.record(record)),
        }
    }

    /// Whether a payment can begin.
    ///
    /// # Errors
    /// Why not.
    pub fn may_start_payment(&self, now: DateTime<Utc>) -> Result<(), CheckoutError> {
        self.is_shoppers_turn(now)?;
        if ATTEMPTS_MAX <= self.last_attempt() {
            return Err(CheckoutError::TooManyAttempts);
        }
        Ok(())
    }

    fn choose_shipping(&self, option: ShippingOption, (now, at): Times) -> Decision {
        self.may_change(now)?;
        if self.address.is_none() {
            return Err(CheckoutError::Incomplete { missing: vec![Requirement::Address] });
        }
        // The quote stays good for what it was made of.
        if self.shipping.as_ref() == Some(&option) {
            return Ok(vec![]);
        }
        Ok(vec![CheckoutEvent::ShippingChosen(ShippingChosen { option, at })])
    }

    fn accept(&self, quote: Quote, (now, at): Times) -> Decision {
        self.may_change(now)?;
        let lines = self.started.as_ref().map(|started| &started.lines);
        let chosen = self.shipping.as_ref().map(|option| &option.code);
        let carriage = quote.pricing.shipping.as_ref().map(|shipping| &shipping.code);
        if lines != Some(&quote.lines) || chosen != carriage {
            return Err(CheckoutError::QuoteOutdated);
        }
        if quote.expires_at <= now {
            return Err(CheckoutError::QuoteExpired);
        }
        Ok(vec![CheckoutEvent::Priced(CheckoutPriced { quote, at })])
    }

    /// What has to be known before it can be paid or priced, and is not.
    pub fn missing(&self, terms: &Terms) -> Vec<Requirement> {
        let located = terms.needs_shipping || terms.needs_tax;
        let coupons = self.started.as_ref().is_some_and(|started| !started.coupons.is_empty());
        let needs = [
            (located && self.address.is_none(), Requirement::Address),
            (terms.needs_shipping && self.shipping.is_none(), Requirement::Shipping),
            ((located || coupons) && self.quote.is_none(), Requirement::Quote),
        ];
        needs.into_iter().filter(|(missing, _)| *missing).map(|(_, what)| what).collect()
    }

    fn check_terms(&self, terms: Terms, now: DateTime<Utc>) -> Result<(), CheckoutError> {
        let missing = self.missing(&terms);
        if !missing.is_empty() {
            return Err(CheckoutError::Incomplete { missing });
        }
        if self.quote.as_ref().is_some_and(|quote| quote.expires_at <= now) {
            return Err(CheckoutError::QuoteExpired);
        }
        match self.due() {
            Some(due) if terms.expected_total.is_some_and(|expected| expected != due) => {
                Err(CheckoutError::AmountMismatch { due })
            }
            _ => Ok(()),
        }
    }

    /// Whether what it comes to may change.
    ///
    /// # Errors
    /// Why not.
    pub fn may_change(&self, now: DateTime<Utc>) -> Result<(), CheckoutError> {
        self.is_shoppers_turn(now)?;
        if CHANGES_MAX <= self.changes { Err(CheckoutError::TooManyChanges) } else { Ok(()) }
    }

    /// While no payment is under way, and the stock is held.
    fn is_shoppers_turn(&self, now: DateTime<Utc>) -> Result<(), CheckoutError> {
        match self.phase {
            Phase::Absent => Err(CheckoutError::NotFound),
            Phase::Reserving => Err(CheckoutError::StillReserving),
            Phase::Paying { .. } | Phase::Completing { .. } => {
                Err(CheckoutError::PaymentInProgress)
            }
            Phase::Completed { .. } => Err(CheckoutError::AlreadyCompleted),
            Phase::Compensating { .. } | Phase::Failed { .. } => Err(CheckoutError::AlreadyFailed),
            Phase::AwaitingPayment if self.hold_ended(now) => Err(CheckoutError::HoldEnded),
            Phase::AwaitingPayment => Ok(()),
        }
    }

    /// A payment whose fate is open cannot be given up: it may turn out to be paid.
    fn may_abandon(&self) -> Result<(), CheckoutError> {
        match self.phase {
            Phase::Absent => Err(CheckoutError::NotFound),
            Phase::Reserving if self.attempts.is_empty() => Ok(()),
            Phase::AwaitingPayment | Phase::Paying { waiting: Waiting::Action(_), .. } => Ok(()),
            Phase::Reserving | Phase::Paying { .. } | Phase::Completing { .. } => {
                Err(CheckoutError::PaymentInProgress)
            }
            Phase::Completed { .. } => Err(CheckoutError::AlreadyCompleted),
            Phase::Compensating { .. } | Phase::Failed { .. } => Err(CheckoutError::AlreadyFailed),
        }
    }

    /// What the process tells. A word that does not fit the phase is a repeat or late: no news.
    fn record(&self, command: CheckoutCommand) -> Vec<CheckoutEvent> {
        use CheckoutCommand as C;
        use CheckoutEvent as E;
        let event = match (&self.phase, command) {
            (Phase::Reserving, C::SecureStock { at }) => {
                E::StockSecured(CheckoutStockSecured { at })
            }
            (
                Phase::Paying { attempt: current, waiting },
                C::RequireAction { attempt, action, at },
            ) if *current == attempt && *waiting != Waiting::Action(action) => {
                E::ActionRequired(CheckoutActionRequired { attempt, action, at })
            }
            (Phase::Paying { attempt: current, waiting }, C::RecordUnclear { attempt, at })
                if *current == attempt && *waiting != Waiting::LateAnswer =>
            {
                E::PaymentUnclear(CheckoutPaymentUnclear { attempt, at })
            }
            (
                Phase::Paying { attempt: current, .. },
                C::RecordDeclined { attempt, code, advice, at },
            ) if *current == attempt => {
                E::PaymentDeclined(CheckoutPaymentDeclined { attempt, code, advice, at })
            }
            (Phase::Paying { attempt: current, .. }, C::RecordAuthorised { attempt, at })
                if *current == attempt =>
            {
                E::PaymentAuthorised(CheckoutPaymentAuthorised { attempt, at })
            }
            (Phase::Paying { .. }, C::ExtendHold { until, at }) if !self.extended => {
                E::HoldExtended(CheckoutHoldExtended { until, at })
            }
            (Phase::Completing { .. }, C::Complete { order_id, order_number, at }) => {
                E::Completed(CheckoutCompleted { order_id, order_number, at })
            }
            (
                Phase::Reserving
                | Phase::AwaitingPayment
                | Phase::Paying { .. }
                | Phase::Completing { .. },
                C::StartCompensation { cause, at },
            ) => compensation(cause, at),
            (Phase::Compensating { cause }, C::Fail { at }) => {
                E::Failed(CheckoutFailed { cause: cause.clone(), at })
            }
            (phase, C::MarkStuck { step, detail, at })
                if !phase.is_end()
                    && self.stuck.as_ref().is_none_or(|stuck| stuck.step != step) =>
            {
                E::Stuck(CheckoutStuck { step, detail, at })
            }
            _ => return vec![],
        };
        vec![event]
    }
}

impl Phase {
    /// Whether nothing can happen any more.
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Completed { .. } | Self::Failed { .. })
    }
}

fn begin(new: BeginCheckout) -> Decision {
    if new.lines.iter().any(|line| line.quantity == 0) {
        return Err(CheckoutError::QuantityZero);
    }
    let total = total(&new)?;
    if total.amount_minor < 0 {
        return Err(CheckoutError::NegativeTotal { total });
    }
    let payment = new
        .payment_method
        .map(|method| payment_started(new.checkout_id, 1, method, new.at))
        .transpose()?;
    let started = CheckoutEvent::Started(CheckoutStarted {
        lines: new.lines,
        charges: new.charges,
        total,
        customer_reference: new.customer_reference,
        country: new.country,
        cart_id: new.cart_id,
        coupons: new.coupons,
        channel: new.channel,
        order_number: new.order_number,
        hold_until: new.hold_until,
        backdated_to: new.backdated_to,
        at: new.at,
    });
    Ok(std::iter::once(started).chain(payment.map(CheckoutEvent::PaymentStarted)).collect())
}

fn total(new: &BeginCheckout) -> Result<Money, CheckoutError> {
    let lines: Option<Vec<Money>> = new.lines.iter().map(OrderLine::total).collect();
    let lines = lines.ok_or(CheckoutError::NoTotal)?;
    let amounts = || lines.iter().copied().chain(new.charges.iter().map(|charge| charge.amount));
    let first = amounts().next().ok_or(CheckoutError::Empty)?;
    let total = Money::sum(first.currency, amounts()).ok_or(CheckoutError::NoTotal)?;
    if are_bounded(amounts()) { Ok(total) } else { Err(CheckoutError::TotalTooHigh) }
}

fn payment_started(
    checkout_id: CheckoutId,
    attempt: u32,
    payment_method: String,
    at: DateTime<Utc>,
) -> Result<PaymentStarted, CheckoutError> {
    if !(1..=PAYMENT_METHOD_CHARS_MAX).contains(&payment_method.chars().count()) {
        return Err(CheckoutError::BadPaymentMethod);
    }
    let payment_id = payment_id(checkout_id, attempt);
    Ok(PaymentStarted { attempt, payment_id, payment_method, at })
}

fn address_set(destination: Destination, at: DateTime<Utc>) -> CheckoutEvent {
    let Destination { address, country, region, postcode_prefix } = destination;
    CheckoutEvent::AddressSet(ShippingAddressSet { address, country, region, postcode_prefix, at })
}

fn compensation(cause: FailureCause, at: DateTime<Utc>) -> CheckoutEvent {
    CheckoutEvent::CompensationStarted(CheckoutCompensationStarted { cause, at })
}
