//! Facts about products: what is for sale, in which variants, at what price.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::{ids::VariantId, money::Money, upcast::Upcast};

/// A fact about one product. The stream id is the product id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum ProductEvent {
    /// The product exists, as a draft.
    #[serde(rename = "ProductCreated")]
    Created(ProductCreated),
    /// Texts or tags were rewritten.
    #[serde(rename = "ProductDetailsChanged")]
    DetailsChanged(ProductDetailsChanged),
    /// A variant can be stocked and, once priced, sold.
    #[serde(rename = "VariantAdded")]
    VariantAdded(VariantAdded),
    /// A variant has a price, or another one.
    #[serde(rename = "PriceSet")]
    PriceSet(PriceSet),
    /// It is taxed as another class of goods is.
    #[serde(rename = "ProductTaxClassSet")]
    TaxClassSet(ProductTaxClassSet),
    /// The storefront shows the product.
    #[serde(rename = "ProductPublished")]
    Published(ProductPublished),
    /// The storefront hides the product; it stays a draft.
    #[serde(rename = "ProductUnpublished")]
    Unpublished(ProductUnpublished),
    /// The product is out of the range; its history stays.
    #[serde(rename = "ProductArchived")]
    Archived(ProductArchived),
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductCreated {
    /// Name in URLs, unique in the store: lower-case letters, digits and hyphens.
    pub handle: String,
    /// Name for people.
    pub title: String,
    /// Description, HTML as the merchant gave it. Whoever shows it sanitises it.
    pub description: String,
    /// Maker or brand; may be empty.
    pub vendor: String,
    /// Kind of product in the merchant's words; may be empty.
    pub product_type: String,
    /// Labels, as given, without repeats.
    pub tags: Vec<String>,
    /// Names of what variants differ in, such as `Size`. At most three.
    pub options: Vec<String>,
    /// When it was created.
    pub at: DateTime<Utc>,
}

/// Version 1. A field is there if it changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductDetailsChanged {
    /// New title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Change<String>>,
    /// New description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Change<String>>,
    /// New vendor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<Change<String>>,
    /// New kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_type: Option<Change<String>>,
    /// New labels, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Change<Vec<String>>>,
    /// When it was changed.
    pub at: DateTime<Utc>,
}

/// A descriptive field before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change<T> {
    /// What it was.
    pub from: T,
    /// What it is now.
    pub to: T,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariantAdded {
    /// The variant; also the stream of its stock.
    pub variant_id: VariantId,
    /// Stock keeping unit, unique in the store where there is one.
    pub sku: Option<String>,
    /// EAN, UPC or the like, as given.
    pub barcode: Option<String>,
    /// Name for people: option values joined, or `Default`.
    pub title: String,
    /// One value per option of the product, in its order.
    pub option_values: Vec<String>,
    /// Weight in grams.
    pub weight_g: Option<u32>,
    /// When it was added.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceSet {
    /// Which variant.
    pub variant_id: VariantId,
    /// What one unit costs from now on. Zero or more.
    pub price: Money,
    /// Former price to show struck through; same currency, not below `price`.
    pub compare_at: Option<Money>,
    /// When it was set.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductTaxClassSet {
    /// Class of the store's tax policy, such as `standard`; a class without a rate is not taxed.
    pub tax_class: String,
    /// When it was set.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductPublished {
    /// When it went on show.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductUnpublished {
    /// When it was taken down.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductArchived {
    /// When it left the range.
    pub at: DateTime<Utc>,
}

impl DomainEvent for ProductEvent {
    fn event_type(&self) -> String {
        let name = match self {
            Self::Created(_) => "ProductCreated",
            Self::DetailsChanged(_) => "ProductDetailsChanged",
            Self::VariantAdded(_) => "VariantAdded",
            Self::PriceSet(_) => "PriceSet",
            Self::TaxClassSet(_) => "ProductTaxClassSet",
            Self::Published(_) => "ProductPublished",
            Self::Unpublished(_) => "ProductUnpublished",
            Self::Archived(_) => "ProductArchived",
        };
        name.to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

/// Oldest first.
pub const UPCASTS: &[Upcast] = &[];
