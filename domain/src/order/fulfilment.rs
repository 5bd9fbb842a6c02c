//! Parcels of an order: what may be packed, sent and kept back.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use event_schemas::{
    fulfilment::{
        FulfilmentCancelled, FulfilmentCreated, FulfilmentDelivered, FulfilmentLine,
        FulfilmentShipped, Tracking,
    },
    ids::{FulfilmentId, LineId, RefundId, VariantId},
    order::{OrderEvent, OrderLine, OrderRefundRequested, RefundLine, Restock},
    store::CaptureMoment,
};
use serde::{Deserialize, Serialize};

use super::{OrderError, OrderStatus, Placed, Refund, RefundState, rules, state::sum_units};

/// Parcels of one order, cancelled ones included: more is a loop somewhere.
pub const FULFILMENTS_MAX: usize = 200;

/// Longest code of a place, in characters; as stock has them.
pub const LOCATION_CHARS_MAX: usize = 64;

/// Longest name of a carrier and number of a parcel, in characters: the numbers of postal services
/// have at most 35.
pub const TRACKING_CHARS_MAX: usize = 64;

/// Longest address of a carrier's page, in characters.
pub const TRACKING_URL_CHARS_MAX: usize = 500;

/// A parcel that shall be packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFulfilment {
    /// The parcel; asking for the same one again changes nothing.
    pub fulfilment_id: FulfilmentId,
    /// Code of the place it leaves from: 1 to [`LOCATION_CHARS_MAX`] of `a-z`, `0-9`, `-` and `_`.
    pub location: String,
    /// What is in it; the same line may stand there twice.
    pub lines: Vec<FulfilmentLine>,
    /// When.
    pub at: DateTime<Utc>,
}

/// A parcel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fulfilment {
    /// Where it leaves from.
    pub location: String,
    /// What is in it, each line once.
    pub lines: Vec<FulfilmentLine>,
    /// How far it is.
    pub state: FulfilmentState,
    /// When its state last changed.
    pub at: DateTime<Utc>,
}

/// How far a parcel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FulfilmentState {
    /// It is being packed.
    Pending,
    /// It left.
    Shipped,
    /// It arrived.
    Delivered,
    /// It never left and will not.
    Cancelled,
}

impl FulfilmentState {
    fn has_left(self) -> bool {
        matches!(self, Self::Shipped | Self::Delivered)
    }
}

impl std::fmt::Display for FulfilmentState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Shipped => "shipped",
            Self::Delivered => "delivered",
            Self::Cancelled => "cancelled",
        })
    }
}

/// What counts of an order's units.
impl Placed {
    /// Units of a line that are neither in a parcel nor cancelled.
    pub fn open_units(&self, line: &OrderLine) -> u32 {
        let packed = self.parcel_units(line, |state| state != FulfilmentState::Cancelled);
        line.quantity - packed - self.refunded(line, Restock::Cancel)
    }

    /// Units of a line that left the house.
    pub(super) fn shipped_units(&self, line: &OrderLine) -> u32 {
        self.parcel_units(line, FulfilmentState::has_left)
    }

    /// Units of a line that left, and whose refund says neither that they came back nor that they
    /// will not.
    pub(super) fn away_units(&self, line: &OrderLine) -> u32 {
        let settled = self.refunded(line, Restock::Return) + self.refunded(line, Restock::None);
        self.shipped_units(line) - settled
    }

    /// Whether a parcel left.
    pub fn has_shipped(&self) -> bool {
        self.fulfilments.values().any(|fulfilment| fulfilment.state.has_left())
    }

    /// Whether its money waits for the first parcel, and that has left.
    pub fn awaits_capture(&self) -> bool {
        let waits = self.capture == CaptureMoment::OnShipment && self.paid.is_none();
        waits && self.status == OrderStatus::Confirmed && self.has_shipped()
    }

    /// Units per variant, by variant id, that are in a parcel.
    pub fn units_of(&self, fulfilment: &Fulfilment) -> BTreeMap<VariantId, u32> {
        sum_units(fulfilment.lines.iter().filter_map(|packed| {
            let line = self.line(packed.line_id)?;
            Some((line.variant_id, packed.quantity))
        }))
    }

    /// Units that a refund brings back to the shelf they left from.
    pub fn returned_units(&self, refund: &Refund) -> Vec<(VariantId, String, u32)> {
        let back = refund.lines.iter().filter(|line| line.restock == Restock::Return);
        back.filter_map(|back| {
            let line = self.line(back.line_id)?;
            let mut parcels = self.fulfilments.values().filter(|parcel| parcel.state.has_left());
            let holds = |packed: &FulfilmentLine| packed.line_id == back.line_id;
            let parcel = parcels.find(|parcel| parcel.lines.iter().any(holds))?;
            Some((line.variant_id, parcel.location.clone(), back.quantity))
        })
        .collect()
    }

    /// The line with an id.
    pub fn line(&self, id: LineId) -> Option<&OrderLine> {
        self.lines.iter().find(|line| line.line_id == id)
    }

    fn parcel_units(&self, line: &OrderLine, counts: impl Fn(FulfilmentState) -> bool) -> u32 {
        let parcels = self.fulfilments.values().filter(|parcel| counts(parcel.state));
        let own = parcels.flat_map(|parcel| &parcel.lines);
        own.filter(|packed| packed.line_id == line.line_id).map(|packed| packed.quantity).sum()
    }

    /// Units of a line that live refunds treat that way.
    pub(super) fn refunded(&self, line: &OrderLine, restock: Restock) -> u32 {
        let counted = self.refunds.values().filter(|refund| refund.state != RefundState::Failed);
        let own = counted.flat_map(|refund| &refund.lines).filter(|r| r.line_id == line.line_id);
        own.filter(|line| line.restock == restock).map(|line| line.quantity).sum()
    }
}

type Decision = Result<Vec<OrderEvent>, OrderError>;

/// The rules.
impl Placed {
    pub(super) fn create_fulfilment(&self, new: NewFulfilment) -> Decision {
        let NewFulfilment { fulfilment_id, location, lines, at } = new;
        if self.fulfilments.contains_key(&fulfilment_id) {
            return Ok(vec![]);
        }
        self.check_may_be_fulfilled()?;
        if FULFILMENTS_MAX <= self.fulfilments.len() {
            return Err(OrderError::TooManyFulfilments);
        }
        check_location(&location)?;
        let lines = self.packed(&lines)?;
        let created = FulfilmentCreated { fulfilment_id, location, lines, at };
        Ok(vec![OrderEvent::FulfilmentCreated(created)])
    }

    /// Whether the parcel could be packed, as far as the order is concerned.
    pub fn allows(&self, new: &NewFulfilment) -> bool {
        self.create_fulfilment(new.clone()).is_ok()
    }

    /// Each line once, if as many units are open.
    fn packed(&self, lines: &[FulfilmentLine]) -> Result<Vec<FulfilmentLine>, OrderError> {
        if lines.is_empty() {
            return Err(OrderError::FulfilmentEmpty);
        }
        let mut packed: Vec<FulfilmentLine> = vec![];
        for FulfilmentLine { line_id, quantity } in lines.iter().copied() {
            let line = self.line(line_id).ok_or(OrderError::UnknownLine { line_id })?;
            if quantity == 0 {
                return Err(OrderError::QuantityZero);
            }
            let open = self.open_units(line);
            let twice = packed.iter_mut().find(|packed| packed.line_id == line_id);
            let sum = twice.as_ref().map_or(0, |packed| packed.quantity).saturating_add(quantity);
            if open < sum {
                return Err(OrderError::ExceedsOpen { line_id, open });
            }
            match twice {
                Some(packed) => packed.quantity = sum,
                None => packed.push(FulfilmentLine { line_id, quantity }),
            }
        }
        Ok(packed)
    }

    fn check_may_be_fulfilled(&self) -> Result<(), OrderError> {
        match self.status {
            OrderStatus::Paid => Ok(()),
            OrderStatus::Confirmed if self.capture == CaptureMoment::OnShipment => Ok(()),
            OrderStatus::Placed | OrderStatus::Confirmed => Err(OrderError::NotPaidYet),
            OrderStatus::Cancelling | OrderStatus::Cancelled => Err(OrderError::AlreadyCancelled),
        }
    }

    pub(super) fn ship(
        &self,
        fulfilment_id: FulfilmentId,
        tracking: Option<Tracking>,
        at: DateTime<Utc>,
    ) -> Decision {
        match self.fulfilment(fulfilment_id)?.state {
            FulfilmentState::Pending => {
                tracking.as_ref().map_or(Ok(()), check_tracking)?;
                let shipped = FulfilmentShipped { fulfilment_id, tracking, at };
                Ok(vec![OrderEvent::FulfilmentShipped(shipped)])
            }
            FulfilmentState::Shipped | FulfilmentState::Delivered => Ok(vec![]),
            from @ FulfilmentState::Cancelled => {
                Err(OrderError::FulfilmentIs { from, command: "be shipped" })
            }
        }
    }

    pub(super) fn deliver(&self, fulfilment_id: FulfilmentId, at: DateTime<Utc>) -> Decision {
        match self.fulfilment(fulfilment_id)?.state {
            FulfilmentState::Shipped => {
                let delivered = FulfilmentDelivered { fulfilment_id, at };
                Ok(vec![OrderEvent::FulfilmentDelivered(delivered)])
            }
            FulfilmentState::Delivered => Ok(vec![]),
            from @ (FulfilmentState::Pending | FulfilmentState::Cancelled) => {
                Err(OrderError::FulfilmentIs { from, command: "be delivered" })
            }
        }
    }

    pub(super) fn cancel_fulfilment(
        &self,
        fulfilment_id: FulfilmentId,
        reason: String,
        at: DateTime<Utc>,
    ) -> Decision {
        match self.fulfilment(fulfilment_id)?.state {
            FulfilmentState::Pending => {
                let reason = rules::checked_reason(reason)?;
                let cancelled = FulfilmentCancelled { fulfilment_id, reason, at };
                Ok(vec![OrderEvent::FulfilmentCancelled(cancelled)])
            }
            FulfilmentState::Cancelled => Ok(vec![]),
            FulfilmentState::Shipped | FulfilmentState::Delivered => {
                Err(OrderError::AlreadyShipped)
            }
        }
    }

    /// What has not left shall not leave: every parcel that is being packed.
    pub(super) fn stop_parcels(&self, reason: &str, at: DateTime<Utc>) -> Vec<OrderEvent> {
        let parcels = self.fulfilments.iter();
        let pending = parcels.filter(|(_, parcel)| parcel.state == FulfilmentState::Pending);
        let cancelled = |(&fulfilment_id, _)| {
            let reason = reason.to_owned();
            let cancelled = FulfilmentCancelled { fulfilment_id, reason, at };
            OrderEvent::FulfilmentCancelled(cancelled)
        };
        pending.map(cancelled).collect()
    }

    /// Of an order of which some has left, the rest is cancelled and its money goes back. What has
    /// left can only come back.
    pub(super) fn cancel_rest(
        &self,
        refund_id: RefundId,
        reason: String,
        at: DateTime<Utc>,
    ) -> Decision {
        if self.refunds.contains_key(&refund_id) {
            return Ok(vec![]);
        }
        if self.status != OrderStatus::Paid {
            return Err(OrderError::NotPaidYet);
        }
        let rest = self.lines.iter().map(|line| {
            let gone = self.shipped_units(line) + self.refunded(line, Restock::Cancel);
            (line.line_id, line.quantity - gone)
        });
        let rest: Vec<_> = rest.filter(|(_, quantity)| *quantity > 0).collect();
        if rest.is_empty() {
            return Err(OrderError::AlreadyShipped);
        }
        let reason = rules::checked_reason(reason)?;
        let amount = self.suggest_refund(&rest)?.amount;
        if amount.amount_minor <= 0 {
            return Err(OrderError::AmountNotPositive);
        }
        let restock = Restock::Cancel;
        let line = |(line_id, quantity)| RefundLine { line_id, quantity, restock };
        let lines = rest.into_iter().map(line).collect();
        let mut events = self.stop_parcels(&reason, at);
        let reference = None;
        let requested = OrderRefundRequested { refund_id, reference, amount, lines, reason, at };
        events.push(OrderEvent::RefundRequested(requested));
        Ok(events)
    }

    fn fulfilment(&self, id: FulfilmentId) -> Result<&Fulfilment, OrderError> {
        self.fulfilments.get(&id).ok_or(OrderError::UnknownFulfilment)
    }

    pub(super) fn move_parcel(
        &mut self,
        id: FulfilmentId,
        state: FulfilmentState,
        at: DateTime<Utc>,
    ) {
        if let Some(fulfilment) = self.fulfilments.get_mut(&id) {
            (fulfilment.state, fulfilment.at) = (state, at);
        }
    }
}

fn check_location(location: &str) -> Result<(), OrderError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if !(1..=LOCATION_CHARS_MAX).contains(&location.len()) || !location.bytes().all(plain) {
        return Err(OrderError::LocationInvalid);
    }
    Ok(())
}

fn check_tracking(tracking: &Tracking) -> Result<(), OrderError> {
    let Tracking { carrier, number, url } = tracking;
    for (text, at) in [(carrier, "/tracking/carrier"), (number, "/tracking/number")] {
        let long = TRACKING_CHARS_MAX < text.chars().count();
        if text.trim().is_empty() || long || text.chars().any(char::is_control) {
            return Err(OrderError::TrackingInvalid { at });
        }
    }
    let Some(url) = url else { return Ok(()) };
    // Shown to shoppers as a link: nothing but an address of the web, with a host.
    let host = url.strip_prefix("https://").filter(|rest| !rest.is_empty());
    let plain = url.bytes().all(|byte| byte.is_ascii_graphic());
    if host.is_none() || !plain || TRACKING_URL_CHARS_MAX < url.len() {
        return Err(OrderError::TrackingInvalid { at: "/tracking/url" });
    }
    Ok(())
}
