//! Shipping profiles: where a store sends things, how, and for how much.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use event_schemas::{
    money::Money,
    place::Place,
    quote::{RateSource, ShippingOption},
    shipping::{
        RateBand, ShippingEvent, ShippingMethod, ShippingZone, ShippingZoneDefined,
        ShippingZoneRemoved,
    },
};
use serde::{Deserialize, Serialize};

use crate::place::{self, PLACES_MAX};
use crate::pricing::is_tax_class;

#[cfg(test)]
mod tests;

/// Zones of one profile.
pub const ZONES_MAX: usize = 100;

/// Methods of one zone: shoppers choose among a few.
pub const METHODS_MAX: usize = 20;

/// Rows of one table of prices.
pub const BANDS_MAX: usize = 100;

/// Characters of a title.
pub const TITLE_CHARS_MAX: usize = 120;

/// Highest price of carriage: 10^10 minor units, as that of a product.
pub const AMOUNT_MINOR_MAX: i64 = 10_000_000_000;

/// What can be asked of a shipping profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShippingCommand {
    /// Makes these the zones. What is left out is removed.
    Define { zones: Vec<ShippingZone>, at: DateTime<Utc> },
}

/// Why a profile refuses a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShippingError {
    /// A field cannot be.
    #[error("{at}: {why}")]
    Invalid {
        /// Where, as a JSON pointer.
        at: String,
        /// Why.
        why: &'static str,
    },
}

/// The shipping profile of one store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShippingProfile {
    /// Zones by code.
    pub zones: BTreeMap<String, ShippingZone>,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// Grams.
    pub weight_g: u64,
    /// What the lines come to, before discounts.
    pub lines: Money,
}

impl ShippingProfile {
    /// Whether the store has one.
    pub fn is_defined(&self) -> bool {
        !self.zones.is_empty()
    }

    /// The ways to send a parcel to a place; none if the store does not send it there. Each price
    /// is good until `expires_at`.
    pub fn options(
        &self,
        to: &Place,
        parcel: Parcel,
        expires_at: DateTime<Utc>,
    ) -> Vec<ShippingOption> {
        let zone = place::zone_of(self.zones.values(), |zone| zone.places.as_slice(), to);
        let methods = zone.into_iter().flat_map(|zone| &zone.methods);
        let option = |method: &ShippingMethod| {
            let band = method.bands.iter().find(|band| fits(band, parcel))?;
            Some(ShippingOption {
                code: method.code.clone(),
                title: method.title.clone(),
                amount: band.amount,
                source: RateSource::Table,
                expires_at,
            })
        };
        methods.filter_map(option).collect()
    }

    /// Says what a command makes happen, given everything that happened before.
    pub fn decide(&self, command: ShippingCommand) -> Result<Vec<ShippingEvent>, ShippingError> {
        let ShippingCommand::Define { zones, at } = command;
        check(&zones)?;
        let kept = |code: &String| zones.iter().any(|zone| zone.code == *code);
        let removed = self.zones.keys().filter(|code| !kept(code)).cloned();
        let removed =
            removed.map(|code| ShippingEvent::ZoneRemoved(ShippingZoneRemoved { code, at }));
        let mut events: Vec<ShippingEvent> = removed.collect();
        let defined = zones.into_iter().filter(|zone| self.zones.get(&zone.code) != Some(zone));
        events.extend(
            defined.map(|zone| ShippingEvent::ZoneDefined(ShippingZoneDefined { zone, at })),
        );
        Ok(events)
    }
}

fn fits(band: &RateBand, parcel: Parcel) -> bool {
    band.amount.currency == parcel.lines.currency
        && band.weight_g_max.is_none_or(|max| parcel.weight_g <= u64::from(max))
        && band.order_minor_min <= parcel.lines.amount_minor
}

fn check(zones: &[ShippingZone]) -> Result<(), ShippingError> {
    let invalid = |at: String, why| Err(ShippingError::Invalid { at, why });
    if ZONES_MAX < zones.len() {
        return invalid("/zones".to_owned(), "at most 100");
    }
    for (index, zone) in zones.iter().enumerate() {
        let at = |member: &str| format!("/zones/{index}/{member}");
        if !is_tax_class(&zone.code) {
            return invalid(at("code"), BAD_CODE);
        }
        if zones[..index].iter().any(|other| other.code == zone.code) {
            return invalid(at("code"), "stands there twice");
        }
        if PLACES_MAX < zone.places.len() || !zone.places.iter().all(place::is_valid) {
            return invalid(at("places"), "at most 500, with an ISO 3166 country in capitals");
        }
        if METHODS_MAX < zone.methods.len() {
            return invalid(at("methods"), "at most 20");
        }
        for (number, method) in zone.methods.iter().enumerate() {
            let repeated = zone.methods[..number].iter().any(|other| other.code == method.code);
            check_method(method, &at(&format!("methods/{number}")), repeated)?;
        }
    }
    if place::repeated(zones.iter().map(|zone| zone.places.as_slice())).is_some() {
        return invalid("/zones".to_owned(), "a place is in two zones");
    }
    Ok(())
}

fn check_method(
    method: &ShippingMethod,
    pointer: &str,
    repeated: bool,
) -> Result<(), ShippingError> {
    let invalid =
        |member: &str, why| Err(ShippingError::Invalid { at: format!("{pointer}/{member}"), why });
    if !is_tax_class(&method.code) {
        return invalid("code", BAD_CODE);
    }
    if repeated {
        return invalid("code", "stands there twice");
    }
    let characters = method.title.trim().chars().count();
    if method.title.chars().any(char::is_control) || !(1..=TITLE_CHARS_MAX).contains(&characters) {
        return invalid("title", "1 to 120 characters");
    }
    if !(1..=BANDS_MAX).contains(&method.bands.len()) {
        return invalid("bands", "1 to 100");
    }
    for (index, band) in method.bands.iter().enumerate() {
        if !(0..=AMOUNT_MINOR_MAX).contains(&band.amount.amount_minor) {
            return invalid(&format!("bands/{index}/amount"), "zero to 10,000,000,000 minor units");
        }
        if band.order_minor_min < 0 {
            return invalid(&format!("bands/{index}/order_minor_min"), "zero or more");
        }
    }
    Ok(())
}

const BAD_CODE: &str = "1 to 40 lower-case letters, digits, `-` and `_`";

impl Aggregate for ShippingProfile {
    const TYPE: &'static str = "shipping_profile";
    type Command = ShippingCommand;
    type Event = ShippingEvent;
    type Error = ShippingError;
    type Services = ();

    async fn handle(
        &mut self,
        command: ShippingCommand,
        _services: &(),
        sink: &EventSink<Self>,
    ) -> Result<(), ShippingError> {
        for event in self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: ShippingEvent) {
        match event {
            ShippingEvent::ZoneDefined(e) => {
                self.zones.insert(e.zone.code.clone(), e.zone);
            }
            ShippingEvent::ZoneRemoved(e) => {
                self.zones.remove(&e.code);
            }
        }
    }
}
