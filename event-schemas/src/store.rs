//! Facts about a store itself: how it wants to do business.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::upcast::Upcast;

/// A fact about one store. The stream id is the store id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum StoreEvent {
    /// The store does something otherwise from now on. What is under way goes on as it began.
    #[serde(rename = "StorePolicyChanged")]
    PolicyChanged(StorePolicyChanged),
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorePolicyChanged {
    /// Which policy, and from what to what.
    #[serde(flatten)]
    pub change: PolicyChange,
    /// When.
    pub at: DateTime<Utc>,
}

/// One policy and its values before and after, which differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "snake_case")]
pub enum PolicyChange {
    /// Minutes that stock is held for a shopper who has not paid.
    HoldMinutes {
        /// Before.
        from: u32,
        /// From now on.
        to: u32,
    },
    /// When the money of an order is taken.
    Capture {
        /// Before.
        from: CaptureMoment,
        /// From now on.
        to: CaptureMoment,
    },
}

/// When the money of an order is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CaptureMoment {
    /// As soon as its stock is allocated.
    #[default]
    Immediately,
    /// When its first parcel leaves: all of it, because most providers take money of an
    /// authorisation once and then let go of the rest.
    OnShipment,
}

impl DomainEvent for StoreEvent {
    fn event_type(&self) -> String {
        let Self::PolicyChanged(_) = self;
        "StorePolicyChanged".to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

/// Oldest first.
pub const UPCASTS: &[Upcast] = &[];
