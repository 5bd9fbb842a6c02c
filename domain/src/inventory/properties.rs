//! What holds after any sequence of commands.

use std::collections::BTreeMap;

use chrono::Duration;
use proptest::prelude::*;

use super::*;
use crate::stored::{HISTORIES, reached, survives};

proptest! {
    #[test]
    fn every_prefix_of_every_history_adds_up(
        commands in proptest::collection::vec(command(), 1..60)
    ) {
        let mut item = StockItem::default();
        let mut seen = Books::default();
        for command in commands {
            for event in item.decide(command.clone()).unwrap_or_default() {
                seen.note(&event);
                item.apply(event);
                seen.agree_with(&item)?;
            }
            if repeatable(&command) {
                // Refused as before, or already done.
                let again = item.decide(command.clone()).unwrap_or_default();
                prop_assert!(again.is_empty(), "{:?} acted twice", command);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(HISTORIES))]
    #[test]
    fn a_state_that_was_stored_decides_as_before(commands in commands()) {
        survives(commands, StockItem::decide);
    }
}

#[test]
fn the_commands_reach_every_event() {
    let reached = reached::<StockItem>(&commands(), StockItem::decide);
    assert_eq!(reached.len(), 8, "{reached:?}");
}

fn commands() -> impl Strategy<Value = Vec<StockItemCommand>> {
    proptest::collection::vec(command(), 1..40)
}

/// The same facts, kept in another way: whole lists instead of running sums.
#[derive(Default)]
struct Books {
    on_hand: BTreeMap<String, i64>,
    holds: BTreeMap<CheckoutId, Vec<LocationQuantity>>,
    owned: BTreeMap<String, i64>,
}

impl Books {
    fn note(&mut self, event: &StockItemEvent) {
        match event {
            StockItemEvent::Received(e) => {
                *self.on_hand.entry(e.location.clone()).or_default() += i64::from(e.quantity);
            }
            StockItemEvent::Adjusted(e) => {
                *self.on_hand.entry(e.location.clone()).or_default() += e.delta;
            }
            StockItemEvent::Reserved(e) => {
                let before = self.holds.insert(e.reservation_id, e.parts.clone());
                assert_eq!(before, None, "a checkout has one hold");
            }
            StockItemEvent::ReservationExtended(e) => {
                assert!(self.holds.contains_key(&e.reservation_id));
            }
            StockItemEvent::ReservationReleased(e) => {
                assert_eq!(self.holds.remove(&e.reservation_id).as_ref(), Some(&e.parts));
            }
            StockItemEvent::Allocated(e) => {
                let held = self.holds.remove(&e.reservation_id);
                assert_eq!(held.as_ref(), Some(&e.parts), "an order gets what was held");
                self.own(&e.parts, 1);
            }
            StockItemEvent::Deallocated(e) => self.own(&e.parts, -1),
            StockItemEvent::Shipped(e) => {
                self.own(&e.parts, -1);
                for part in &e.parts {
                    let on_hand = self.on_hand.entry(part.location.clone()).or_default();
                    *on_hand -= i64::from(part.quantity);
                }
            }
        }
    }

    fn own(&mut self, parts: &[LocationQuantity], sign: i64) {
        for part in parts {
            let owned = self.owned.entry(part.location.clone()).or_default();
            *owned += sign * i64::from(part.quantity);
        }
    }

    fn agree_with(&self, item: &StockItem) -> Result<(), TestCaseError> {
        // Before every hold began, each counts: the strictest moment.
        for level in item.levels(DateTime::<Utc>::MIN_UTC) {
            let of = |books: &BTreeMap<String, i64>| books.get(&level.location).copied();
            let held: u64 = self
                .holds
                .values()
                .flatten()
                .filter(|part| part.location == level.location)
                .map(|part| u64::from(part.quantity))
                .sum();
            prop_assert_eq!(
                i64::try_from(level.on_hand).ok(),
                Some(of(&self.on_hand).unwrap_or(0))
            );
            prop_assert_eq!(
                i64::try_from(level.allocated).ok(),
                Some(of(&self.owned).unwrap_or(0))
            );
            prop_assert_eq!(level.reserved, held);
            prop_assert!(level.reserved + level.allocated <= level.on_hand, "{:?}", level);
        }
        Ok(())
    }
}

/// Commands that a process may send again. `Receive` and `Adjust` are protected by their command
/// id alone.
fn repeatable(command: &StockItemCommand) -> bool {
    !matches!(command, StockItemCommand::Receive { .. } | StockItemCommand::Adjust { .. })
}

fn command() -> impl Strategy<Value = StockItemCommand> {
    let location = || prop_oneof![Just("main"), Just("attic"), Just("shop")];
    let checkout = || (0..6_u8).prop_map(|n| CheckoutId::derive(&[&[n]]));
    let order = || (0..6_u8).prop_map(|n| OrderId::derive(&[&[n]]));
    let cause = prop_oneof![Just(ReleaseCause::Expired), Just(ReleaseCause::Cancelled)];
    prop_oneof![
        3 => (location(), 1..8_u32, moment()).prop_map(|(location, quantity, at)| {
            let (location, source) = (location.to_owned(), StockSource::Purchase);
            let receipt = Receipt { location, quantity, source, unit_cost: None, reference: None };
            StockItemCommand::Receive { receipt, at }
        }),
        2 => (location(), -6..6_i64, moment()).prop_map(|(location, delta, at)| {
            let correction = Correction {
                location: location.to_owned(),
                delta,
                reason: "counted".to_owned(),
                reference: None,
                expected_on_hand: None,
            };
            StockItemCommand::Adjust { correction, at }
        }),
        5 => (checkout(), 1..6_u32, 1..30_i64, moment()).prop_map(|(id, quantity, minutes, at)| {
            let until = at + Duration::minutes(minutes);
            StockItemCommand::Reserve { reservation_id: id, quantity, until, at }
        }),
        1 => (checkout(), 1..60_i64, moment()).prop_map(|(reservation_id, minutes, at)| {
            let until = at + Duration::minutes(minutes);
            StockItemCommand::ExtendHold { reservation_id, until, at }
        }),
        2 => (checkout(), cause, moment()).prop_map(|(reservation_id, cause, at)| {
            StockItemCommand::Release { reservation_id, cause, at }
        }),
        4 => (checkout(), order(), 1..6_u32, moment()).prop_map(|(id, order_id, quantity, at)| {
            StockItemCommand::Allocate { reservation_id: id, order_id, quantity, at }
        }),
        2 => (order(), 0..4_u8, proptest::option::of(1..4_u32), moment()).prop_map(
            |(order_id, n, quantity, at)| {
                let reference = format!("refund-{n}");
                StockItemCommand::Deallocate { order_id, reference, quantity, at }
            }
        ),
        6 => (order(), 0..6_u8, location(), 1..3_u32, moment()).prop_map(
            |(order_id, n, location, quantity, at)| {
                let (reservation_id, reference) = (CheckoutId::derive(&[&[9]]), format!("parcel-{n}"));
                let location = location.to_owned();
                let shipment = Shipment { order_id, reservation_id, reference, location, quantity };
                StockItemCommand::Ship { shipment, at }
            }
        ),
    ]
}

/// Times go back and forth: what is taken over from the past is decided among what happens now.
fn moment() -> impl Strategy<Value = DateTime<Utc>> {
    (0..120_i64).prop_map(|minutes| DateTime::UNIX_EPOCH + Duration::minutes(minutes))
}
