//! What clients send about products.

use domain::catalog::{NewDetails, NewVariant};
use event_schemas::ids::VariantId;
use event_schemas::money::Money;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

/// A product to be made, as a draft.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewVariant, example = json!({
    "title": "Truffle box", "vendor": "Conche", "tags": ["gift"], "options": ["Size"],
    "variants": [{
        "sku": "TRF-250", "option_values": ["250 g"], "weight_g": 250,
        "price": { "amount_minor": 1850, "currency": "GBP" }
    }]
}))]
pub(crate) struct CreateProduct {
    /// Name for people, 1 to 255 characters.
    pub(crate) title: String,
    /// Name in URLs, unique in the store: lower-case letters, digits and hyphens. Made from the
    /// title if left out.
    pub(crate) handle: Option<String>,
    /// HTML, at most 64 KiB. Kept as it is; whoever shows it sanitises it.
    #[serde(default)]
    pub(crate) description: String,
    /// Maker or brand.
    #[serde(default)]
    pub(crate) vendor: String,
    /// Kind of product in your words.
    #[serde(default)]
    pub(crate) product_type: String,
    /// Labels, at most 250. Repeats are dropped.
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    /// Names of what the variants differ in, at most three.
    #[serde(default)]
    pub(crate) options: Vec<String>,
    /// At most 200 here; more can be added one by one, up to 2,000. If there are neither variants
    /// nor options, the product gets one default variant without a price.
    #[serde(default)]
    pub(crate) variants: Vec<VariantBody>,
}

/// A variant to be added.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewVariant, example = json!({
    "sku": "TRF-500", "option_values": ["500 g"], "weight_g": 500,
    "price": { "amount_minor": 3400, "currency": "GBP" }
}))]
pub(crate) struct VariantBody {
    /// Stock keeping unit, unique in the store where there is one.
    sku: Option<String>,
    /// EAN, UPC or the like.
    barcode: Option<String>,
    /// One value per option of the product, in its order.
    #[serde(default)]
    option_values: Vec<String>,
    /// Weight in grams.
    weight_g: Option<u32>,
    /// What one unit costs; a variant without a price is not sold.
    price: Option<Money>,
    /// Former price to show struck through, not below `price`.
    compare_at: Option<Money>,
}

impl VariantBody {
    pub(crate) fn into_variant(self, variant_id: VariantId) -> NewVariant {
        let VariantBody { sku, barcode, option_values, weight_g, price, compare_at } = self;
        NewVariant { variant_id, sku, barcode, option_values, weight_g, price, compare_at }
    }
}

/// New texts, as a merge patch (RFC 7396): what is left out stays, `null` empties.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "title": "Truffle box, large", "tags": ["gift", "new"] }))]
pub(crate) struct DescribeProduct {
    /// Name for people. Cannot be emptied.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(value_type = String, required = false)]
    title: Option<String>,
    /// HTML.
    #[serde(default, deserialize_with = "null_empties")]
    description: Option<String>,
    /// Maker or brand.
    #[serde(default, deserialize_with = "null_empties")]
    vendor: Option<String>,
    /// Kind of product in your words.
    #[serde(default, deserialize_with = "null_empties")]
    product_type: Option<String>,
    /// All labels.
    #[serde(default, deserialize_with = "null_empties")]
    tags: Option<Vec<String>>,
}

impl From<DescribeProduct> for NewDetails {
    fn from(body: DescribeProduct) -> NewDetails {
        let DescribeProduct { title, description, vendor, product_type, tags } = body;
        NewDetails { title, description, vendor, product_type, tags }
    }
}

/// What a variant costs from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewPrice)]
pub(crate) struct PriceBody {
    /// What one unit costs, zero or more.
    pub(crate) price: Money,
    /// Former price to show struck through, not below `price`; none if left out.
    pub(crate) compare_at: Option<Money>,
}

/// What a product is taxed as.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewTaxClass)]
pub(crate) struct TaxClassBody {
    /// A class of the tax policy: `standard` at first. One without a rate is not taxed.
    #[schema(example = "food")]
    pub(crate) tax_class: String,
}

/// For a field that may be left out but not be `null`.
fn not_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// For a field that `null` sets to nothing.
fn null_empties<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    let value = Option::<T>::deserialize(from)?;
    Ok(Some(value.unwrap_or_default()))
}
