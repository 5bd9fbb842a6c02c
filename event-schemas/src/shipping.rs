//! Facts about how a store sends things, where to, and for how much.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::{money::Money, place::Place, upcast::Upcast};

/// A fact about the shipping profile of one store. The stream id is the store's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum ShippingEvent {
    /// Things are sent to these places, by these methods.
    #[serde(rename = "ShippingZoneDefined")]
    ZoneDefined(ShippingZoneDefined),
    /// The zone is no zone any more.
    #[serde(rename = "ShippingZoneRemoved")]
    ZoneRemoved(ShippingZoneRemoved),
}

/// Version 1. Replaces a zone of the same code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShippingZoneDefined {
    /// The zone.
    #[serde(flatten)]
    pub zone: ShippingZone,
    /// When.
    pub at: DateTime<Utc>,
}

/// Places, and how things are sent there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShippingZone {
    /// The merchant's code.
    #[schema(example = "home")]
    pub code: String,
    /// Where; everywhere else if empty.
    pub places: Vec<Place>,
    /// How.
    pub methods: Vec<ShippingMethod>,
}

/// One way to send things, with its table of prices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShippingMethod {
    /// The merchant's code, unique in the zone.
    #[schema(example = "standard")]
    pub code: String,
    /// Name for people.
    pub title: String,
    /// The first band that fits has the price; a purchase that fits none is not sent this way.
    pub bands: Vec<RateBand>,
}

/// One row of a table of prices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RateBand {
    /// Up to this weight, in grams; any weight if none.
    #[serde(default)]
    pub weight_g_max: Option<u32>,
    /// From this value of the lines before discounts, in minor units of the currency of `amount`.
    #[serde(default)]
    pub order_minor_min: i64,
    /// The price.
    pub amount: Money,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShippingZoneRemoved {
    /// Which zone.
    pub code: String,
    /// When.
    pub at: DateTime<Utc>,
}

impl DomainEvent for ShippingEvent {
    fn event_type(&self) -> String {
        let name = match self {
            Self::ZoneDefined(_) => "ShippingZoneDefined",
            Self::ZoneRemoved(_) => "ShippingZoneRemoved",
        };
        name.to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

/// Oldest first.
pub const UPCASTS: &[Upcast] = &[];
