//! Tax policies: which places are taxed alike, at which rates, from which day on.
//!
//! A rate that was in force is never changed: what was sold under it stays explained.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use event_schemas::{
    place::Place,
    quote::{PPM, Rate, Rounding},
    tax::{
        TaxEvent, TaxInclusionSet, TaxRateSet, TaxRoundingSet, TaxShippingClassSet, TaxZoneDefined,
        TaxZoneRemoved,
    },
};
use serde::{Deserialize, Serialize};

use crate::place::{self, PLACES_MAX};
use crate::pricing::{Taxation, is_tax_class};

#[cfg(test)]
mod tests;

/// Zones of one policy: more than there are countries that tax what is sent there.
pub const ZONES_MAX: usize = 100;

/// Classes of one zone; no country has that many rates.
pub const CLASSES_MAX: usize = 20;

/// Rates of one class over time: decades of yearly changes.
pub const RATES_MAX: usize = 50;

/// What can be asked of a tax policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaxCommand {
    /// Makes the policy what is given. Zones that are left out are removed; rates are added to
    /// those that are there.
    Define { policy: Box<NewTaxPolicy>, at: DateTime<Utc> },
}

/// A policy as a merchant writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTaxPolicy {
    /// Whether prices come with the tax in them.
    pub prices_include_tax: bool,
    /// How tax is rounded.
    pub rounding: Rounding,
    /// Class of the carriage.
    pub shipping_class: String,
    /// Places that are taxed alike.
    pub zones: Vec<NewTaxZone>,
}

/// A zone as a merchant writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTaxZone {
    /// Its code.
    pub code: String,
    /// Where; everywhere else if empty.
    pub places: Vec<Place>,
    /// Rates that hold from now on, or from a day on.
    pub rates: Vec<NewTaxRate>,
}

/// A rate as a merchant writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTaxRate {
    /// Of which class.
    pub class: String,
    /// The rate.
    pub rate: Rate,
    /// From when on; now if none.
    pub from: Option<DateTime<Utc>>,
}

/// Why a policy refuses a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaxError {
    /// A field cannot be.
    #[error("{at}: {why}")]
    Invalid {
        /// Where, as a JSON pointer.
        at: String,
        /// Why.
        why: &'static str,
    },
    /// A rate that is or was in force would be another one.
    #[error("the rate of `{class}` in `{zone}` before now cannot be changed")]
    RateOverlap {
        /// Which zone.
        zone: String,
        /// Which class.
        class: String,
    },
}

/// The tax policy of one store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxPolicy {
    /// Whether prices come with the tax in them.
    pub prices_include_tax: bool,
    /// How tax is rounded; none before the policy is defined.
    pub rounding: Option<Rounding>,
    /// Class of the carriage.
    pub shipping_class: String,
    /// Zones by code.
    pub zones: BTreeMap<String, TaxZone>,
}

/// Places that are taxed alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxZone {
    /// Where; everywhere else if empty.
    pub places: Vec<Place>,
    /// Rates by class, and by the moment from which they hold.
    pub rates: BTreeMap<String, BTreeMap<DateTime<Utc>, Rate>>,
}

impl TaxZone {
    fn rate(&self, class: &str, at: DateTime<Utc>) -> Option<Rate> {
        self.rates.get(class)?.range(..=at).next_back().map(|(_, rate)| *rate)
    }
}

impl TaxPolicy {
    /// Whether the store has one.
    pub fn is_defined(&self) -> bool {
        self.rounding.is_some()
    }

    /// The rules for a place and a time; `None` if the store has no policy.
    pub fn taxation(&self, to: &Place, at: DateTime<Utc>) -> Option<Taxation> {
        let rounding = self.rounding?;
        let zone = place::zone_of(&self.zones, |(_, zone)| zone.places.as_slice(), to);
        let rates = zone.into_iter().flat_map(|(_, zone)| {
            let classes = zone.rates.keys();
            classes.filter_map(move |class| Some((class.clone(), zone.rate(class, at)?)))
        });
        Some(Taxation {
            zone: zone.map(|(code, _)| code.clone()).unwrap_or_default(),
            prices_include_tax: self.prices_include_tax,
            rounding,
            rates: rates.collect(),
            shipping_class: self.shipping_class.clone(),
        })
    }

    /// Says what a command makes happen, given everything that happened before.
    pub fn decide(&self, command: TaxCommand) -> Result<Vec<TaxEvent>, TaxError> {
        let TaxCommand::Define { policy, at } = command;
        check(&policy)?;
        let NewTaxPolicy { prices_include_tax, rounding, shipping_class, zones } = *policy;
        let mut events = vec![];
        if self.rounding != Some(rounding) {
            events.push(TaxEvent::RoundingSet(TaxRoundingSet { rounding, at }));
        }
        if !self.is_defined() || self.prices_include_tax != prices_include_tax {
            events.push(TaxEvent::InclusionSet(TaxInclusionSet { prices_include_tax, at }));
        }
        if self.shipping_class != shipping_class {
            let class = shipping_class;
            events.push(TaxEvent::ShippingClassSet(TaxShippingClassSet { class, at }));
        }
        let kept = |code: &String| zones.iter().any(|zone| zone.code == *code);
        events.extend(
            self.zones
                .keys()
                .filter(|code| !kept(code))
                .map(|zone| TaxEvent::ZoneRemoved(TaxZoneRemoved { zone: zone.clone(), at })),
        );
        for zone in zones {
            self.define_zone(zone, at, &mut events)?;
        }
        Ok(events)
    }

    fn define_zone(
        &self,
        new: NewTaxZone,
        at: DateTime<Utc>,
        events: &mut Vec<TaxEvent>,
    ) -> Result<(), TaxError> {
        let NewTaxZone { code: zone, places, rates } = new;
        let old = self.zones.get(&zone);
        if old.is_none_or(|old| old.places != places) {
            let zone = zone.clone();
            events.push(TaxEvent::ZoneDefined(TaxZoneDefined { zone, places, at }));
        }
        for NewTaxRate { class, rate, from } in rates {
            let known = old.and_then(|old| old.rate(&class, from.unwrap_or(at)));
            // The same rate from the same moment on, or on and on, is no news.
            let dated = |from| old?.rates.get(&class)?.get(&from).copied();
            let same = match from {
                Some(from) => dated(from) == Some(rate),
                None => known == Some(rate),
            };
            if same {
                continue;
            }
            let count = old.and_then(|old| old.rates.get(&class)).map_or(0, BTreeMap::len);
            let from = from.unwrap_or(at);
            if from < at || RATES_MAX <= count {
                return Err(TaxError::RateOverlap { zone, class });
            }
            let zone = zone.clone();
            events.push(TaxEvent::RateSet(TaxRateSet { zone, class, rate, from, at }));
        }
        Ok(())
    }
}

fn check(policy: &NewTaxPolicy) -> Result<(), TaxError> {
    let invalid = |at: String, why| Err(TaxError::Invalid { at, why });
    if !is_tax_class(&policy.shipping_class) {
        return invalid("/shipping_class".to_owned(), BAD_CODE);
    }
    if ZONES_MAX < policy.zones.len() {
        return invalid("/zones".to_owned(), "at most 100");
    }
    for (index, zone) in policy.zones.iter().enumerate() {
        let at = |member: &str| format!("/zones/{index}/{member}");
        if !is_tax_class(&zone.code) {
            return invalid(at("code"), BAD_CODE);
        }
        if policy.zones[..index].iter().any(|other| other.code == zone.code) {
            return invalid(at("code"), "stands there twice");
        }
        if PLACES_MAX < zone.places.len() || !zone.places.iter().all(place::is_valid) {
            return invalid(at("places"), "at most 500, with an ISO 3166 country in capitals");
        }
        check_rates(zone, &at("rates"))?;
    }
    if place::repeated(policy.zones.iter().map(|zone| zone.places.as_slice())).is_some() {
        return invalid("/zones".to_owned(), "a place is in two zones");
    }
    Ok(())
}

fn check_rates(zone: &NewTaxZone, pointer: &str) -> Result<(), TaxError> {
    let invalid = |at: &str, why| Err(TaxError::Invalid { at: at.to_owned(), why });
    let mut seen = std::collections::BTreeSet::new();
    let mut classes = std::collections::BTreeSet::new();
    for (index, rate) in zone.rates.iter().enumerate() {
        let at = |member: &str| format!("{pointer}/{index}/{member}");
        if !is_tax_class(&rate.class) {
            return invalid(&at("class"), BAD_CODE);
        }
        if PPM < rate.rate.0 {
            return invalid(&at("rate"), "at most 1,000,000 millionths");
        }
        if !seen.insert((&rate.class, rate.from)) {
            return invalid(&at("from"), "stands there twice for this class");
        }
        classes.insert(&rate.class);
    }
    if CLASSES_MAX < classes.len() || CLASSES_MAX * RATES_MAX < zone.rates.len() {
        return invalid(pointer, "too many");
    }
    Ok(())
}

const BAD_CODE: &str = "1 to 40 lower-case letters, digits, `-` and `_`";

impl Aggregate for TaxPolicy {
    const TYPE: &'static str = "tax_policy";
    type Command = TaxCommand;
    type Event = TaxEvent;
    type Error = TaxError;
    type Services = ();

    async fn handle(
        &mut self,
        command: TaxCommand,
        _services: &(),
        sink: &EventSink<Self>,
    ) -> Result<(), TaxError> {
        for event in self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: TaxEvent) {
        match event {
            TaxEvent::InclusionSet(e) => self.prices_include_tax = e.prices_include_tax,
            TaxEvent::RoundingSet(e) => self.rounding = Some(e.rounding),
            TaxEvent::ShippingClassSet(e) => self.shipping_class = e.class,
            TaxEvent::ZoneDefined(e) => {
                self.zones.entry(e.zone).or_default().places = e.places;
            }
            TaxEvent::ZoneRemoved(e) => {
                self.zones.remove(&e.zone);
            }
            TaxEvent::RateSet(e) => {
                let zone = self.zones.entry(e.zone).or_default();
                zone.rates.entry(e.class).or_default().insert(e.from, e.rate);
            }
        }
    }
}
