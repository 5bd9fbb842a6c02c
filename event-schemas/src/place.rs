//! Where something is sent to, as far as money depends on it.

use serde::{Deserialize, Serialize};

/// A country, or a part of one.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// ISO 3166-1 alpha-2, such as `GB`.
    #[schema(example = "GB")]
    pub country: String,
    /// Part of the country, as its post or ISO 3166-2 writes it, such as `NIR`; the whole country
    /// if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}
