use cqrs_es::test::{AggregateTestExecutor, TestFramework};
use event_schemas::cart::{
    CartCheckedOut, CartCheckoutBegun, CartCouponApplied, CartCustomerIdentified, CartItemAdded,
    CartItemQuantityChanged, CartMerged, CartMergedInto, CartPricesSeen, CartReopened, CartStarted,
};

use super::*;

fn at() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

fn gbp(amount_minor: i64) -> Money {
    Money { amount_minor, currency: Currency::GBP }
}

fn bar() -> VariantId {
    VariantId::derive(&[b"bar"])
}

fn box_of_ten() -> VariantId {
    VariantId::derive(&[b"box"])
}

fn checkout_id() -> CheckoutId {
    CheckoutId::derive(&[b"checkout"])
}

fn order_id() -> OrderId {
    OrderId::derive(&[b"order"])
}

fn other() -> CartId {
    CartId::derive(&[b"other"])
}

fn started() -> CartEvent {
    CartEvent::Started(CartStarted { customer_reference: None, at: at() })
}

fn added(variant_id: VariantId, quantity: u32) -> CartEvent {
    let unit_price = gbp(450);
    CartEvent::ItemAdded(CartItemAdded { variant_id, quantity, unit_price, at: at() })
}

fn add(variant_id: VariantId, quantity: u32) -> CartCommand {
    CartCommand::Add { variant_id, quantity, unit_price: gbp(450), at: at() }
}

fn begun() -> CartEvent {
    CartEvent::CheckoutBegun(CartCheckoutBegun { checkout_id: checkout_id(), at: at() })
}

fn begin() -> CartCommand {
    CartCommand::BeginCheckout { checkout_id: checkout_id(), at: at() }
}

fn given(events: Vec<CartEvent>) -> AggregateTestExecutor<Cart> {
    TestFramework::<Cart>::with(()).given(events)
}

#[test]
fn a_cart_starts_once_and_takes_what_is_put_into_it() {
    let start = CartCommand::Start { customer_reference: None, at: at() };
    given(vec![]).when(start.clone()).then_expect_events(vec![started()]);
    given(vec![started()]).when(start).then_expect_error(CartError::AlreadyStarted);
    given(vec![]).when(add(bar(), 1)).then_expect_error(CartError::NotFound);
    given(vec![started()]).when(add(bar(), 2)).then_expect_events(vec![added(bar(), 2)]);
}

#[test]
fn more_of_the_same_is_one_line() {
    let mut cart = Cart::default();
    for event in [started(), added(bar(), 2), added(bar(), 3)] {
        cart.apply(event);
    }
    let line = CartLine { variant_id: bar(), quantity: 5, unit_price: gbp(450) };
    assert_eq!(cart.lines, [line]);
}

#[test]
fn a_line_has_1_to_999_units() {
    for quantity in [0, QUANTITY_MAX + 1, u32::MAX] {
        let refused = CartError::QuantityOutOfRange;
        given(vec![started()]).when(add(bar(), quantity)).then_expect_error(refused.clone());
        let change = CartCommand::ChangeQuantity { variant_id: bar(), quantity, at: at() };
        given(vec![started(), added(bar(), 1)]).when(change).then_expect_error(refused);
    }
    given(vec![started(), added(bar(), 1)])
        .when(add(bar(), QUANTITY_MAX))
        .then_expect_error(CartError::QuantityOutOfRange);
    given(vec![started(), added(bar(), 1)])
        .when(add(bar(), QUANTITY_MAX - 1))
        .then_expect_events(vec![added(bar(), QUANTITY_MAX - 1)]);
}

#[test]
fn a_cart_has_a_hundred_lines_and_room_for_more_units_of_them() {
    let number = |n: usize| VariantId::derive(&[&n.to_be_bytes()]);
    let mut full = vec![started()];
    full.extend((0..LINES_MAX).map(|n| added(number(n), 1)));
    let refused = CartError::Full { max: LINES_MAX };
    given(full.clone()).when(add(bar(), 1)).then_expect_error(refused);
    given(full).when(add(number(7), 1)).then_expect_events(vec![added(number(7), 1)]);
}

#[test]
fn a_cart_is_in_one_currency() {
    let unit_price = Money { amount_minor: 500, currency: Currency::EUR };
    let euros = |variant_id| CartCommand::Add { variant_id, quantity: 1, unit_price, at: at() };
    given(vec![started(), added(bar(), 1)])
        .when(euros(box_of_ten()))
        .then_expect_error(CartError::CurrencyMismatch { cart: Currency::GBP });
}

#[test]
fn a_quantity_is_changed_of_a_line_that_is_there() {
    let change = |quantity| CartCommand::ChangeQuantity { variant_id: bar(), quantity, at: at() };
    given(vec![started()]).when(change(3)).then_expect_error(CartError::UnknownLine);
    let changed = CartItemQuantityChanged { variant_id: bar(), quantity: 3, at: at() };
    let there = vec![started(), added(bar(), 2)];
    given(there.clone())
        .when(change(3))
        .then_expect_events(vec![CartEvent::QuantityChanged(changed)]);
    given(there).when(change(2)).then_expect_events(vec![]);
    let remove = CartCommand::Remove { variant_id: bar(), at: at() };
    given(vec![started()]).when(remove).then_expect_events(vec![]);
}

#[test]
fn prices_are_seen_of_lines_that_are_there_and_cost_something_else() {
    let see = |unit_price| CartCommand::SeePrices {
        prices: vec![
            SeenPrice { variant_id: bar(), unit_price },
            SeenPrice { variant_id: box_of_ten(), unit_price },
        ],
        at: at(),
    };
    let there = vec![started(), added(bar(), 2)];
    given(there.clone()).when(see(gbp(450))).then_expect_events(vec![]);
    let prices = vec![SeenPrice { variant_id: bar(), unit_price: gbp(500) }];
    let seen = CartEvent::PricesSeen(CartPricesSeen { prices, at: at() });
    given(there).when(see(gbp(500))).then_expect_events(vec![seen]);
}

#[test]
fn a_code_is_kept_in_capitals_and_counts_once() {
    let apply = |code: &str| CartCommand::ApplyCoupon { code: code.to_owned(), at: at() };
    let applied = |code: &str| {
        CartEvent::CouponApplied(CartCouponApplied { code: code.to_owned(), at: at() })
    };
    given(vec![started()]).when(apply(" xmas10 ")).then_expect_events(vec![applied("XMAS10")]);
    given(vec![started(), applied("XMAS10")]).when(apply("Xmas10")).then_expect_events(vec![]);
    for bad in ["", "  ", "A B", "é", &"X".repeat(COUPON_CHARS_MAX + 1)] {
        given(vec![started()]).when(apply(bad)).then_expect_error(CartError::BadCoupon);
    }
    let mut full = vec![started()];
    full.extend((0..COUPONS_MAX).map(|n| applied(&format!("C{n}"))));
    let refused = CartError::TooManyCoupons { max: COUPONS_MAX };
    given(full).when(apply("ONE-MORE")).then_expect_error(refused);
}

#[test]
fn a_cart_has_one_customer() {
    let identify = |reference: &str| CartCommand::Identify {
        customer_reference: reference.to_owned(),
        at: at(),
    };
    let customer_reference = "C-1".to_owned();
    let identified =
        CartEvent::CustomerIdentified(CartCustomerIdentified { customer_reference, at: at() });
    given(vec![started()]).when(identify("C-1")).then_expect_events(vec![identified.clone()]);
    let known = vec![started(), identified];
    given(known.clone()).when(identify("C-1")).then_expect_events(vec![]);
    given(known.clone()).when(identify("C-2")).then_expect_error(CartError::OtherCustomer);
    given(vec![started()]).when(identify(" ")).then_expect_error(CartError::BadCustomer);
    // Its key leads to it; only a guest's cart can go up in another.
    let into = CartCommand::MergeInto { into: other(), at: at() };
    given(known).when(into).then_expect_error(CartError::OtherCustomer);
}

#[test]
fn of_the_same_thing_in_two_carts_the_larger_quantity_counts() {
    let line = |variant_id, quantity| CartLine { variant_id, quantity, unit_price: gbp(450) };
    let merge = |lines| CartCommand::Merge {
        from: other(),
        lines,
        coupons: vec!["XMAS10".to_owned()],
        at: at(),
    };
    let (lines, coupons) = (vec![line(box_of_ten(), 1)], vec!["XMAS10".to_owned()]);
    let merged = CartEvent::Merged(CartMerged { from: other(), lines, coupons, at: at() });
    let theirs = vec![line(bar(), 2), line(box_of_ten(), 1)];
    given(vec![started(), added(bar(), 3)])
        .when(merge(theirs.clone()))
        .then_expect_events(vec![merged.clone()]);
    given(vec![started(), added(bar(), 3), merged]).when(merge(theirs)).then_expect_events(vec![]);
}

#[test]
fn a_cart_that_went_up_in_another_is_closed() {
    let gone = CartEvent::MergedInto(CartMergedInto { into: other(), at: at() });
    let closed = vec![started(), gone];
    let again = CartCommand::MergeInto { into: other(), at: at() };
    given(closed.clone()).when(again).then_expect_events(vec![]);
    let refused = CartError::Merged { into: other() };
    given(closed).when(add(bar(), 1)).then_expect_error(refused);
}

#[test]
fn nothing_changes_while_a_checkout_is_made_of_it() {
    given(vec![started()]).when(begin()).then_expect_error(CartError::Empty);
    let filled = vec![started(), added(bar(), 1)];
    given(filled.clone()).when(begin()).then_expect_events(vec![begun()]);
    let checking_out = vec![started(), added(bar(), 1), begun()];
    given(checking_out.clone()).when(begin()).then_expect_events(vec![]);
    let refused = CartError::InCheckout { checkout_id: checkout_id() };
    given(checking_out.clone()).when(add(bar(), 1)).then_expect_error(refused.clone());
    let second = CheckoutId::derive(&[b"second"]);
    let second = CartCommand::BeginCheckout { checkout_id: second, at: at() };
    given(checking_out).when(second).then_expect_error(refused);
}

#[test]
fn a_checkout_that_failed_gives_the_cart_back_and_one_that_did_not_closes_it() {
    let checking_out = vec![started(), added(bar(), 1), begun()];
    let reopen = |id| CartCommand::Reopen { checkout_id: id, at: at() };
    let reopened = CartReopened { checkout_id: checkout_id(), at: at() };
    given(checking_out.clone())
        .when(reopen(checkout_id()))
        .then_expect_events(vec![CartEvent::Reopened(reopened)]);
    let another = CheckoutId::derive(&[b"another"]);
    given(checking_out.clone()).when(reopen(another)).then_expect_events(vec![]);

    let order_id = order_id();
    let check_out = CartCommand::CheckOut { checkout_id: checkout_id(), order_id, at: at() };
    let checked_out = CartEvent::CheckedOut(CartCheckedOut {
        checkout_id: checkout_id(),
        order_id,
        customer_reference: None,
        at: at(),
    });
    given(checking_out.clone())
        .when(check_out.clone())
        .then_expect_events(vec![checked_out.clone()]);
    let bought = [checking_out, vec![checked_out]].concat();
    given(bought.clone()).when(check_out).then_expect_events(vec![]);
    given(bought.clone()).when(reopen(checkout_id())).then_expect_events(vec![]);
    given(bought).when(add(bar(), 1)).then_expect_error(CartError::CheckedOut { order_id });
}
