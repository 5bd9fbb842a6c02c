//! Facts about how a store taxes what it sells.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::{
    place::Place,
    quote::{Rate, Rounding},
    upcast::Upcast,
};

/// A fact about the tax policy of one store. The stream id is the store's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum TaxEvent {
    /// Prices come with the tax in them, or without.
    #[serde(rename = "TaxInclusionSet")]
    InclusionSet(TaxInclusionSet),
    /// Tax is rounded another way.
    #[serde(rename = "TaxRoundingSet")]
    RoundingSet(TaxRoundingSet),
    /// Carriage is taxed as this class is.
    #[serde(rename = "TaxShippingClassSet")]
    ShippingClassSet(TaxShippingClassSet),
    /// These places are taxed alike.
    #[serde(rename = "TaxZoneDefined")]
    ZoneDefined(TaxZoneDefined),
    /// The zone is no zone any more; its rates are gone with it.
    #[serde(rename = "TaxZoneRemoved")]
    ZoneRemoved(TaxZoneRemoved),
    /// A class has another rate in a zone, from a day on.
    #[serde(rename = "TaxRateSet")]
    RateSet(TaxRateSet),
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxInclusionSet {
    /// Whether prices come with the tax in them.
    pub prices_include_tax: bool,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxRoundingSet {
    /// How.
    pub rounding: Rounding,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxShippingClassSet {
    /// The class.
    pub class: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1. Replaces the places of a zone of the same code; its rates stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxZoneDefined {
    /// The merchant's code.
    pub zone: String,
    /// Where; everywhere else if empty.
    pub places: Vec<Place>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxZoneRemoved {
    /// Which zone.
    pub zone: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1. What was sold before `from` keeps its rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxRateSet {
    /// Which zone.
    pub zone: String,
    /// Which class.
    pub class: String,
    /// The rate.
    pub rate: Rate,
    /// From then on, until the next one.
    pub from: DateTime<Utc>,
    /// When it was set.
    pub at: DateTime<Utc>,
}

impl DomainEvent for TaxEvent {
    fn event_type(&self) -> String {
        let name = match self {
            Self::InclusionSet(_) => "TaxInclusionSet",
            Self::RoundingSet(_) => "TaxRoundingSet",
            Self::ShippingClassSet(_) => "TaxShippingClassSet",
            Self::ZoneDefined(_) => "TaxZoneDefined",
            Self::ZoneRemoved(_) => "TaxZoneRemoved",
            Self::RateSet(_) => "TaxRateSet",
        };
        name.to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

/// Oldest first.
pub const UPCASTS: &[Upcast] = &[];
