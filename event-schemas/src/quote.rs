//! What a purchase costs and why: the figures of a quote, and the part of them an order keeps.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    ids::{LineId, QuoteId},
    money::Money,
    order::{Charge, OrderLine},
};

/// A whole, in the unit of [`Rate`]: 100 %.
pub const PPM: u32 = 1_000_000;

/// A share in millionths: `200_000` is 20 %, `81_250` is 8.125 %. Tax rates of this world have at
/// most five decimals, so that none needs a fraction of it.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(transparent)]
#[schema(value_type = u32, example = 200_000)]
pub struct Rate(pub u32);

impl std::fmt::Display for Rate {
    /// In per cent: `8.125 %`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} %", rust_decimal::Decimal::new(i64::from(self.0), 4).normalize())
    }
}

/// What a checkout costs, down to the minor unit. `total` is the exact sum of `lines` and
/// `charges`; `pricing` says how it came about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Quote {
    /// What is bought, at the prices the checkout began with.
    pub lines: Vec<OrderLine>,
    /// Discounts (negative), carriage, and tax where prices come without it.
    pub charges: Vec<Charge>,
    /// What the shopper owes. Zero or more.
    pub total: Money,
    /// How it came about.
    pub pricing: Pricing,
    /// From this moment on nobody can pay by it.
    pub expires_at: DateTime<Utc>,
}

/// How the figures of a quote came about; an order keeps it for ever.
///
/// The totals of `line_totals` and of `shipping` add up to the total of the quote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Pricing {
    /// The quote.
    pub quote_id: QuoteId,
    /// One per line, in their order.
    pub line_totals: Vec<LineTotal>,
    /// Carriage; none if nothing has to be sent, or if the store has no shipping profile.
    pub shipping: Option<ShippingTotal>,
    /// One per zone, class and rate. They add up to the tax of all lines and of the carriage.
    pub tax: Vec<TaxLine>,
    /// Whether prices come with the tax in them: it is then shown, and not added.
    pub prices_include_tax: bool,
    /// How tax was rounded.
    pub rounding: Rounding,
    /// What was taken off, by coupon.
    pub coupons: Vec<AppliedCoupon>,
    /// Versions of the rules it was made by.
    pub rules: RuleVersions,
}

/// What one line comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LineTotal {
    /// Which line.
    pub line_id: LineId,
    /// Price times quantity.
    pub gross: Money,
    /// Its share of all discounts; from zero to `gross`.
    pub discount: Money,
    /// Its tax, within the price or on top of it.
    pub tax: Money,
    /// What the shopper pays for it: `gross` less `discount`, plus `tax` if that is on top.
    pub total: Money,
    /// The rate; zero if it is not taxed.
    pub rate: Rate,
}

/// What sending it comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ShippingTotal {
    /// Code of the option that was chosen.
    pub code: String,
    /// Name for people.
    pub title: String,
    /// Where the price came from.
    pub source: RateSource,
    /// Price of the option.
    pub gross: Money,
    /// Its tax, within the price or on top of it.
    pub tax: Money,
    /// What the shopper pays for it.
    pub total: Money,
    /// The rate; zero if it is not taxed.
    pub rate: Rate,
}

/// Tax of one zone, class and rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaxLine {
    /// Code of the zone.
    pub zone: String,
    /// Code of the class.
    pub class: String,
    /// The rate.
    pub rate: Rate,
    /// What is taxed, without the tax.
    pub base: Money,
    /// The tax.
    pub amount: Money,
}

/// How tax is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rounding {
    /// What is rounded.
    pub level: RoundingLevel,
    /// What becomes of a half.
    pub mode: RoundingMode,
}

/// What is rounded to minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoundingLevel {
    /// The tax of each unit.
    Unit,
    /// The tax of each line.
    Line,
    /// The tax of the whole order, per rate; lines get their shares by largest remainder.
    Order,
}

/// What becomes of exactly half a minor unit; anything else goes to the nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoundingMode {
    /// To the even neighbour.
    HalfEven,
    /// Away from zero.
    HalfUp,
    /// Towards zero.
    HalfDown,
}

/// A coupon that a quote counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AppliedCoupon {
    /// Its code, as the store writes it.
    pub code: String,
    /// What it takes off. Above zero.
    pub amount: Money,
}

/// Versions of the streams a quote was made from; 0 where the store has no such rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RuleVersions {
    /// Of the tax policy.
    pub tax_policy: i64,
    /// Of the shipping profile.
    pub shipping_profile: i64,
}

/// A way to send a purchase, and its price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ShippingOption {
    /// The merchant's code, such as `standard`.
    #[schema(example = "standard")]
    pub code: String,
    /// Name for people.
    pub title: String,
    /// What it costs, before any tax on top.
    pub amount: Money,
    /// Where the price came from.
    pub source: RateSource,
    /// The price is good until then.
    pub expires_at: DateTime<Utc>,
}

/// Where the price of carriage came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RateSource {
    /// The store's own table.
    Table,
    /// A carrier said so.
    Carrier,
    /// The store's own table, because the carrier did not answer.
    Fallback,
}
