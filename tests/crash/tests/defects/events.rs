//! Events that no decision would make.

use chrono::{DateTime, TimeDelta, Utc};
use event_schemas::{
    checkout::{
        CheckoutCompensationStarted, CheckoutCompleted, CheckoutEvent, CheckoutFailed,
        CheckoutStarted, CheckoutStockSecured, CheckoutStuck, FailureCause, Shortage,
    },
    ids::{CheckoutId, LineId, OrderId, PaymentId, ProductId, RefundId, VariantId},
    inventory::{
        LocationQuantity, PlaceChoice, StockAllocated, StockItemEvent, StockReceived,
        StockReserved, StockSource,
    },
    money::{Currency, Money},
    order::{
        Channel, Charge, ChargeKind, OrderCancellationRequested, OrderEvent, OrderLine, OrderPaid,
        OrderPlaced, OrderRefundFailed, OrderRefundRequested,
    },
    payment::{
        PaymentAuthorised, PaymentCaptured, PaymentEvent, PaymentIntentRequested, RefundRequested,
        RefundSucceeded,
    },
};
use uuid::Uuid;

use crate::{
    plant::{Forged, forged},
    shop::{Ids, order_of},
};

/// What a unit costs in the shop.
const PRICE: i64 = 450;

#[expect(clippy::disallowed_methods, reason = "checkers go by the real time")]
fn from_now(minutes: i64) -> DateTime<Utc> {
    Utc::now() + TimeDelta::minutes(minutes)
}

fn gbp(amount_minor: i64) -> Money {
    Money { amount_minor, currency: Currency::GBP }
}

fn some_checkout(number: u128) -> CheckoutId {
    CheckoutId(Uuid::from_u128(number))
}

fn some_refund() -> RefundId {
    RefundId(Uuid::from_u128(1))
}

fn payment_of(checkout: CheckoutId) -> PaymentId {
    commands::checkout::payment_id(checkout, 1)
}

fn units(quantity: u32) -> Vec<LocationQuantity> {
    vec![LocationQuantity { location: "main".to_owned(), quantity }]
}

fn line(variant_id: VariantId, quantity: u32) -> OrderLine {
    OrderLine {
        line_id: LineId(Uuid::from_u128(1)),
        product_id: ProductId(Uuid::from_u128(1)),
        variant_id,
        sku: None,
        title: "Bar".to_owned(),
        quantity,
        unit_price: gbp(PRICE),
    }
}

// --- streams ------------------------------------------------------------------------------------

fn checkout(id: CheckoutId, event: &CheckoutEvent) -> Forged {
    forged("checkout", id.0, event)
}

fn payment(id: PaymentId, event: &PaymentEvent) -> Forged {
    forged("payment", id.0, event)
}

fn order(id: OrderId, event: &OrderEvent) -> Forged {
    forged("order", id.0, event)
}

fn stock(id: VariantId, event: &StockItemEvent) -> Forged {
    forged("stock_item", id.0, event)
}

/// Units that arrive.
pub(crate) fn received(variant: VariantId, quantity: u32) -> Forged {
    let (source, unit_cost, reference) = (StockSource::Purchase, None, None);
    let (location, at) = ("main".to_owned(), from_now(0));
    let received = StockReceived { location, quantity, source, unit_cost, reference, at };
    stock(variant, &StockItemEvent::Received(received))
}

fn held(variant: VariantId, reservation_id: CheckoutId, quantity: u32, minutes: i64) -> Forged {
    let (until, at) = (from_now(minutes), from_now(0));
    let (parts, reason) = (units(quantity), PlaceChoice::FirstPlace);
    let held = StockReserved { reservation_id, parts, reason, until, at };
    stock(variant, &StockItemEvent::Reserved(held))
}

fn started(id: CheckoutId, lines: Vec<OrderLine>, minutes: i64) -> Forged {
    let total = lines.iter().map(|line| i64::from(line.quantity) * PRICE).sum();
    let started = CheckoutStarted {
        lines,
        charges: vec![],
        total: gbp(total),
        customer_reference: None,
        country: None,
        cart_id: None,
        coupons: vec![],
        channel: Channel::Api,
        order_number: None,
        hold_until: from_now(minutes),
        backdated_to: None,
        at: from_now(0),
    };
    checkout(id, &CheckoutEvent::Started(started))
}

fn secured(id: CheckoutId) -> Forged {
    checkout(id, &CheckoutEvent::StockSecured(CheckoutStockSecured { at: from_now(0) }))
}

/// It comes to nothing.
fn undone(id: CheckoutId, cause: FailureCause) -> [Forged; 2] {
    let (why, at) = (cause.clone(), from_now(0));
    let started = CheckoutCompensationStarted { cause: why, at };
    let failed = CheckoutFailed { cause, at };
    [
        checkout(id, &CheckoutEvent::CompensationStarted(started)),
        checkout(id, &CheckoutEvent::Failed(failed)),
    ]
}

fn marked_stuck(id: CheckoutId) -> Forged {
    let (step, detail) = ("capture".to_owned(), "nobody knows why".to_owned());
    checkout(id, &CheckoutEvent::Stuck(CheckoutStuck { step, detail, at: from_now(0) }))
}

fn asked(of: CheckoutId, minor: i64) -> Forged {
    let asked = PaymentIntentRequested {
        checkout_id: of,
        attempt: 1,
        amount: gbp(minor),
        provider: "sandbox".to_owned(),
        payment_method: "sbx_ok".to_owned(),
        at: from_now(0),
    };
    payment(payment_of(of), &PaymentEvent::IntentRequested(asked))
}

fn authorised(of: CheckoutId, minor: i64) -> Forged {
    let (provider_reference, at) = ("sbx".to_owned(), from_now(0));
    let authorised =
        PaymentAuthorised { provider_reference, amount: gbp(minor), expires_at: None, at };
    payment(payment_of(of), &PaymentEvent::Authorised(authorised))
}

fn captured(of: CheckoutId, minor: i64) -> Forged {
    let captured = PaymentCaptured { amount: gbp(minor), at: from_now(0) };
    payment(payment_of(of), &PaymentEvent::Captured(captured))
}

fn refunded(of: CheckoutId, refund_id: RefundId, minor: i64) -> [Forged; 2] {
    let (reason, at) = ("why not".to_owned(), from_now(0));
    let asked = RefundRequested { refund_id, amount: gbp(minor), reason, at };
    let done = RefundSucceeded { refund_id, provider_reference: "sbx".to_owned(), at };
    [
        payment(payment_of(of), &PaymentEvent::RefundRequested(asked)),
        payment(payment_of(of), &PaymentEvent::RefundSucceeded(done)),
    ]
}

fn placed(of: CheckoutId, number: &str, lines: Vec<OrderLine>) -> OrderPlaced {
    let total = lines.iter().map(|line| i64::from(line.quantity) * PRICE).sum();
    OrderPlaced {
        number: number.to_owned(),
        checkout_id: of,
        payment_id: payment_of(of),
        lines,
        charges: vec![],
        total: gbp(total),
        customer_reference: None,
        country: None,
        channel: Channel::Api,
        pricing: None,
        ship_to: None,
        at: from_now(0),
    }
}

fn order_placed(id: OrderId, event: OrderPlaced) -> Forged {
    let number = event.number.clone();
    order(id, &OrderEvent::Placed(event)).claiming("order_number", &number)
}

// --- defects of stock ---------------------------------------------------------------------------

/// A hold of some checkout that is open by right.
pub(crate) fn reserved(variant: VariantId, number: u128, quantity: u32) -> Forged {
    held(variant, some_checkout(number), quantity, 10)
}

pub(crate) fn hold_beyond_stock(ids: &Ids) -> Vec<Forged> {
    vec![held(ids.nib, ids.open, 11, 10)]
}

pub(crate) fn hold_forgotten(ids: &Ids) -> Vec<Forged> {
    vec![held(ids.bar, ids.failed, 1, 10)]
}

pub(crate) fn hold_doubled(ids: &Ids) -> Vec<Forged> {
    vec![held(ids.bar, ids.open, 1, 10)]
}

pub(crate) fn sold_out_in_name(ids: &Ids) -> Vec<Forged> {
    let id = some_checkout(1);
    let short = Shortage { variant_id: ids.nib, requested: 2, available: 1 };
    let cause = FailureCause::InsufficientStock { lines: vec![short] };
    [started(id, vec![line(ids.nib, 2)], 10)].into_iter().chain(undone(id, cause)).collect()
}

// --- defects of money ---------------------------------------------------------------------------

pub(crate) fn captured_twice(ids: &Ids) -> Vec<Forged> {
    vec![captured(ids.completed, 3 * PRICE)]
}

pub(crate) fn captured_too_much(ids: &Ids) -> Vec<Forged> {
    vec![asked(ids.open, PRICE), authorised(ids.open, PRICE - 1), captured(ids.open, PRICE)]
}

pub(crate) fn refunded_too_much(ids: &Ids) -> Vec<Forged> {
    refunded(ids.completed, some_refund(), 3 * PRICE).into()
}

/// A third of the order went back in the story: twice that would still be less than it cost.
pub(crate) fn refunded_twice(ids: &Ids) -> Vec<Forged> {
    let [asked, done] = refunded(ids.completed, some_refund(), PRICE);
    let [_, again] = refunded(ids.completed, some_refund(), PRICE);
    vec![asked, done, again]
}

pub(crate) fn asked_too_much(ids: &Ids) -> Vec<Forged> {
    vec![asked(ids.open, PRICE + 1)]
}

pub(crate) fn paid_too_little(ids: &Ids) -> Vec<Forged> {
    let id = order_of(ids.open);
    let paid = OrderPaid { amount: gbp(PRICE - 1), at: from_now(0) };
    vec![
        asked(ids.open, PRICE),
        authorised(ids.open, PRICE),
        order_placed(id, placed(ids.open, "FORGED-1", vec![line(ids.bar, 1)])),
        captured(ids.open, PRICE),
        order(id, &OrderEvent::Paid(paid)),
    ]
}

/// A fee that the checkout, and so the shopper, knew nothing of.
pub(crate) fn order_too_dear(ids: &Ids) -> Vec<Forged> {
    let id = order_of(ids.open);
    let (code, title) = ("FEE".to_owned(), "Fee".to_owned());
    let fee = Charge { kind: ChargeKind::Fee, code, title, amount: gbp(1) };
    let placed = placed(ids.open, "FORGED-1", vec![line(ids.bar, 1)]);
    vec![order_placed(id, OrderPlaced { charges: vec![fee], ..placed })]
}

// --- defects of checkouts -----------------------------------------------------------------------

pub(crate) fn not_driven(ids: &Ids) -> Vec<Forged> {
    let id = some_checkout(1);
    vec![started(id, vec![line(ids.nib, 1)], -5), held(ids.nib, id, 1, -5), secured(id)]
}

pub(crate) fn stuck(ids: &Ids) -> Vec<Forged> {
    vec![marked_stuck(ids.open)]
}

pub(crate) fn goes_on(ids: &Ids) -> Vec<Forged> {
    vec![marked_stuck(ids.completed)]
}

pub(crate) fn not_allocated(ids: &Ids) -> Vec<Forged> {
    let (id, order_id) = (some_checkout(1), order_of(some_checkout(1)));
    let (order_number, at) = ("FORGED-1".to_owned(), from_now(0));
    let lines = vec![line(ids.nib, 2)];
    let completed = CheckoutCompleted { order_id, order_number: order_number.clone(), at };
    let paid = OrderPaid { amount: gbp(2 * PRICE), at };
    vec![
        started(id, lines.clone(), 10),
        asked(id, 2 * PRICE),
        authorised(id, 2 * PRICE),
        order_placed(order_id, placed(id, &order_number, lines)),
        captured(id, 2 * PRICE),
        order(order_id, &OrderEvent::Paid(paid)),
        checkout(id, &CheckoutEvent::Completed(completed)),
    ]
}

pub(crate) fn completed_in_name(ids: &Ids) -> Vec<Forged> {
    let (id, order_id) = (some_checkout(1), order_of(some_checkout(1)));
    let completed =
        CheckoutCompleted { order_id, order_number: "FORGED-1".to_owned(), at: from_now(0) };
    vec![
        started(id, vec![line(ids.nib, 1)], 10),
        checkout(id, &CheckoutEvent::Completed(completed)),
    ]
}

pub(crate) fn numbered_twice(ids: &Ids) -> Vec<Forged> {
    let lines = vec![line(ids.nib, 1)];
    let [one, other] = [1, 2].map(some_checkout);
    let again = OrderEvent::Placed(placed(other, "FORGED-1", lines.clone()));
    vec![
        started(one, lines.clone(), 10),
        secured(one),
        started(other, lines.clone(), 10),
        secured(other),
        order_placed(order_of(one), placed(one, "FORGED-1", lines)),
        order(order_of(other), &again),
    ]
}

pub(crate) fn ordered_twice(ids: &Ids) -> Vec<Forged> {
    let id = OrderId(Uuid::from_u128(1));
    vec![order_placed(id, placed(ids.completed, "FORGED-1", vec![line(ids.bar, 3)]))]
}

pub(crate) fn not_voided(ids: &Ids) -> Vec<Forged> {
    let id = some_checkout(1);
    let mut events = vec![started(id, vec![line(ids.nib, 1)], 10)];
    events.extend([asked(id, PRICE), authorised(id, PRICE)]);
    events.extend(undone(id, FailureCause::Abandoned));
    events
}

pub(crate) fn not_given_up(ids: &Ids) -> Vec<Forged> {
    let (id, lines) = (some_checkout(1), vec![line(ids.nib, 1)]);
    let placed = placed(id, "FORGED-1", lines.clone());
    let mut events = vec![started(id, lines, 10), order_placed(order_of(id), placed)];
    events.extend(undone(id, FailureCause::Abandoned));
    events
}

pub(crate) fn cancellation_forgotten(ids: &Ids) -> Vec<Forged> {
    let (refund_id, reason, at) = (some_refund(), "why not".to_owned(), from_now(0));
    let unwanted = OrderCancellationRequested { refund_id, reason, at };
    vec![order(order_of(ids.completed), &OrderEvent::CancellationRequested(unwanted))]
}

pub(crate) fn not_deallocated(ids: &Ids) -> Vec<Forged> {
    let (reservation_id, order_id) = (ids.cancelled, order_of(ids.cancelled));
    let given = StockAllocated { reservation_id, order_id, parts: units(2), at: from_now(0) };
    vec![held(ids.nib, ids.cancelled, 2, 0), stock(ids.nib, &StockItemEvent::Allocated(given))]
}

pub(crate) fn refund_forgotten(ids: &Ids) -> Vec<Forged> {
    let [asked, _] = refused_refund(ids);
    vec![asked]
}

/// Asked for on the order and refused by the provider: no defect.
pub(crate) fn refused_refund(ids: &Ids) -> [Forged; 2] {
    let (refund_id, at) = (some_refund(), from_now(0));
    let asked = OrderRefundRequested {
        refund_id,
        reference: None,
        amount: gbp(1),
        lines: vec![],
        reason: "why not".to_owned(),
        at,
    };
    let failed = OrderRefundFailed { refund_id, code: "expired_card".to_owned(), at };
    let id = order_of(ids.completed);
    [order(id, &OrderEvent::RefundRequested(asked)), order(id, &OrderEvent::RefundFailed(failed))]
}
