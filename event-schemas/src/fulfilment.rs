//! Parcels of an order: what goes where from, and how far it is. Part of the order's stream, because
//! what may still be packed, cancelled and refunded is one question (docs/adr/0021).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{FulfilmentId, LineId};

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FulfilmentCreated {
    /// The parcel.
    pub fulfilment_id: FulfilmentId,
    /// Code of the place it leaves from, such as `main`.
    pub location: String,
    /// What is in it, each line once.
    pub lines: Vec<FulfilmentLine>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Units of an order line that are in a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FulfilmentLine {
    /// Which line of the order.
    pub line_id: LineId,
    /// Units, at least one.
    pub quantity: u32,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FulfilmentShipped {
    /// Which parcel.
    pub fulfilment_id: FulfilmentId,
    /// How the shopper follows it; none for what is carried round.
    pub tracking: Option<Tracking>,
    /// When it left.
    pub at: DateTime<Utc>,
}

/// A carrier's name of a parcel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tracking {
    /// Who carries it, such as `royal_mail`; 1 to 64 characters.
    pub carrier: String,
    /// The carrier's number of it; 1 to 64 characters.
    pub number: String,
    /// Where to see how far it is: `https`, at most 500 characters.
    pub url: Option<String>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FulfilmentDelivered {
    /// Which parcel.
    pub fulfilment_id: FulfilmentId,
    /// When it arrived.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FulfilmentCancelled {
    /// Which parcel; it never left.
    pub fulfilment_id: FulfilmentId,
    /// Why.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
}
