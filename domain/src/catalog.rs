//! Products: what is for sale, in which variants, at what price.

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use event_schemas::{
    catalog::{
        Change, PriceSet, ProductArchived, ProductCreated, ProductDetailsChanged, ProductEvent,
        ProductPublished, ProductTaxClassSet, ProductUnpublished, VariantAdded,
    },
    ids::VariantId,
    money::Money,
};
use serde::{Deserialize, Serialize};

use crate::pricing::{STANDARD_CLASS, is_tax_class};

mod check;
mod error;
#[cfg(test)]
mod properties;
mod slug;
#[cfg(test)]
mod tests;

pub use check::{
    DESCRIPTION_BYTES_MAX, HANDLE_CHARS_MAX, NEW_VARIANTS_MAX, OPTIONS_MAX, PRICE_MINOR_MAX,
    SKU_CHARS_MAX, TAGS_BYTES_MAX, TAGS_MAX, TEXT_CHARS_MAX, VARIANTS_MAX,
};
pub use error::{Missing, ProductError};
pub use slug::handle_of;

/// What can be asked of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProductCommand {
    /// Makes a draft.
    Create { product: Box<NewProduct>, at: DateTime<Utc> },
    /// Rewrites texts or tags. Nothing new, nothing happens.
    Describe { details: Box<NewDetails>, at: DateTime<Utc> },
    /// Adds one variant, priced or not.
    AddVariant { variant: Box<NewVariant>, at: DateTime<Utc> },
    /// Says what a variant costs from now on. The same price again, nothing happens.
    SetPrice { variant_id: VariantId, price: Money, compare_at: Option<Money>, at: DateTime<Utc> },
    /// Says which class of goods it is taxed as. The same class again, nothing happens.
    SetTaxClass { tax_class: String, at: DateTime<Utc> },
    /// Puts a draft on sale.
    Publish { at: DateTime<Utc> },
    /// Makes it a draft again.
    Unpublish { at: DateTime<Utc> },
    /// Takes it out of the range, for good.
    Archive { at: DateTime<Utc> },
}

/// A product to be made. Bounds are the constants of this module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewProduct {
    /// Name in URLs, unique in the store; [`handle_of`] makes one of a title.
    pub handle: String,
    /// Name for people.
    pub title: String,
    /// HTML as given; may be empty.
    pub description: String,
    /// Maker or brand; may be empty.
    pub vendor: String,
    /// Kind in the merchant's words; may be empty.
    pub product_type: String,
    /// Labels. Repeats are dropped.
    pub tags: Vec<String>,
    /// Names of what variants differ in.
    pub options: Vec<String>,
    /// At most [`NEW_VARIANTS_MAX`]; a draft may have none yet.
    pub variants: Vec<NewVariant>,
}

/// New texts; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewDetails {
    /// New title.
    pub title: Option<String>,
    /// New description.
    pub description: Option<String>,
    /// New vendor.
    pub vendor: Option<String>,
    /// New kind.
    pub product_type: Option<String>,
    /// New tags, all of them.
    pub tags: Option<Vec<String>>,
}

/// A variant to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVariant {
    /// Its id, made by the caller so that a repeat names the same variant.
    pub variant_id: VariantId,
    /// Stock keeping unit, unique in the store where there is one.
    pub sku: Option<String>,
    /// EAN, UPC or the like.
    pub barcode: Option<String>,
    /// One value per option of the product, in its order.
    pub option_values: Vec<String>,
    /// Grams.
    pub weight_g: Option<u32>,
    /// What one unit costs; a variant without a price is not sold.
    pub price: Option<Money>,
    /// Former price, not below `price`; only with a price.
    pub compare_at: Option<Money>,
}

/// Where a product stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Being prepared, or taken down. Not sold.
    Draft,
    /// On sale.
    Active,
    /// Out of the range for good.
    Archived,
}

/// Only what the rules and the checkout need. Anything merely shown belongs in a projection.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Product {
    listing: Option<Listing>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Listing {
    handle: String,
    title: String,
    description: String,
    vendor: String,
    product_type: String,
    tags: Vec<String>,
    options: Vec<String>,
    variants: Vec<Variant>,
    tax_class: String,
    status: Status,
}

/// A variant as the rules see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// Its id.
    pub variant_id: VariantId,
    /// Stock keeping unit.
    pub sku: Option<String>,
    /// Option values joined, or `Default`.
    pub title: String,
    /// One value per option of the product.
    pub option_values: Vec<String>,
    /// Grams.
    pub weight_g: Option<u32>,
    /// What one unit costs.
    pub price: Option<Money>,
    /// Former price.
    pub compare_at: Option<Money>,
}

/// What a checkout needs to know of a variant: a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Product and variant in one name, such as `Truffles – 250 g`.
    pub title: String,
    /// Stock keeping unit.
    pub sku: Option<String>,
    /// What one unit costs, or why it is not for sale.
    pub price: Result<Money, NotSellable>,
    /// Grams of one unit; none if nobody weighed it.
    pub weight_g: Option<u32>,
    /// What it is taxed as.
    pub tax_class: String,
}

/// Why a variant cannot be bought now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSellable {
    /// The product is a draft.
    #[error("product is not published")]
    Draft,
    /// The product left the range.
    #[error("product is archived")]
    Archived,
    /// The variant has no price.
    #[error("variant has no price")]
    Unpriced,
}

impl Product {
    /// Says what a command makes happen, given everything that happened before.
    pub fn decide(&self, command: ProductCommand) -> Result<Vec<ProductEvent>, ProductError> {
        let Some(listing) = &self.listing else {
            return match command {
                ProductCommand::Create { product, at } => create(*product, at),
                _ => Err(ProductError::NotFound),
            };
        };
        match command {
            ProductCommand::Create { .. } => Err(ProductError::AlreadyExists),
            _ if listing.status == Status::Archived => Err(ProductError::Archived),
            ProductCommand::Describe { details, at } => listing.describe(*details, at),
            ProductCommand::AddVariant { variant, at } => listing.add_variant(*variant, at),
            ProductCommand::SetPrice { variant_id, price, compare_at, at } => {
                listing.set_price(PriceSet { variant_id, price, compare_at, at })
            }
            ProductCommand::SetTaxClass { tax_class, at } => listing.set_tax_class(tax_class, at),
            ProductCommand::Publish { at } => listing.publish(at),
            ProductCommand::Unpublish { at } => listing.unpublish(at),
            ProductCommand::Archive { at } => {
                Ok(vec![ProductEvent::Archived(ProductArchived { at })])
            }
        }
    }

    /// Where it stands; `None` if it was never created.
    pub fn status(&self) -> Option<Status> {
        self.listing.as_ref().map(|listing| listing.status)
    }

    /// Its name for people; `None` if it was never created.
    pub fn title(&self) -> Option<&str> {
        self.listing.as_ref().map(|listing| listing.title.as_str())
    }

    /// Its name in URLs; `None` if it was never created.
    pub fn handle(&self) -> Option<&str> {
        self.listing.as_ref().map(|listing| listing.handle.as_str())
    }

    /// What it is taxed as; `None` if it was never created.
    pub fn tax_class(&self) -> Option<&str> {
        self.listing.as_ref().map(|listing| listing.tax_class.as_str())
    }

    /// Its variants, in the order they were added.
    pub fn variants(&self) -> &[Variant] {
        self.listing.as_ref().map_or(&[], |listing| &listing.variants)
    }

    /// One of its variants.
    pub fn variant(&self, variant_id: VariantId) -> Option<&Variant> {
        self.variants().iter().find(|variant| variant.variant_id == variant_id)
    }

    /// A variant as a checkout sees it; `None` if it is not one of this product.
    ///
    /// The price is there only for a published product: whoever sells cannot forget to ask.
    pub fn offer(&self, variant_id: VariantId) -> Option<Offer> {
        let listing = self.listing.as_ref()?;
        let variant = listing.variant(variant_id)?;
        let title = if variant.option_values.is_empty() {
            listing.title.clone()
        } else {
            format!("{} – {}", listing.title, variant.title)
        };
        let price = match listing.status {
            Status::Draft => Err(NotSellable::Draft),
            Status::Archived => Err(NotSellable::Archived),
            Status::Active => variant.price.ok_or(NotSellable::Unpriced),
        };
        let (sku, weight_g) = (variant.sku.clone(), variant.weight_g);
        Some(Offer { title, sku, price, weight_g, tax_class: listing.tax_class.clone() })
    }
}

fn create(new: NewProduct, at: DateTime<Utc>) -> Result<Vec<ProductEvent>, ProductError> {
    check::product(&new)?;
    let created = ProductCreated {
        handle: new.handle,
        title: new.title,
        description: new.description,
        vendor: new.vendor,
        product_type: new.product_type,
        tags: without_repeats(new.tags),
        options: new.options,
        at,
    };
    let variants = new.variants.into_iter().flat_map(|variant| added(variant, at));
    Ok(std::iter::once(ProductEvent::Created(created)).chain(variants).collect())
}

/// The events of a variant that was checked.
fn added(new: NewVariant, at: DateTime<Utc>) -> impl Iterator<Item = ProductEvent> {
    let NewVariant { variant_id, compare_at, .. } = new;
    let price = new
        .price
        .map(|price| ProductEvent::PriceSet(PriceSet { variant_id, price, compare_at, at }));
    let title = match new.option_values.as_slice() {
        [] => "Default".to_owned(),
        values => values.join(" / "),
    };
    let added = VariantAdded {
        variant_id,
        sku: new.sku,
        barcode: new.barcode,
        title,
        option_values: new.option_values,
        weight_g: new.weight_g,
        at,
    };
    std::iter::once(ProductEvent::VariantAdded(added)).chain(price)
}

/// Keeps the first of equal tags, so that the merchant's order stays.
fn without_repeats(tags: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(tags.len());
    for tag in tags {
        if !kept.contains(&tag) {
            kept.push(tag);
        }
    }
    kept
}

impl Listing {
    fn variant(&self, variant_id: VariantId) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.variant_id == variant_id)
    }

    fn describe(
        &self,
        new: NewDetails,
        at: DateTime<Utc>,
    ) -> Result<Vec<ProductEvent>, ProductError> {
        check::details(&new)?;
        let changed = ProductDetailsChanged {
            title: change(&self.title, new.title),
            description: change(&self.description, new.description),
            vendor: change(&self.vendor, new.vendor),
            product_type: change(&self.product_type, new.product_type),
            tags: change(&self.tags, new.tags.map(without_repeats)),
            at,
        };
        if changed == (ProductDetailsChanged { at, ..ProductDetailsChanged::default() }) {
            return Ok(vec![]);
        }
        Ok(vec![ProductEvent::DetailsChanged(changed)])
    }

    fn add_variant(
        &self,
        new: NewVariant,
        at: DateTime<Utc>,
    ) -> Result<Vec<ProductEvent>, ProductError> {
        check::another_variant(&self.options, &self.variants, &new)?;
        Ok(added(new, at).collect())
    }

    fn set_price(&self, new: PriceSet) -> Result<Vec<ProductEvent>, ProductError> {
        let variant = self
            .variant(new.variant_id)
            .ok_or(ProductError::UnknownVariant { variant_id: new.variant_id })?;
        let others = self.variants.iter().filter(|other| other.variant_id != new.variant_id);
        let currency = others.filter_map(|other| other.price).map(|price| price.currency).next();
        check::price(Some(new.price), new.compare_at, currency, "")?;
        if variant.price == Some(new.price) && variant.compare_at == new.compare_at {
            return Ok(vec![]);
        }
        Ok(vec![ProductEvent::PriceSet(new)])
    }

    fn set_tax_class(
        &self,
        tax_class: String,
        at: DateTime<Utc>,
    ) -> Result<Vec<ProductEvent>, ProductError> {
        if !is_tax_class(&tax_class) {
            return Err(ProductError::TaxClassInvalid { at: "/tax_class".to_owned() });
        }
        if self.tax_class == tax_class {
            return Ok(vec![]);
        }
        Ok(vec![ProductEvent::TaxClassSet(ProductTaxClassSet { tax_class, at })])
    }

    fn publish(&self, at: DateTime<Utc>) -> Result<Vec<ProductEvent>, ProductError> {
        if self.status != Status::Draft {
            return Err(ProductError::AlreadyPublished);
        }
        if self.variants.is_empty() {
            return Err(ProductError::NotPublishable { missing: vec![Missing::Variant] });
        }
        if self.variants.iter().all(|variant| variant.price.is_none()) {
            return Err(ProductError::NotPublishable { missing: vec![Missing::Price] });
        }
        Ok(vec![ProductEvent::Published(ProductPublished { at })])
    }

    fn unpublish(&self, at: DateTime<Utc>) -> Result<Vec<ProductEvent>, ProductError> {
        if self.status != Status::Active {
            return Err(ProductError::NotPublished);
        }
        Ok(vec![ProductEvent::Unpublished(ProductUnpublished { at })])
    }

    fn rewrite(&mut self, changed: ProductDetailsChanged) {
        let put = |field: &mut String, change: Option<Change<String>>| {
            if let Some(change) = change {
                *field = change.to;
            }
        };
        put(&mut self.title, changed.title);
        put(&mut self.description, changed.description);
        put(&mut self.vendor, changed.vendor);
        put(&mut self.product_type, changed.product_type);
        if let Some(tags) = changed.tags {
            self.tags = tags.to;
        }
    }

    fn reprice(&mut self, new: PriceSet) {
        let mut variants = self.variants.iter_mut();
        if let Some(variant) = variants.find(|variant| variant.variant_id == new.variant_id) {
            variant.price = Some(new.price);
            variant.compare_at = new.compare_at;
        }
    }
}

fn change<T: Clone + PartialEq>(from: &T, to: Option<T>) -> Option<Change<T>> {
    to.filter(|to| to != from).map(|to| Change { from: from.clone(), to })
}

impl From<ProductCreated> for Listing {
    fn from(created: ProductCreated) -> Listing {
        Listing {
            handle: created.handle,
            title: created.title,
            description: created.description,
            vendor: created.vendor,
            product_type: created.product_type,
            tags: created.tags,
            options: created.options,
            variants: vec![],
            tax_class: STANDARD_CLASS.to_owned(),
            status: Status::Draft,
        }
    }
}

impl From<VariantAdded> for Variant {
    fn from(added: VariantAdded) -> Variant {
        Variant {
            variant_id: added.variant_id,
            sku: added.sku,
            title: added.title,
            option_values: added.option_values,
            weight_g: added.weight_g,
            price: None,
            compare_at: None,
        }
    }
}

impl Aggregate for Product {
    const TYPE: &'static str = "product";
    type Command = ProductCommand;
    type Event = ProductEvent;
    type Error = ProductError;
    type Services = ();

    async fn handle(
        &mut self,
        command: ProductCommand,
        _services: &(),
        sink: &EventSink<Self>,
    ) -> Result<(), ProductError> {
        for event in self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: ProductEvent) {
        if let ProductEvent::Created(created) = event {
            self.listing = Some(created.into());
            return;
        }
        let Some(listing) = &mut self.listing else {
            // No rule lets anything happen to a product that does not exist.
            return;
        };
        match event {
            ProductEvent::Created(_) => {}
            ProductEvent::DetailsChanged(changed) => listing.rewrite(changed),
            ProductEvent::VariantAdded(added) => listing.variants.push(added.into()),
            ProductEvent::PriceSet(set) => listing.reprice(set),
            ProductEvent::TaxClassSet(set) => listing.tax_class = set.tax_class,
            ProductEvent::Published(_) => listing.status = Status::Active,
            ProductEvent::Unpublished(_) => listing.status = Status::Draft,
            ProductEvent::Archived(_) => listing.status = Status::Archived,
        }
    }
}
