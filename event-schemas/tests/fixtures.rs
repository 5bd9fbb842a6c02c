//! The promise: every event that was ever stored can still be read.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::{collections::BTreeMap, fs, path::Path};

use cqrs_es::DomainEvent;
use event_schemas::{
    cart::CartEvent,
    catalog::ProductEvent,
    checkout::CheckoutEvent,
    coupon::CouponEvent,
    inventory::StockItemEvent,
    order::{AdjustmentEvent, OrderEvent},
    payment::PaymentEvent,
    shipping::ShippingEvent,
    store::StoreEvent,
    tax::TaxEvent,
    upcast,
};
use serde_json::Value;

/// One event enum.
struct Owner {
    /// Its name in the source.
    name: &'static str,
    /// What its streams are called in the log.
    category: &'static str,
    /// Every event type it reads.
    types: fn() -> Vec<String>,
    /// Reads a fixture: type, version, content. Gives the current version of the type.
    check: fn(&str, u16, &Value) -> Result<u16, String>,
}

/// Every event enum; [`no_event_enum_is_left_out`] sees that it is complete.
const OWNERS: &[Owner] = &[
    owner::<ProductEvent>("ProductEvent", "product"),
    owner::<StockItemEvent>("StockItemEvent", "stock_item"),
    owner::<CartEvent>("CartEvent", "cart"),
    owner::<CheckoutEvent>("CheckoutEvent", "checkout"),
    owner::<OrderEvent>("OrderEvent", "order"),
    owner::<AdjustmentEvent>("AdjustmentEvent", "refund_adjustment"),
    owner::<PaymentEvent>("PaymentEvent", "payment"),
    owner::<CouponEvent>("CouponEvent", "coupon"),
    owner::<ShippingEvent>("ShippingEvent", "shipping_profile"),
    owner::<TaxEvent>("TaxEvent", "tax_policy"),
    owner::<StoreEvent>("StoreEvent", "store"),
];

const fn owner<E: DomainEvent>(name: &'static str, category: &'static str) -> Owner {
    Owner { name, category, types: types::<E>, check: check::<E> }
}

#[test]
fn every_fixture_reads_as_the_current_event() {
    for ((event_type, version), stored) in fixtures() {
        let owner = owner_of(&event_type);
        if let Err(error) = (owner.check)(&event_type, version, &stored) {
            panic!("{event_type}.v{version}: {error}");
        }
        let payload = serde_json::to_vec(&stored).unwrap();
        let current = upcast::current(owner.category, &event_type, version, &payload).unwrap();
        assert_eq!(current["type"], event_type.as_str());
    }
}

#[test]
fn every_version_of_every_event_type_has_a_fixture() {
    let fixtures = fixtures();
    let of = |event_type: &str, version| fixtures.get(&(event_type.to_owned(), version));
    for owner in OWNERS {
        for event_type in (owner.types)() {
            let first = of(&event_type, 1);
            let first = first.unwrap_or_else(|| panic!("fixtures/{event_type}.v1.json is missing"));
            let current = (owner.check)(&event_type, 1, first).unwrap();
            for version in 1..=current {
                let there = of(&event_type, version).is_some();
                assert!(there, "fixtures/{event_type}.v{version}.json is missing");
            }
        }
    }
}

#[test]
fn event_types_are_unique_in_the_whole_log() {
    let mut all: Vec<String> = OWNERS.iter().flat_map(|owner| (owner.types)()).collect();
    all.sort();
    let mut unique = all.clone();
    unique.dedup();
    assert_eq!(all, unique);
}

#[test]
fn an_unknown_event_type_is_an_error_and_not_skipped() {
    let payload = br#"{ "type": "ProductEaten", "at": "2025-11-03T10:00:00Z" }"#;
    assert!(upcast::decode::<ProductEvent>("ProductEaten", 1, payload).is_err());
}

#[test]
fn an_event_of_another_enum_is_an_error() {
    let stored = fixtures().remove(&("OrderPlaced".to_owned(), 1)).unwrap();
    let payload = serde_json::to_vec(&stored).unwrap();
    assert!(upcast::decode::<OrderEvent>("OrderPlaced", 1, &payload).is_ok());
    assert!(upcast::decode::<PaymentEvent>("OrderPlaced", 1, &payload).is_err());
}

#[test]
fn no_event_enum_is_left_out() {
    let mut found = vec![];
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let source = fs::read_to_string(entry.unwrap().path()).unwrap();
        let names = source.lines().filter_map(|line| line.strip_prefix("impl DomainEvent for "));
        found.extend(names.map(|name| name.trim_end_matches(" {").to_owned()));
    }
    found.sort();
    let mut listed: Vec<_> = OWNERS.iter().map(|owner| owner.name.to_owned()).collect();
    listed.sort();
    assert_eq!(found, listed);
}

/// Content by type and version.
fn fixtures() -> BTreeMap<(String, u16), Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let read = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let stem = name.strip_suffix(".json").expect("a fixture ends in .json");
        let (event_type, version) = stem.rsplit_once(".v").expect("a fixture names its version");
        let version = version.parse().expect("a version is a number");
        let stored = serde_json::from_str(&fs::read_to_string(path).unwrap());
        ((event_type.to_owned(), version), stored.unwrap_or_else(|e| panic!("{name}: {e}")))
    };
    fs::read_dir(folder).unwrap().map(|entry| read(&entry.unwrap().path())).collect()
}

fn owner_of(event_type: &str) -> &'static Owner {
    let mut owners = OWNERS.iter();
    owners
        .find(|owner| (owner.types)().iter().any(|known| known == event_type))
        .unwrap_or_else(|| panic!("no event enum reads `{event_type}`"))
}

/// The names `E` is stored under. Serde lists them when it meets an unknown one, so that the list
/// cannot be forgotten when a variant is added.
fn types<E: DomainEvent>() -> Vec<String> {
    let error = serde_json::from_str::<E>(r#"{ "type": "?" }"#).unwrap_err().to_string();
    let expected = error.split_once("expected ").expect("serde names what it expected").1;
    let names: Vec<_> = expected.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(!names.is_empty(), "no names in `{error}`");
    names
}

fn check<E: DomainEvent>(event_type: &str, version: u16, stored: &Value) -> Result<u16, String> {
    let payload = serde_json::to_vec(stored).map_err(|e| e.to_string())?;
    let event: E = upcast::decode(event_type, version, &payload).map_err(|e| e.to_string())?;
    if event.event_type() != event_type {
        return Err(format!("says it is `{}`", event.event_type()));
    }
    let current: u16 = event.event_version().parse().map_err(|_| "version is not a number")?;
    let again = serde_json::to_value(&event).map_err(|e| e.to_string())?;
    if version == current && again != *stored {
        return Err(format!("shape changed, raise the version: now {again}"));
    }
    if current < version {
        return Err(format!("is newer than the current version {current}"));
    }
    Ok(current)
}
