//! The rules of stock.

use std::cmp::Reverse;

use super::{
    Allocation, CheckoutId, Correction, DateTime, Hold, Level, LocationQuantity, MAIN_LOCATION,
    OrderId, PlaceChoice, Receipt, ReleaseCause, Shipment, StockAdjusted, StockAllocated,
    StockDeallocated, StockItem, StockItemCommand, StockItemError, StockItemEvent, StockReceived,
    StockReservationExtended, StockReservationReleased, StockReserved, StockShipped, Utc, check,
    units,
};

/// Holds one decision releases on its way, because a command makes 500 events at most. Timers
/// release each hold at its end, so that more are over only after an outage; until they have
/// caught up, a decision may find too little.
const SWEEP_MAX: usize = 400;

/// Events, or why not.
type Decision = Result<Vec<StockItemEvent>, StockItemError>;

impl StockItem {
    /// Says what a command makes happen, given everything that happened before.
    ///
    /// A hold that is over counts for nothing, swept or not. Whoever needs the units first
    /// releases all such holds in the same decision, so that no moment of the history has more
    /// promised than there is.
    pub fn decide(&self, command: StockItemCommand) -> Decision {
        match command {
            StockItemCommand::Receive { receipt, at } => self.receive(receipt, at),
            StockItemCommand::Adjust { correction, at } => self.adjust(correction, at),
            StockItemCommand::Require { quantity, at } => {
                check::quantity(quantity)?;
                self.require(quantity, at)
            }
            StockItemCommand::Reserve { reservation_id, quantity, until, at } => {
                check::quantity(quantity)?;
                check::hold_end(until, at)?;
                self.reserve(reservation_id, quantity, until, at)
            }
            StockItemCommand::ExtendHold { reservation_id, until, at } => {
                self.extend_hold(reservation_id, until, at)
            }
            StockItemCommand::Release { reservation_id, cause, at } => {
                Ok(self.release(reservation_id, cause, at))
            }
            StockItemCommand::Allocate { reservation_id, order_id, quantity, at } => {
                check::quantity(quantity)?;
                self.allocate(reservation_id, order_id, quantity, at)
            }
            StockItemCommand::Deallocate { order_id, reference, quantity, at } => {
                check::code(&reference, "/reference")?;
                quantity.map_or(Ok(()), check::quantity)?;
                self.deallocate(order_id, reference, quantity, at)
            }
            StockItemCommand::Ship { shipment, at } => {
                check::code(&shipment.reference, "/reference")?;
                check::location(&shipment.location)?;
                check::quantity(shipment.quantity)?;
                self.ship(shipment, at)
            }
        }
    }

    fn receive(&self, receipt: Receipt, at: DateTime<Utc>) -> Decision {
        let Receipt { location, quantity, source, unit_cost, reference } = receipt;
        self.check_place(&location)?;
        check::quantity(quantity)?;
        unit_cost.map_or(Ok(()), check::unit_cost)?;
        reference.as_deref().map_or(Ok(()), |text| check::code(text, "/reference"))?;
        let on_hand = self.on_hand(&location) + u64::from(quantity);
        check::on_hand(on_hand, "/quantity")?;
        let received = StockReceived { location, quantity, source, unit_cost, reference, at };
        Ok(vec![StockItemEvent::Received(received)])
    }

    fn adjust(&self, correction: Correction, at: DateTime<Utc>) -> Decision {
        let Correction { location, delta, reason, reference, expected_on_hand } = correction;
        self.check_place(&location)?;
        check::delta(delta)?;
        check::reason(&reason)?;
        reference.as_deref().map_or(Ok(()), |text| check::code(text, "/reference"))?;
        let on_hand = self.on_hand(&location);
        if let Some(expected) = expected_on_hand.filter(|&expected| expected != on_hand) {
            return Err(StockItemError::CompareFailed { expected, actual: on_hand });
        }
        // Units of holds that are over are needed only if there will be fewer units than before.
        let over = if delta < 0 { self.over(None, at) } else { vec![] };
        let levels = self.levels_without(over.iter().map(|(_, hold)| *hold));
        let level = levels.iter().find(|level| level.location == location);
        let committed = level.map_or(0, |level| level.reserved + level.allocated);
        let after = on_hand.checked_add_signed(delta).filter(|&after| committed <= after);
        let after = after.ok_or(StockItemError::BelowCommitted { on_hand, committed, delta })?;
        check::on_hand(after, "/delta")?;
        let mut events = sweep(&over, at);
        let adjusted = StockAdjusted { location, delta, reason, reference, at };
        events.push(StockItemEvent::Adjusted(adjusted));
        Ok(events)
    }

    fn require(&self, quantity: u32, at: DateTime<Utc>) -> Decision {
        if self.places.is_empty() {
            return Ok(vec![]);
        }
        self.choose(quantity, &self.over(None, at)).map(|_| vec![])
    }

    fn reserve(
        &self,
        reservation_id: CheckoutId,
        quantity: u32,
        until: DateTime<Utc>,
        at: DateTime<Utc>,
    ) -> Decision {
        if let Some((held, _)) = self.hold(reservation_id, at) {
            check::same_quantity(held, quantity)?;
            return Ok(vec![]);
        }
        let over = self.over(Some(reservation_id), at);
        let (parts, reason) = self.choose(quantity, &over)?;
        let mut events = sweep(&over, at);
        let reserved = StockReserved { reservation_id, parts, reason, until, at };
        events.push(StockItemEvent::Reserved(reserved));
        Ok(events)
    }

    fn extend_hold(
        &self,
        reservation_id: CheckoutId,
        until: DateTime<Utc>,
        at: DateTime<Utc>,
    ) -> Decision {
        let hold = self.holds.get(&reservation_id).filter(|hold| at < hold.until);
        let hold = hold.ok_or(StockItemError::HoldNotFound)?;
        if hold.extended && hold.until == until {
            return Ok(vec![]);
        }
        if hold.extended {
            return Err(StockItemError::HoldAlreadyExtended);
        }
        check::hold_end(until, at)?;
        if until <= hold.until {
            return Err(StockItemError::HoldEndInvalid);
        }
        let extended = StockReservationExtended { reservation_id, until, at };
        Ok(vec![StockItemEvent::ReservationExtended(extended)])
    }

    fn release(
        &self,
        reservation_id: CheckoutId,
        cause: ReleaseCause,
        at: DateTime<Utc>,
    ) -> Vec<StockItemEvent> {
        let due = |until| cause != ReleaseCause::Expired || until <= at;
        let hold = self.holds.get(&reservation_id).filter(|hold| due(hold.until));
        hold.map(|hold| released(reservation_id, hold, cause, at)).into_iter().collect()
    }

    fn allocate(
        &self,
        reservation_id: CheckoutId,
        order_id: OrderId,
        quantity: u32,
        at: DateTime<Utc>,
    ) -> Decision {
        if self.allocations.contains_key(&order_id) {
            return Ok(vec![]);
        }
        let allocated = |parts| {
            StockItemEvent::Allocated(StockAllocated { reservation_id, order_id, parts, at })
        };
        if let Some(hold) = self.holds.get(&reservation_id).filter(|hold| at < hold.until) {
            check::same_quantity(units(&hold.parts), quantity)?;
            return Ok(vec![allocated(hold.parts.clone())]);
        }
        // The money came after the hold was over: first come, first served among what is free.
        let over = self.over(Some(reservation_id), at);
        let (parts, reason) = self.choose(quantity, &over)?;
        let mut events = sweep(&over, at);
        // A hold of no length, so that every allocation in the log ends one: whoever counts what
        // is held takes its units off.
        let held = StockReserved { reservation_id, parts: parts.clone(), reason, until: at, at };
        events.push(StockItemEvent::Reserved(held));
        events.push(allocated(parts));
        Ok(events)
    }

    fn deallocate(
        &self,
        order_id: OrderId,
        reference: String,
        quantity: Option<u32>,
        at: DateTime<Utc>,
    ) -> Decision {
        let nothing = Allocation::default();
        let allocation = self.allocations.get(&order_id).unwrap_or(&nothing);
        if allocation.references.contains(&reference) {
            return Ok(vec![]);
        }
        let allocated = units(&allocation.parts);
        let requested = quantity.unwrap_or(allocated);
        if allocated < requested {
            return Err(StockItemError::NotAllocated { requested, allocated });
        }
        if requested == 0 {
            return Ok(vec![]);
        }
        let parts = take(requested, &allocation.parts);
        let deallocated = StockDeallocated { order_id, reference, parts, at };
        Ok(vec![StockItemEvent::Deallocated(deallocated)])
    }

    fn ship(&self, shipment: Shipment, at: DateTime<Utc>) -> Decision {
        let Shipment { order_id, reservation_id, reference, location, quantity } = shipment;
        let nothing = Allocation::default();
        let allocation = self.allocations.get(&order_id).unwrap_or(&nothing);
        if allocation.references.contains(&reference) {
            return Ok(vec![]);
        }
        let allocated = units(&allocation.parts);
        if allocated < quantity {
            return Err(StockItemError::NotAllocated { requested: quantity, allocated });
        }
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            allocation.parts.iter().cloned().partition(|part| part.location == location);
        let short = quantity.saturating_sub(units(&here));
        let mut events = vec![];
        if 0 < short {
            let over = self.over(None, at);
            let levels = self.levels_without(over.iter().map(|(_, hold)| *hold));
            let level = levels.iter().find(|level| level.location == location);
            let free = level.map_or(0, |level| level.available);
            if free < u64::from(short) {
                let available = free + u64::from(units(&here));
                return Err(StockItemError::InsufficientStock { requested: quantity, available });
            }
            events.extend(sweep(&over, at));
            // The order changes places first, in the events that everybody knows.
            let (parts, moved) = (take(short, &elsewhere), format!("{reference}/moved"));
            let freed = StockDeallocated { order_id, reference: moved, parts, at };
            events.push(StockItemEvent::Deallocated(freed));
            let parts = vec![LocationQuantity { location: location.clone(), quantity: short }];
            let (held, reason) = (parts.clone(), PlaceChoice::AsShipped);
            let held = StockReserved { reservation_id, parts: held, reason, until: at, at };
            events.push(StockItemEvent::Reserved(held));
            let given = StockAllocated { reservation_id, order_id, parts, at };
            events.push(StockItemEvent::Allocated(given));
        }
        let parts = vec![LocationQuantity { location, quantity }];
        let shipped = StockShipped { order_id, reference, parts, at };
        events.push(StockItemEvent::Shipped(shipped));
        Ok(events)
    }

    /// Holds that are over and shall be released, at most [`SWEEP_MAX`]: the caller's own first,
    /// because a hold is released before the same checkout gets another.
    fn over(&self, own: Option<CheckoutId>, at: DateTime<Utc>) -> Vec<(CheckoutId, &Hold)> {
        let over = self.holds.iter().filter(|(_, hold)| hold.until <= at);
        let mut over: Vec<_> = over.map(|(&id, hold)| (id, hold)).collect();
        over.sort_by_key(|&(id, _)| Some(id) != own);
        over.truncate(SWEEP_MAX);
        over
    }

    /// Which places serve `quantity` free units, and why these.
    ///
    /// The first place that has them all, `main` before the others by name: one parcel. Otherwise
    /// as few places as possible, those with most first. Equal stock, equal choice.
    fn choose(
        &self,
        quantity: u32,
        over: &[(CheckoutId, &Hold)],
    ) -> Result<(Vec<LocationQuantity>, PlaceChoice), StockItemError> {
        let levels = self.levels_without(over.iter().map(|(_, hold)| *hold));
        let available = levels.iter().map(|level| level.available).sum();
        if available < u64::from(quantity) {
            return Err(StockItemError::InsufficientStock { requested: quantity, available });
        }
        let free = |level: Level| LocationQuantity {
            location: level.location,
            quantity: u32::try_from(level.available).expect("ON_HAND_MAX fits"),
        };
        let mut free: Vec<_> = levels.into_iter().map(free).collect();
        // Stable: by name from the map, then `main` to the front.
        free.sort_by_key(|place| place.location != MAIN_LOCATION);
        if let Some(nth) = free.iter().position(|place| quantity <= place.quantity) {
            let location = free[nth].location.clone();
            let reason = if nth == 0 { PlaceChoice::FirstPlace } else { PlaceChoice::FirstWithAll };
            return Ok((vec![LocationQuantity { location, quantity }], reason));
        }
        free.sort_by_key(|place| Reverse(place.quantity));
        Ok((take(quantity, &free), PlaceChoice::FewestPlaces))
    }

    fn on_hand(&self, location: &str) -> u64 {
        self.places.get(location).map_or(0, |place| place.on_hand)
    }

    fn check_place(&self, location: &str) -> Result<(), StockItemError> {
        check::location(location)?;
        if !self.places.contains_key(location) && check::LOCATIONS_MAX <= self.places.len() {
            return Err(StockItemError::TooManyLocations);
        }
        Ok(())
    }
}

fn sweep(over: &[(CheckoutId, &Hold)], at: DateTime<Utc>) -> Vec<StockItemEvent> {
    over.iter().map(|&(id, hold)| released(id, hold, ReleaseCause::Expired, at)).collect()
}

fn released(
    reservation_id: CheckoutId,
    hold: &Hold,
    cause: ReleaseCause,
    at: DateTime<Utc>,
) -> StockItemEvent {
    let parts = hold.parts.clone();
    let released = StockReservationReleased { reservation_id, parts, cause, at };
    StockItemEvent::ReservationReleased(released)
}

/// The first `quantity` units of `parts`, which hold at least as many.
fn take(quantity: u32, parts: &[LocationQuantity]) -> Vec<LocationQuantity> {
    let mut left = quantity;
    let mut taken = vec![];
    for part in parts {
        let quantity = left.min(part.quantity);
        if quantity == 0 {
            break;
        }
        left -= quantity;
        taken.push(LocationQuantity { location: part.location.clone(), quantity });
    }
    taken
}
