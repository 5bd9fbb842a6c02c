//! Stories of shipping profiles.

use event_schemas::money::Currency;

use super::*;
use crate::stored::survives;

fn gbp(amount_minor: i64) -> Money {
    Money { amount_minor, currency: Currency::GBP }
}

fn band(weight_g_max: Option<u32>, order_minor_min: i64, amount: i64) -> RateBand {
    RateBand { weight_g_max, order_minor_min, amount: gbp(amount) }
}

fn method(code: &str, bands: Vec<RateBand>) -> ShippingMethod {
    ShippingMethod { code: code.to_owned(), title: code.to_owned(), bands }
}

fn gb() -> Place {
    Place { country: "GB".to_owned(), region: None }
}

fn zone(code: &str, places: Vec<Place>, methods: Vec<ShippingMethod>) -> ShippingZone {
    ShippingZone { code: code.to_owned(), places, methods }
}

/// Free from 50 £ up to 2 kg; letters cost less than parcels; nothing over 20 kg.
fn home() -> ShippingZone {
    let standard =
        vec![band(Some(2_000), 5_000, 0), band(Some(500), 0, 295), band(Some(20_000), 0, 595)];
    zone(
        "home",
        vec![gb()],
        vec![method("standard", standard), method("van", vec![band(None, 0, 4_000)])],
    )
}

fn define(zones: Vec<ShippingZone>) -> ShippingCommand {
    ShippingCommand::Define { zones, at: DateTime::UNIX_EPOCH }
}

fn given(zones: Vec<ShippingZone>) -> ShippingProfile {
    let mut profile = ShippingProfile::default();
    for event in survives::<ShippingProfile>(vec![define(zones)], ShippingProfile::decide) {
        profile.apply(event);
    }
    profile
}

fn prices(profile: &ShippingProfile, to: &Place, parcel: Parcel) -> Vec<(String, i64)> {
    let options = profile.options(to, parcel, DateTime::UNIX_EPOCH).into_iter();
    options.map(|option| (option.code, option.amount.amount_minor)).collect()
}

#[test]
fn the_first_row_that_fits_has_the_price() {
    let profile = given(vec![home()]);
    let of = |weight_g, lines| prices(&profile, &gb(), Parcel { weight_g, lines: gbp(lines) });
    let both = |standard| vec![("standard".to_owned(), standard), ("van".to_owned(), 4_000)];
    assert_eq!(of(500, 4_999), both(295));
    assert_eq!(of(501, 4_999), both(595));
    assert_eq!(of(2_000, 5_000), both(0));
    assert_eq!(of(2_001, 5_000), both(595));
    // Too heavy for the post.
    assert_eq!(of(20_001, 5_000), [("van".to_owned(), 4_000)]);
}

#[test]
fn nothing_is_sent_to_a_place_without_a_zone_or_in_another_currency() {
    let profile = given(vec![home()]);
    let parcel = Parcel { weight_g: 1, lines: gbp(1) };
    let fr = Place { country: "FR".to_owned(), region: None };
    assert_eq!(prices(&profile, &fr, parcel), []);
    let yen = Money { amount_minor: 1, currency: Currency::JPY };
    assert_eq!(prices(&profile, &gb(), Parcel { lines: yen, ..parcel }), []);
    let world = zone("world", vec![], vec![method("air", vec![band(None, 0, 2_000)])]);
    let profile = given(vec![home(), world]);
    assert_eq!(prices(&profile, &fr, parcel), [("air".to_owned(), 2_000)]);
}

#[test]
fn only_what_changed_is_news() {
    let profile = given(vec![home()]);
    assert_eq!(profile.decide(define(vec![home()])), Ok(vec![]));
    let changed = ShippingZone { methods: vec![], ..home() };
    assert_eq!(profile.decide(define(vec![changed])).unwrap().len(), 1);
    let at = DateTime::UNIX_EPOCH;
    let removed = ShippingEvent::ZoneRemoved(ShippingZoneRemoved { code: "home".into(), at });
    assert_eq!(profile.decide(define(vec![])), Ok(vec![removed]));
}

#[test]
fn what_is_no_profile_is_refused_with_the_place_of_the_mistake() {
    let with = |methods| vec![zone("home", vec![gb()], methods)];
    let ok = || vec![band(None, 0, 1)];
    let table = [
        (vec![zone("", vec![], vec![])], "/zones/0/code"),
        (vec![zone("a", vec![gb()], vec![]), zone("a", vec![], vec![])], "/zones/1/code"),
        (vec![zone("a", vec![gb()], vec![]), zone("b", vec![gb()], vec![])], "/zones"),
        (with(vec![method("a b", ok())]), "/zones/0/methods/0/code"),
        (with(vec![method("a", ok()), method("a", ok())]), "/zones/0/methods/1/code"),
        (
            with(vec![ShippingMethod { title: " ".into(), ..method("a", ok()) }]),
            "/zones/0/methods/0/title",
        ),
        (with(vec![method("a", vec![])]), "/zones/0/methods/0/bands"),
        (with(vec![method("a", vec![band(None, 0, -1)])]), "/zones/0/methods/0/bands/0/amount"),
        (
            with(vec![method("a", vec![band(None, -1, 1)])]),
            "/zones/0/methods/0/bands/0/order_minor_min",
        ),
    ];
    for (zones, pointer) in table {
        let refused = ShippingProfile::default().decide(define(zones));
        assert!(
            matches!(&refused, Err(ShippingError::Invalid { at, .. }) if at == pointer),
            "{pointer}: {refused:?}"
        );
    }
}
