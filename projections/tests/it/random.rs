//! Logs nobody thought of: a mix of everything, the same for the same seed.

use event_schemas::{
    fulfilment::{
        FulfilmentCancelled, FulfilmentCreated, FulfilmentDelivered, FulfilmentLine,
        FulfilmentShipped, Tracking,
    },
    ids::{FulfilmentId, LineId, StoreId},
    inventory::{PlaceChoice, StockItemEvent, StockReserved},
    order::{OrderEvent, RefundLine, Restock},
};
use uuid::Uuid;

use crate::{
    catalog::{created, price_set, received, renamed, variant_added},
    orders::{
        adjusted, authorised, cancellation_requested, cancelled, confirmed, intent, paid, refunded,
        requested,
    },
    sales::corrected,
    shop::{
        OTHER_STORE, STORE, Shop, checkout, day, order, payment, placed, product, units, variant,
    },
};

/// A small generator (`splitmix64`): tests need repeatable, not good, randomness.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// From 0 up to, not including, `below`.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % below
    }
}

/// Appends about twice as many events as `steps`, to two stores.
pub(crate) async fn fill(shop: &Shop, random: &mut Random, steps: u64) {
    let mut history = History::begin(shop).await;
    for _ in 0..steps {
        history.step(shop, random).await;
    }
}

/// A history that grows step by step.
pub(crate) struct History {
    steps: u64,
    /// How far each order is.
    orders: [u64; 12],
}

impl History {
    /// Five products in each of two stores.
    pub(crate) async fn begin(shop: &Shop) -> History {
        for store_id in [STORE, OTHER_STORE] {
            for n in 0..5 {
                let stream = ("product", product(n).0);
                let product = created(&format!("p{n}"), "Bar", &["gift"], 0);
                shop.append(store_id, stream, &[product, variant_added(n, "SKU")]).await;
            }
        }
        History { steps: 0, orders: [0; 12] }
    }

    /// One to three events.
    pub(crate) async fn step(&mut self, shop: &Shop, random: &mut Random) {
        let store_id = if random.below(3) == 0 { OTHER_STORE } else { STORE };
        match random.below(6) {
            0 => change_product(shop, store_id, random).await,
            1 => change_stock(shop, store_id, random, self.steps).await,
            2 => {
                let id = Uuid::from_u128(0x9000 + u128::from(self.steps));
                // Some of these documents are also those of refunds of orders.
                let reference = format!("C{}", random.below(9));
                let event = adjusted(&reference, 100, random.below(4));
                shop.append(store_id, ("refund_adjustment", id), &[event]).await;
            }
            _ => {
                let nth = random.below(12);
                let done = &mut self.orders[usize::try_from(nth).unwrap()];
                advance(shop, nth, *done).await;
                *done += 1;
            }
        }
        self.steps += 1;
    }
}

async fn change_product(shop: &Shop, store_id: StoreId, random: &mut Random) {
    let n = u128::from(random.below(5));
    let event = if random.below(3) == 0 {
        renamed(&format!("Bar number {}", random.below(100)))
    } else {
        price_set(n, i64::try_from(random.below(1_000)).unwrap(), None)
    };
    shop.append(store_id, ("product", product(n).0), &[event]).await;
}

async fn change_stock(shop: &Shop, store_id: StoreId, random: &mut Random, step: u64) {
    let n = u128::from(random.below(5));
    let place = if random.below(2) == 0 { "main" } else { "shop" };
    let quantity = u32::try_from(1 + random.below(9)).unwrap();
    let reserved = StockItemEvent::Reserved(StockReserved {
        reason: PlaceChoice::FirstPlace,
        reservation_id: checkout(u128::from(step)),
        parts: vec![units(place, 1)],
        until: day(1),
        at: day(0),
    });
    let correction = corrected(i64::from(quantity) - 5, random.below(4));
    let events = [received(place, quantity), reserved, correction];
    shop.append(store_id, ("stock_item", variant(n).0), &events).await;
}

/// A parcel of the order's first line, as far as it comes.
fn parcel(n: u128) -> Vec<OrderEvent> {
    let fulfilment_id = FulfilmentId(Uuid::from_u128(0x7000 + n));
    let line_id = LineId(Uuid::from_u128(0x6000 + n * 10 + 1));
    let (location, lines) = ("main".to_owned(), vec![FulfilmentLine { line_id, quantity: 1 }]);
    let at = day(1);
    let tracking = n.is_multiple_of(2).then(|| {
        let (carrier, number) = ("post".to_owned(), format!("P{n}"));
        Tracking { carrier, number, url: None }
    });
    let created = FulfilmentCreated { fulfilment_id, location, lines, at };
    let mut events = vec![OrderEvent::FulfilmentCreated(created)];
    events.extend(match n % 4 {
        0 => vec![],
        1 => vec![OrderEvent::FulfilmentCancelled(FulfilmentCancelled {
            fulfilment_id,
            reason: "damaged".to_owned(),
            at,
        })],
        _ => vec![
            OrderEvent::FulfilmentShipped(FulfilmentShipped { fulfilment_id, tracking, at }),
            OrderEvent::FulfilmentDelivered(FulfilmentDelivered { fulfilment_id, at: day(2) }),
        ],
    });
    events
}

/// What happens to order `nth` after `done` steps. An order lives in one store.
async fn advance(shop: &Shop, nth: u64, done: u64) {
    let n = u128::from(nth);
    let store_id = if nth.is_multiple_of(3) { OTHER_STORE } else { STORE };
    let order_stream = ("order", order(n).0);
    let payment_stream = ("payment", payment(n).0);
    let refund_id = n * 100 + u128::from(done);
    match done {
        0 => drop(shop.append(store_id, payment_stream, &[intent(n, 1)]).await),
        1 => drop(shop.append(store_id, payment_stream, &[authorised()]).await),
        2 => {
            // Some shoppers come again, not in the order of the log, and some are guests.
            let mut placed = placed(n, day(nth * 5 % 4));
            placed.customer_reference = (n % 5 < 4).then(|| format!("1754{}", n % 3 + 6));
            let events = [OrderEvent::Placed(placed), confirmed()];
            shop.append(store_id, order_stream, &events).await;
        }
        3 => {
            let events = [&[paid(nth % 4)][..], &parcel(n)].concat();
            shop.append(store_id, order_stream, &events).await;
        }
        4 => {
            let line_id = LineId(Uuid::from_u128(0x6000 + n * 10 + 1));
            let lines = if n % 2 == 0 {
                vec![RefundLine { line_id, quantity: 1, restock: Restock::Cancel }]
            } else {
                vec![]
            };
            shop.append(store_id, order_stream, &[requested(refund_id, 10, lines)]).await;
        }
        5 => {
            let reference = nth.is_multiple_of(2).then(|| format!("C{}", nth % 9));
            let event = refunded(refund_id - 1, reference.as_deref(), 10, nth % 4 + 1);
            shop.append(store_id, order_stream, &[event]).await;
        }
        6 => drop(shop.append(store_id, order_stream, &[cancellation_requested(refund_id)]).await),
        7 => {
            let events = [refunded(refund_id - 1, None, 1690, nth % 4 + 2), cancelled()];
            shop.append(store_id, order_stream, &events).await;
        }
        _ => {}
    }
}
