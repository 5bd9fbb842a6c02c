//! Stories of coupons, and what holds for every story.

use chrono::Duration;
use event_schemas::money::Currency;
use proptest::prelude::*;

use super::*;
use crate::stored::{HISTORIES, reached, survives};

fn minute(minutes: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::minutes(minutes)
}

fn gbp(amount_minor: i64) -> Money {
    Money { amount_minor, currency: Currency::GBP }
}

fn checkout(number: u128) -> CheckoutId {
    CheckoutId::derive(&[&number.to_be_bytes()])
}

fn ten() -> NewCoupon {
    NewCoupon {
        code: " ten-off ".to_owned(),
        title: "Ten per cent".to_owned(),
        value: CouponValue::Percent { rate: Rate(100_000) },
        minimum: None,
        limit_total: None,
        limit_per_customer: None,
        from: minute(0),
        until: None,
        at: minute(0),
    }
}

fn limited() -> NewCoupon {
    NewCoupon { limit_total: Some(9), ..ten() }
}

fn claim(number: u128, customer: Option<&str>, at: i64) -> Claim {
    Claim {
        checkout_id: checkout(number),
        customer_reference: customer.map(str::to_owned),
        lines: gbp(2_000),
        until: Some(minute(at + 15)),
        at: minute(at),
    }
}

fn claims(claim: Claim) -> CouponCommand {
    CouponCommand::Claim(Box::new(claim))
}

/// A coupon to which all that happened.
fn given(new: NewCoupon, commands: Vec<CouponCommand>) -> Coupon {
    let mut coupon = Coupon::default();
    for command in std::iter::once(CouponCommand::Define(Box::new(new))).chain(commands) {
        for event in coupon.decide(command).unwrap() {
            coupon.apply(event);
        }
    }
    coupon
}

/// The first checkout became an order.
fn used(customer: Option<&str>) -> CouponCommand {
    let customer_reference = customer.map(str::to_owned);
    CouponCommand::Commit { checkout_id: checkout(1), customer_reference, at: minute(9) }
}

/// The first checkout does without it.
fn release(lapsing_by: Option<DateTime<Utc>>) -> CouponCommand {
    CouponCommand::Release { checkout_id: checkout(1), lapsing_by, at: minute(9) }
}

fn refuses(coupon: &Coupon, claim: Claim, error: CouponError) {
    assert_eq!(coupon.decide(claims(claim)), Err(error));
}

#[test]
fn a_code_is_one_however_it_is_typed() {
    let store = StoreId::of_slug("demo");
    assert_eq!(coupon_id(store, " ten-off "), coupon_id(store, "TEN-OFF"));
    assert_ne!(coupon_id(store, "TEN"), coupon_id(StoreId::of_slug("other"), "TEN"));
    assert_eq!(given(ten(), vec![]).defined.unwrap().code, "TEN-OFF");
}

#[test]
fn the_last_use_is_one_shoppers() {
    let one = NewCoupon { limit_total: Some(1), ..ten() };
    let coupon = given(one.clone(), vec![claims(claim(1, None, 0))]);
    refuses(&coupon, claim(2, None, 5), CouponError::Exhausted);
    // Who has it may go on with it, and it lapses.
    assert_eq!(coupon.decide(claims(claim(1, None, 5))).unwrap().len(), 1);
    assert_eq!(coupon.decide(claims(claim(2, None, 15))).unwrap().len(), 1);
    // Who pays keeps it.
    let paying = Claim { until: Some(minute(2_000)), ..claim(1, None, 5) };
    let coupon = given(one.clone(), vec![claims(claim(1, None, 0)), claims(paying.clone())]);
    refuses(&coupon, claim(2, None, 1_000), CouponError::Exhausted);
    let coupon = given(one.clone(), vec![claims(paying.clone()), used(None)]);
    refuses(&coupon, claim(2, None, 1_000), CouponError::Exhausted);
    assert_eq!(coupon.decide(release(None)), Ok(vec![]));
    let coupon = given(one, vec![claims(paying), release(None)]);
    assert_eq!(coupon.decide(claims(claim(2, None, 10))).unwrap().len(), 1);
}

/// A shopper who asks for a quote while a payment is under way.
#[test]
fn a_quote_neither_shortens_nor_ends_what_a_payment_claims() {
    let one = NewCoupon { limit_total: Some(1), ..ten() };
    let hold_until = minute(30);
    let paying = claims(Claim { until: Some(minute(2_000)), ..claim(1, None, 5) });
    let quoted = claims(claim(1, None, 6));
    for late in [vec![quoted.clone()], vec![release(Some(hold_until))]] {
        let coupon = given(one.clone(), [vec![paying.clone()], late].concat());
        refuses(&coupon, claim(2, None, 60), CouponError::Exhausted);
    }
    // What only a quote claims, a quote gives back; and what a payment claims lapses at last.
    let coupon = given(one.clone(), vec![quoted, release(Some(hold_until))]);
    assert_eq!(coupon.decide(claims(claim(2, None, 7))).unwrap().len(), 1);
    let coupon = given(one, vec![paying]);
    assert_eq!(coupon.decide(claims(claim(2, None, 2_000))).unwrap().len(), 1);
}

#[test]
fn a_use_that_was_given_is_counted_whatever_became_of_its_claim() {
    let one = NewCoupon { limit_total: Some(1), limit_per_customer: Some(1), ..ten() };
    for before in [vec![], vec![claims(claim(1, Some("C-1"), 0)), release(None)]] {
        let coupon = given(one.clone(), [before, vec![used(Some("C-1"))]].concat());
        assert_eq!((coupon.committed, coupon.committed_by.get("C-1")), (1, Some(&1)));
        refuses(&coupon, claim(2, Some("C-2"), 10), CouponError::Exhausted);
    }
}

#[test]
fn a_coupon_without_a_limit_keeps_nothing_of_who_may_use_it() {
    let coupon = given(ten(), vec![]);
    assert_eq!(coupon.decide(claims(claim(1, None, 0))), Ok(vec![]));
    let coupon = given(ten(), vec![claims(claim(1, None, 0)), used(None)]);
    assert_eq!((coupon.claims.len(), coupon.committed), (0, 1));
}

#[test]
fn each_customer_has_as_many_uses_as_there_are() {
    let once = NewCoupon { limit_per_customer: Some(1), limit_total: Some(9), ..ten() };
    let story = vec![claims(claim(1, Some("C-1"), 0)), used(Some("C-1"))];
    let coupon = given(once.clone(), story);
    refuses(&coupon, claim(2, Some("C-1"), 60), CouponError::CustomerLimit);
    let needed = NotApplicable::CustomerNeeded;
    refuses(&coupon, claim(2, None, 60), CouponError::NotApplicable(needed));
    assert_eq!(coupon.decide(claims(claim(2, Some("C-2"), 60))).unwrap().len(), 1);
    let two = vec![claims(claim(1, Some("C-1"), 0)), claims(claim(2, Some("C-2"), 0))];
    let twice = given(once, two);
    // Neither by another checkout nor by one that was somebody else's.
    refuses(&twice, claim(3, Some("C-1"), 1), CouponError::CustomerLimit);
    refuses(&twice, claim(2, Some("C-1"), 1), CouponError::CustomerLimit);
}

#[test]
fn a_coupon_says_why_it_cannot_be_used() {
    let coupon = NewCoupon {
        minimum: Some(gbp(2_001)),
        from: minute(10),
        until: Some(minute(20)),
        ..limited()
    };
    let coupon = given(coupon, vec![]);
    let rich = |at| Claim { lines: gbp(2_001), ..claim(1, None, at) };
    let yen = Money { amount_minor: 9_999, currency: Currency::JPY };
    let table = [
        (rich(9), NotApplicable::TooEarly),
        (rich(20), NotApplicable::TooLate),
        (claim(1, None, 10), NotApplicable::BelowMinimum),
        (Claim { lines: yen, ..rich(10) }, NotApplicable::OtherCurrency),
    ];
    for (claim, why) in table {
        refuses(&coupon, claim, CouponError::NotApplicable(why));
    }
    assert_eq!(coupon.decide(claims(rich(10))).unwrap().len(), 1);
    let disabled = given(ten(), vec![CouponCommand::Disable { at: minute(1) }]);
    refuses(&disabled, claim(1, None, 2), CouponError::NotApplicable(NotApplicable::Disabled));
    refuses(&Coupon::default(), claim(1, None, 2), CouponError::NotFound);
}

#[test]
fn what_is_no_coupon_is_not_defined() {
    let none = CouponValue::Percent { rate: Rate(0) };
    let more = CouponValue::Percent { rate: Rate(PPM + 1) };
    let nothing = CouponValue::Amount { amount: gbp(0) };
    let yen = Money { amount_minor: 1, currency: Currency::JPY };
    let table = [
        (NewCoupon { code: "  ".into(), ..ten() }, "/code"),
        (NewCoupon { code: "zehn €".into(), ..ten() }, "/code"),
        (NewCoupon { code: "X".repeat(CODE_CHARS_MAX + 1), ..ten() }, "/code"),
        (NewCoupon { title: " ".into(), ..ten() }, "/title"),
        (NewCoupon { value: none, ..ten() }, "/value/rate"),
        (NewCoupon { value: more, ..ten() }, "/value/rate"),
        (NewCoupon { value: nothing, ..ten() }, "/value/amount"),
        (NewCoupon { minimum: Some(gbp(-1)), ..ten() }, "/minimum"),
        (
            NewCoupon {
                value: CouponValue::Amount { amount: gbp(1) },
                minimum: Some(yen),
                ..ten()
            },
            "/minimum",
        ),
        (NewCoupon { limit_total: Some(0), ..ten() }, "/limit_total"),
        (NewCoupon { limit_per_customer: Some(USES_MAX + 1), ..ten() }, "/limit_per_customer"),
        (NewCoupon { limit_per_customer: Some(1), ..ten() }, "/limit_total"),
        (NewCoupon { until: Some(minute(0)), ..ten() }, "/until"),
    ];
    for (new, pointer) in table {
        let refused = Coupon::default().decide(CouponCommand::Define(Box::new(new)));
        assert!(
            matches!(&refused, Err(CouponError::Invalid { at, .. }) if *at == pointer),
            "{pointer}: {refused:?}"
        );
    }
}

fn commands() -> impl Strategy<Value = Vec<CouponCommand>> {
    let who = || prop::sample::select(&[None, Some("C-1"), Some("C-2")]);
    let lapsing = prop::option::of(0..75_i64);
    let claimed = (0..6_u128, who(), 0..60_i64, any::<bool>()).prop_map(|(id, who, at, paying)| {
        let claim = claim(id, who, at);
        claims(Claim { until: claim.until.filter(|_| !paying), ..claim })
    });
    let command = prop_oneof![
        6 => claimed,
        2 => (0..6_u128, who(), 0..60_i64).prop_map(|(id, who, at)| CouponCommand::Commit {
            checkout_id: checkout(id),
            customer_reference: who.map(str::to_owned),
            at: minute(at),
        }),
        2 => (0..6_u128, lapsing, 0..60_i64).prop_map(|(id, by, at)| CouponCommand::Release {
            checkout_id: checkout(id),
            lapsing_by: by.map(minute),
            at: minute(at),
        }),
        1 => (0..60_i64).prop_map(|at| CouponCommand::Disable { at: minute(at) }),
    ];
    let limit = || prop::option::of(1..4_u32);
    let commands = prop::collection::vec(command, 0..40);
    (limit(), limit(), commands).prop_map(|(limit_total, limit_per_customer, rest)| {
        let limit_per_customer = limit_per_customer.filter(|_| limit_total.is_some());
        let new = NewCoupon { limit_total, limit_per_customer, ..ten() };
        std::iter::once(CouponCommand::Define(Box::new(new))).chain(rest).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(HISTORIES))]

    /// A use is promised only if one is left, whoever comes in whichever order.
    #[test]
    fn no_story_uses_a_coupon_too_often(commands in commands()) {
        let events = survives::<Coupon>(commands, Coupon::decide);
        let mut coupon = Coupon::default();
        for event in events {
            let before = coupon.claims.clone();
            coupon.apply(event.clone());
            let (Some(defined), Some(at)) = (&coupon.defined, coupon.latest) else { continue };
            let CouponEvent::UseClaimed(new) = event else { continue };
            let own = before.get(&new.checkout_id).filter(|own| own.counts(at));
            if own.is_some_and(|own| own.is_of(new.customer_reference.as_ref())) {
                // It had the use, and an order that none was left for may have taken one since.
                continue;
            }
            let live: Vec<_> = coupon.claims.values().filter(|held| held.counts(at)).collect();
            let uses = u32::try_from(live.len()).unwrap() + coupon.committed;
            prop_assert!(defined.limit_total.is_none_or(|max| uses <= max));
            for customer in ["C-1", "C-2"] {
                let theirs =
                    live.iter().filter(|held| held.customer_reference.as_deref() == Some(customer));
                let used = coupon.committed_by.get(customer).copied().unwrap_or(0)
                    + u32::try_from(theirs.count()).unwrap();
                prop_assert!(defined.limit_per_customer.is_none_or(|max| used <= max));
            }
        }
    }
}

#[test]
fn the_stories_come_to_every_event() {
    let reached = reached::<Coupon>(&commands(), Coupon::decide);
    let all = [
        "CouponDefined",
        "CouponDisabled",
        "CouponUseClaimed",
        "CouponUseCommitted",
        "CouponUseReleased",
    ];
    assert_eq!(reached.into_iter().collect::<Vec<_>>(), all);
}
