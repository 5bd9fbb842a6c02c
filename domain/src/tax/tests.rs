//! Stories of tax policies.

use chrono::Duration;
use event_schemas::quote::{RoundingLevel, RoundingMode};

use super::*;
use crate::stored::survives;

fn day(days: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::days(days)
}

fn place(country: &str, region: Option<&str>) -> Place {
    Place { country: country.to_owned(), region: region.map(str::to_owned) }
}

fn rate(class: &str, rate: u32, from: Option<i64>) -> NewTaxRate {
    NewTaxRate { class: class.to_owned(), rate: Rate(rate), from: from.map(day) }
}

fn zone(code: &str, places: Vec<Place>, rates: Vec<NewTaxRate>) -> NewTaxZone {
    NewTaxZone { code: code.to_owned(), places, rates }
}

fn policy(zones: Vec<NewTaxZone>) -> NewTaxPolicy {
    NewTaxPolicy {
        prices_include_tax: true,
        rounding: Rounding { level: RoundingLevel::Line, mode: RoundingMode::HalfUp },
        shipping_class: "standard".to_owned(),
        zones,
    }
}

fn define(policy: NewTaxPolicy, at: i64) -> TaxCommand {
    TaxCommand::Define { policy: Box::new(policy), at: day(at) }
}

/// Canada as a whole, one province of it, and everywhere else.
fn three_zones() -> NewTaxPolicy {
    policy(vec![
        zone("ca", vec![place("CA", None)], vec![rate("standard", 50_000, None)]),
        zone("qc", vec![place("CA", Some("QC"))], vec![rate("standard", 149_750, None)]),
        zone("world", vec![], vec![rate("standard", 0, None)]),
    ])
}

fn given(commands: Vec<TaxCommand>) -> TaxPolicy {
    let mut policy = TaxPolicy::default();
    for event in survives::<TaxPolicy>(commands, TaxPolicy::decide) {
        policy.apply(event);
    }
    policy
}

fn rate_in(policy: &TaxPolicy, to: &Place, at: i64) -> (String, Rate) {
    let taxation = policy.taxation(to, day(at)).unwrap();
    (taxation.zone, taxation.rates.get("standard").copied().unwrap_or_default())
}

#[test]
fn the_zone_that_names_a_place_best_taxes_it() {
    assert_eq!(TaxPolicy::default().taxation(&place("CA", None), day(1)), None);
    let policy = given(vec![define(three_zones(), 1)]);
    assert_eq!(rate_in(&policy, &place("CA", Some("QC")), 1), ("qc".into(), Rate(149_750)));
    assert_eq!(rate_in(&policy, &place("CA", Some("ON")), 1), ("ca".into(), Rate(50_000)));
    assert_eq!(rate_in(&policy, &place("CA", None), 1), ("ca".into(), Rate(50_000)));
    assert_eq!(rate_in(&policy, &place("FR", None), 1), ("world".into(), Rate(0)));
    let uk = vec![zone("uk", vec![place("GB", None)], vec![rate("standard", 200_000, None)])];
    let home = given(vec![define(policy_of(uk), 1)]);
    assert_eq!(rate_in(&home, &place("FR", None), 1), (String::new(), Rate(0)));
}

fn policy_of(zones: Vec<NewTaxZone>) -> NewTaxPolicy {
    policy(zones)
}

#[test]
fn a_rate_holds_from_its_day_on_and_never_before() {
    let uk = |rates| policy(vec![zone("uk", vec![place("GB", None)], rates)]);
    let to = place("GB", None);
    let announced = uk(vec![rate("standard", 175_000, None), rate("standard", 200_000, Some(10))]);
    let policy = given(vec![define(announced.clone(), 1)]);
    assert_eq!(rate_in(&policy, &to, 9).1, Rate(175_000));
    assert_eq!(rate_in(&policy, &to, 10).1, Rate(200_000));
    // Corrected in time.
    let corrected = uk(vec![rate("standard", 190_000, Some(10))]);
    let later = given(vec![define(announced.clone(), 1), define(corrected.clone(), 5)]);
    assert_eq!(rate_in(&later, &to, 10).1, Rate(190_000));
    assert_eq!(rate_in(&later, &to, 9).1, Rate(175_000));
    // Too late.
    let error = TaxError::RateOverlap { zone: "uk".into(), class: "standard".into() };
    assert_eq!(policy.decide(define(corrected, 11)), Err(error));
}

#[test]
fn a_policy_that_is_the_same_is_no_news() {
    let policy = given(vec![define(three_zones(), 1)]);
    assert_eq!(policy.decide(define(three_zones(), 2)), Ok(vec![]));
    let fewer = NewTaxPolicy { zones: three_zones().zones[1..].to_vec(), ..three_zones() };
    let events = policy.decide(define(fewer, 2)).unwrap();
    assert_eq!(events, [TaxEvent::ZoneRemoved(TaxZoneRemoved { zone: "ca".into(), at: day(2) })]);
    let on_top = NewTaxPolicy { prices_include_tax: false, ..three_zones() };
    assert_eq!(policy.decide(define(on_top, 2)).unwrap().len(), 1);
}

#[test]
fn what_is_no_policy_is_refused_with_the_place_of_the_mistake() {
    let gb = || vec![place("GB", None)];
    let with = |zones| policy(zones);
    let table = [
        (NewTaxPolicy { shipping_class: String::new(), ..three_zones() }, "/shipping_class"),
        (with(vec![zone("UK", gb(), vec![])]), "/zones/0/code"),
        (with(vec![zone("a", vec![], vec![]), zone("a", gb(), vec![])]), "/zones/1/code"),
        (with(vec![zone("uk", vec![place("gb", None)], vec![])]), "/zones/0/places"),
        (with(vec![zone("uk", vec![place("GB", Some(" "))], vec![])]), "/zones/0/places"),
        (with(vec![zone("a", gb(), vec![]), zone("b", gb(), vec![])]), "/zones"),
        (with(vec![zone("a", vec![], vec![]), zone("b", vec![], vec![])]), "/zones"),
        (with(vec![zone("a", gb(), vec![rate("a b", 1, None)])]), "/zones/0/rates/0/class"),
        (with(vec![zone("a", gb(), vec![rate("a", PPM + 1, None)])]), "/zones/0/rates/0/rate"),
        (
            with(vec![zone("a", gb(), vec![rate("a", 1, None), rate("a", 2, None)])]),
            "/zones/0/rates/1/from",
        ),
    ];
    for (policy, pointer) in table {
        let refused = TaxPolicy::default().decide(define(policy, 1));
        assert!(
            matches!(&refused, Err(TaxError::Invalid { at, .. }) if at == pointer),
            "{pointer}: {refused:?}"
        );
    }
}
