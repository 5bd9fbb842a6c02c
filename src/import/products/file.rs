//! A Shopify product CSV as products: rows with the same handle belong together, the first of them
//! carries the product, each one may carry a variant, an image, or both.

use std::{
    collections::{HashMap, hash_map::Entry},
    io::Read,
};

use domain::catalog::{NewProduct, NewVariant, Product, ProductCommand, ProductError};
use event_schemas::{
    ids::{StoreId, VariantId},
    money::Currency,
};

use crate::import::{
    amount::{self, price},
    columns::SHOPIFY_PRODUCTS,
    problem::{Place, Problem, Problems, shown},
    table::{self, Row},
};

/// Units of opening stock one row may bring: the bound of one receipt.
const QUANTITY_MAX: i64 = domain::inventory::QUANTITY_MAX as i64;

/// A product of the file.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    /// Where its first row is.
    pub(crate) place: Place,
    /// The product as the rules take it; the ids of its variants follow from store, handle and
    /// option values.
    pub(crate) product: NewProduct,
    /// Whether the shop shows it.
    pub(crate) published: bool,
    /// Beside each variant of `product`, in the same order.
    pub(crate) stock: Vec<Opening>,
}

/// What the file says about the stock of a variant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    /// Row of the variant.
    pub(crate) place: Place,
    /// Units that are there.
    pub(crate) quantity: u32,
}

/// A whole file.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// In the order of the file.
    pub(crate) listings: Vec<Listing>,
    /// Images named in it, which are not taken over.
    pub(crate) images: usize,
}

impl Catalogue {
    /// Variants of all products.
    pub(crate) fn variants(&self) -> usize {
        self.listings.iter().map(|listing| listing.product.variants.len()).sum()
    }
}

/// Reads a file and checks it against everything that can be known without the store: its form,
/// the rules for products, and that no handle, variant or SKU stands twice.
pub fn read(
    file: impl Read,
    store: StoreId,
    currency: Currency,
    problems: &mut Problems,
) -> Catalogue {
    let mut reader = Reader {
        store,
        currency,
        catalogue: Catalogue::default(),
        handles: HashMap::new(),
        skus: HashMap::new(),
    };
    table::read(file, &SHOPIFY_PRODUCTS, problems, |row, problems| {
        if let Err(problem) = reader.take(&row) {
            problems.push(problem);
        }
    });
    if problems.is_empty() {
        // Else a variant may be missing here whose row is at fault already.
        for problem in reader.catalogue.listings.iter().filter_map(|it| check(it).err()) {
            problems.push(problem);
        }
    }
    reader.catalogue
}

struct Reader {
    store: StoreId,
    currency: Currency,
    catalogue: Catalogue,
    /// Index of each handle's listing; none if its first row is bad, so that the rows below it do
    /// not add complaints.
    handles: HashMap<String, Option<usize>>,
    skus: HashMap<String, Place>,
}

impl Reader {
    fn take(&mut self, row: &Row<'_>) -> Result<(), Problem> {
        let handle = row.get("Handle");
        if handle.is_empty() {
            return Err(row.problem("Handle", "is empty; every row names its product"));
        }
        let index = match self.handles.get(handle) {
            Some(Some(index)) => *index,
            Some(None) => return Ok(()),
            None => {
                self.handles.insert(handle.to_owned(), None);
                let listing = listing(row)?;
                let index = self.catalogue.listings.len();
                self.catalogue.listings.push(listing);
                self.handles.insert(handle.to_owned(), Some(index));
                index
            }
        };
        self.same_product(index, row)?;
        if !row.get("Image Src").is_empty() {
            self.catalogue.images += 1;
        }
        if has_variant(row) { self.add_variant(index, row) } else { Ok(()) }
    }

    /// A later row may repeat the product's title, but not change it.
    fn same_product(&self, index: usize, row: &Row<'_>) -> Result<(), Problem> {
        let first = &self.catalogue.listings[index];
        let title = row.get("Title");
        if title.is_empty() || title == first.product.title {
            return Ok(());
        }
        let message = format!(
            "handle `{}` has another title in {}; give one of them another handle",
            shown(row.get("Handle")),
            first.place
        );
        Err(row.problem("Title", message))
    }

    fn add_variant(&mut self, index: usize, row: &Row<'_>) -> Result<(), Problem> {
        let sku = Some(row.get("Variant SKU")).filter(|sku| !sku.is_empty());
        if let Some(sku) = sku {
            match self.skus.entry(sku.to_owned()) {
                Entry::Vacant(free) => {
                    free.insert(row.place);
                }
                Entry::Occupied(taken) => {
                    let message = format!(
                        "`{}` is also the SKU of {}; change one of them",
                        shown(sku),
                        taken.get()
                    );
                    return Err(row.problem("Variant SKU", message));
                }
            }
        }
        let listing = &mut self.catalogue.listings[index];
        let option_values = option_values(row, listing.product.options.len())?;
        // What is not for sale may have no price yet.
        let unpriced = !listing.published && row.get("Variant Price").is_empty();
        let price = if unpriced { None } else { Some(price(row, "Variant Price", self.currency)?) };
        let compare_at = match row.get("Variant Compare At Price") {
            "" => None,
            // A former price that is not higher would be no reduction; shops leave such ones over.
            _ => Some(amount::price(row, "Variant Compare At Price", self.currency)?)
                .filter(|former| price.is_some_and(|now| former.amount_minor > now.amount_minor)),
        };
        let variant = NewVariant {
            variant_id: variant_id(self.store, &listing.product.handle, &option_values),
            sku: sku.map(ToOwned::to_owned),
            barcode: Some(row.get("Variant Barcode")).filter(|it| !it.is_empty()).map(Into::into),
            option_values,
            weight_g: amount::grams(row, "Variant Grams")?,
            price,
            compare_at,
        };
        let quantity = opening(row)?;
        listing.product.variants.push(variant);
        listing.stock.push(Opening { place: row.place, quantity });
        Ok(())
    }
}

/// The id of a variant, the same in every run.
pub(crate) fn variant_id(store: StoreId, handle: &str, option_values: &[String]) -> VariantId {
    let mut parts: Vec<&[u8]> = vec![store.0.as_bytes(), b"import", handle.as_bytes()];
    parts.extend(option_values.iter().map(String::as_bytes));
    VariantId::derive(&parts)
}

/// The product fields of its first row.
fn listing(row: &Row<'_>) -> Result<Listing, Problem> {
    let title = row.get("Title");
    if title.is_empty() {
        return Err(row.problem("Title", "is empty; the first row of a product has its title"));
    }
    let tags = row.get("Tags").split(',').map(str::trim).filter(|tag| !tag.is_empty());
    let product = NewProduct {
        handle: row.get("Handle").to_owned(),
        title: title.to_owned(),
        description: row.raw("Body (HTML)").to_owned(),
        vendor: row.get("Vendor").to_owned(),
        product_type: row.get("Type").to_owned(),
        tags: tags.map(ToOwned::to_owned).collect(),
        options: option_names(row),
        variants: vec![],
    };
    Ok(Listing { place: row.place, product, published: published(row)?, stock: vec![] })
}

/// Whether the shop shows the product: `Published`, unless its `Status` says otherwise.
fn published(row: &Row<'_>) -> Result<bool, Problem> {
    let published = amount::truth(row, "Published", true)?;
    match row.get("Status").to_ascii_lowercase().as_str() {
        "" | "active" => Ok(published),
        "draft" | "archived" | "unlisted" => Ok(false),
        other => {
            let message = format!("`{}` is no status; use active, draft or archived", shown(other));
            Err(row.problem("Status", message))
        }
    }
}

const OPTION_NAMES: [&str; 3] = ["Option1 Name", "Option2 Name", "Option3 Name"];
const OPTION_VALUES: [&str; 3] = ["Option1 Value", "Option2 Value", "Option3 Value"];

/// Names of the options. `Title` with `Default Title` is how Shopify writes a product without any.
fn option_names(row: &Row<'_>) -> Vec<String> {
    let single = row.get("Option1 Name") == "Title" && row.get("Option1 Value") == "Default Title";
    let names = OPTION_NAMES.map(|column| row.get(column)).into_iter();
    let names = names.take_while(|name| !name.is_empty() && !single);
    names.map(ToOwned::to_owned).collect()
}

fn option_values(row: &Row<'_>, options: usize) -> Result<Vec<String>, Problem> {
    for (index, column) in OPTION_VALUES.into_iter().enumerate() {
        let value = row.get(column);
        if index < options && value.is_empty() {
            let message = "is empty; a variant has a value for each option of its product";
            return Err(row.problem(column, message));
        }
        let default = index == 0 && value == "Default Title";
        if options <= index && !value.is_empty() && !default {
            let message = "has a value, but the first row of the product does not name this option";
            return Err(row.problem(column, message));
        }
    }
    Ok(OPTION_VALUES[..options].iter().map(|column| row.get(column).to_owned()).collect())
}

/// Whether a row carries a variant. Shopify fills in defaults such as weight 0 in every variant
/// row only, but people who edit files do not, so only what makes a variant counts.
fn has_variant(row: &Row<'_>) -> bool {
    let columns = ["Variant SKU", "Variant Price", "Variant Barcode"];
    columns.iter().chain(&OPTION_VALUES).any(|column| !row.get(column).is_empty())
}

/// Stock to begin with. Shopify counts below zero for what it has oversold: nothing is there then.
fn opening(row: &Row<'_>) -> Result<u32, Problem> {
    const COLUMN: &str = "Variant Inventory Qty";
    if row.get(COLUMN).is_empty() {
        return Ok(0);
    }
    let quantity = amount::whole(row, COLUMN)?;
    if quantity.abs() > QUANTITY_MAX {
        return Err(row.problem(COLUMN, format!("is beyond {QUANTITY_MAX} units; check it")));
    }
    Ok(u32::try_from(quantity).unwrap_or(0))
}

/// Asks the rules themselves, before anything is stored.
fn check(listing: &Listing) -> Result<(), Problem> {
    if listing.published && listing.product.variants.is_empty() {
        let message = "is empty in every row of the product; a published product needs a price";
        return Err(Problem::at(listing.place, message).in_column("Variant Price"));
    }
    let create = ProductCommand::Create {
        product: Box::new(listing.product.clone()),
        at: chrono::DateTime::UNIX_EPOCH,
    };
    match Product::default().decide(create) {
        Ok(_) => Ok(()),
        Err(error) => Err(refused(listing, &error)),
    }
}

/// What a rule says, at the row and column it says it about.
fn refused(listing: &Listing, error: &ProductError) -> Problem {
    let pointer = error.pointer().unwrap_or_default();
    let mut steps = pointer.split('/').skip(1);
    let (place, field) = match (steps.next(), steps.next().and_then(|index| index.parse().ok())) {
        (Some("variants"), Some(index)) => {
            let stock: Option<&Opening> = listing.stock.get::<usize>(index);
            (stock.map_or(listing.place, |stock| stock.place), steps.next())
        }
        (field, _) => (listing.place, field),
    };
    let column = match field {
        Some("handle") => "Handle",
        Some("title") => "Title",
        Some("description") => "Body (HTML)",
        Some("vendor") => "Vendor",
        Some("product_type") => "Type",
        Some("tags") => "Tags",
        Some("options") => "Option1 Name",
        Some("option_values" | "variant_id") => "Option1 Value",
        Some("sku") => "Variant SKU",
        Some("barcode") => "Variant Barcode",
        Some("price") => "Variant Price",
        Some("compare_at") => "Variant Compare At Price",
        _ => return Problem::at(place, error.to_string()),
    };
    let message = match error {
        // Its id follows from its option values.
        ProductError::DuplicateVariant { .. } => {
            "another variant of the product has the same option values; change one".to_owned()
        }
        _ => error.to_string(),
    };
    Problem::at(place, message).in_column(column)
}

#[cfg(test)]
mod tests;
