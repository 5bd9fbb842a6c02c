//! Units that leave the house.

use super::*;

fn ship(location: &str, quantity: u32) -> StockItemCommand {
    let (order_id, reservation_id) = (order(2), checkout(2));
    let (reference, location) = ("parcel".to_owned(), location.to_owned());
    let shipment = Shipment { order_id, reservation_id, reference, location, quantity };
    StockItemCommand::Ship { shipment, at: minute(1) }
}

fn shipped(parts: &[(&str, u32)]) -> StockItemEvent {
    let (order_id, reference, parts) = (order(2), "parcel".to_owned(), places(parts));
    StockItemEvent::Shipped(StockShipped { order_id, reference, parts, at: minute(1) })
}

#[test]
fn what_is_shipped_leaves_the_house_once() {
    let history =
        || vec![received("main", 5), reserved(2, &[("main", 3)]), allocated(2, &[("main", 3)])];
    given(history()).when(ship("main", 2)).then_expect_events(vec![shipped(&[("main", 2)])]);
    let mut after = history();
    after.push(shipped(&[("main", 2)]));
    let item = replay(after.clone());
    let level = &item.levels(minute(1))[0];
    assert_eq!((level.on_hand, level.allocated, level.available), (3, 1, 2));
    assert_eq!(item.allocated_to(order(2)), 1);
    given(after).when(ship("main", 2)).then_expect_events(vec![]);
    let error = StockItemError::NotAllocated { requested: 4, allocated: 3 };
    given(history()).when(ship("main", 4)).then_expect_error(error);
}

#[test]
fn what_leaves_from_elsewhere_is_taken_from_there() {
    let held = [("main", 1)];
    let history = |spare| {
        let (held, allocated) = (reserved(2, &held), allocated(2, &held));
        vec![received("main", 1), received("shop", spare), held, allocated]
    };
    let (order_id, parts) = (order(2), places(&held));
    let freed =
        StockDeallocated { order_id, reference: "parcel/moved".into(), parts, at: minute(1) };
    let reservation_id = checkout(2);
    let (parts, reason, at) = (places(&[("shop", 1)]), PlaceChoice::AsShipped, minute(1));
    let there = StockReserved { reservation_id, parts: parts.clone(), reason, until: at, at };
    let given_there = StockAllocated { reservation_id, order_id, parts, at };
    given(history(1)).when(ship("shop", 1)).then_expect_events(vec![
        StockItemEvent::Deallocated(freed),
        StockItemEvent::Reserved(there),
        StockItemEvent::Allocated(given_there),
        shipped(&[("shop", 1)]),
    ]);
    let mut sold = history(1);
    sold.push(reserved(3, &[("shop", 1)]));
    let error = StockItemError::InsufficientStock { requested: 1, available: 0 };
    given(sold).when(ship("shop", 1)).then_expect_error(error);
}
