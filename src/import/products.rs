//! Product files in the store: makes what is missing, changes what differs.

use chrono::{DateTime, Utc};
use commands::{catalog, inventory};
use domain::{
    catalog::{NewDetails, NewProduct, NewVariant, Product, Status, Variant},
    inventory::Receipt,
};
use event_schemas::{
    ids::ProductId,
    inventory::{StockItemEvent, StockSource},
};
use futures::FutureExt as _;

use super::{
    importer::{Failure, Importer, Outcome, tally},
    problem::shown,
    report::Report,
};

mod file;

use file::Listing;
pub(crate) use file::variant_id;
pub use file::{Catalogue, read};

/// Reference of the receipt that brings the stock a product file names.
const OPENING: &str = "product import";

/// What a run calls the things it counts.
pub const PRODUCTS: &str = "products";
/// See [`PRODUCTS`].
pub const RECEIPTS: &str = "opening stocks";

impl Catalogue {
    /// What an import of it would do at most, in words.
    pub fn summary(&self) -> String {
        format!(
            "{} products, {} variants{}",
            self.listings.len(),
            self.variants(),
            self.images_note().map(|note| format!("; {note}")).unwrap_or_default()
        )
    }

    fn images_note(&self) -> Option<String> {
        (self.images > 0).then(|| format!("{} images are not taken over yet", self.images))
    }
}

/// Brings the store's catalogue to what the file says. Products, variants and stock that the file
/// does not name are left alone.
pub async fn take_over(importer: &Importer, catalogue: &Catalogue) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let work = catalogue.listings.iter();
    let work = work.map(|listing| (listing.place, one_product(importer, listing).boxed()));
    let done = importer.each(PRODUCTS, work.collect(), &mut report.problems).await?;
    report.tallies.push((PRODUCTS, tally(done)));
    let openings = catalogue.listings.iter().flat_map(|listing| {
        let stocks = listing.stock.iter().enumerate().filter(|(_, stock)| stock.quantity > 0);
        stocks
            .map(move |(index, stock)| (stock.place, open_stock(importer, listing, index).boxed()))
    });
    let done = importer.each(RECEIPTS, openings.collect(), &mut report.problems).await?;
    report.tallies.push((RECEIPTS, tally(done)));
    report.problems.sort();
    report.notes.extend(catalogue.images_note());
    Ok(report)
}

async fn one_product(importer: &Importer, listing: &Listing) -> Result<Outcome, Failure> {
    let handle = &listing.product.handle;
    let found = catalog::find_by_handle(&importer.ctx, importer.store, handle).await?;
    let Some(id) = found else {
        let id = create(importer, &listing.product, importer.ctx.now()).await?;
        show(importer, id, listing).await?;
        return Ok(Outcome::Created);
    };
    let loaded = catalog::load(&importer.ctx, importer.store, id).await?;
    let (product, version) = loaded.ok_or_else(|| {
        Failure::Refused(format!("the handle `{handle}` leads to no product; check the log"))
    })?;
    if product.status() == Some(Status::Archived) {
        let message = format!("`{handle}` is archived in the store; give it another handle");
        return Err(Failure::Refused(message));
    }
    let before = version;
    let mut now = describe(importer, (id, version), &listing.product).await?;
    for variant in &listing.product.variants {
        now = now.max(change_variant(importer, (id, now), &product, variant).await?);
    }
    now = now.max(show(importer, id, listing).await?);
    Ok(if before < now { Outcome::Updated } else { Outcome::Unchanged })
}

/// Makes a product with its variants and prices, all in one append.
pub(crate) async fn create(
    importer: &Importer,
    product: &NewProduct,
    at: DateTime<Utc>,
) -> Result<ProductId, Failure> {
    let handle = product.handle.as_str();
    let id = ProductId::derive(&[importer.store.0.as_bytes(), b"import", handle.as_bytes()]);
    let intent = importer.intent(&["product", handle], at);
    catalog::create(&importer.ctx, &intent, id, product.clone()).await?;
    Ok(id)
}

/// Rewrites texts and tags that differ; returns the version of the product after it.
async fn describe(
    importer: &Importer,
    (id, version): (ProductId, i64),
    product: &NewProduct,
) -> Result<i64, Failure> {
    let details = NewDetails {
        title: Some(product.title.clone()),
        description: Some(product.description.clone()),
        vendor: Some(product.vendor.clone()),
        product_type: Some(product.product_type.clone()),
        tags: Some(product.tags.clone()),
    };
    // With the version, going back to an earlier text is another command than the first time.
    let key = ["describe", &product.handle, &version.to_string()];
    let intent = importer.intent(&key, importer.ctx.now());
    Ok(catalog::describe(&importer.ctx, &intent, id, details).await?.version)
}

/// Adds a variant that is missing or prices it anew; returns the version of the product after it.
async fn change_variant(
    importer: &Importer,
    (id, version): (ProductId, i64),
    product: &Product,
    wanted: &NewVariant,
) -> Result<i64, Failure> {
    let (ctx, now) = (&importer.ctx, importer.ctx.now());
    let own_id = wanted.variant_id.to_string();
    let Some(found) = same_variant(product, wanted) else {
        let intent = importer.intent(&["variant", &own_id], now);
        return Ok(catalog::add_variant(ctx, &intent, id, wanted.clone()).await?.version);
    };
    if wanted.sku.is_some() && found.sku != wanted.sku {
        return Err(Failure::Refused(format!(
            "variant `{}` has SKU `{}` in the store, and a SKU does not change; use that one",
            shown(&found.title),
            shown(found.sku.as_deref().unwrap_or_default()),
        )));
    }
    let Some(price) = wanted.price else { return Ok(version) };
    if found.price == Some(price) && found.compare_at == wanted.compare_at {
        return Ok(version);
    }
    let intent = importer.intent(&["price", &own_id, &version.to_string()], now);
    let new =
        catalog::NewPrice { variant_id: found.variant_id, price, compare_at: wanted.compare_at };
    Ok(catalog::set_price(ctx, &intent, id, new).await?.version)
}

/// A variant is what its option values say, whoever made it.
fn same_variant<'a>(product: &'a Product, wanted: &NewVariant) -> Option<&'a Variant> {
    product.variants().iter().find(|variant| variant.option_values == wanted.option_values)
}

/// Puts the product on sale or takes it off; returns its version after it.
async fn show(importer: &Importer, id: ProductId, listing: &Listing) -> Result<i64, Failure> {
    let loaded = catalog::load(&importer.ctx, importer.store, id).await?;
    let (product, version) =
        loaded.ok_or_else(|| Failure::Refused("the product was not stored".to_owned()))?;
    let intent = |verb: &str| {
        let key = [verb, &listing.product.handle, &version.to_string()];
        importer.intent(&key, importer.ctx.now())
    };
    match (product.status(), listing.published) {
        (Some(Status::Draft), true) => {
            Ok(catalog::publish(&importer.ctx, &intent("publish"), id).await?.version)
        }
        (Some(Status::Active), false) => {
            Ok(catalog::unpublish(&importer.ctx, &intent("unpublish"), id).await?.version)
        }
        _ => Ok(version),
    }
}

/// Books the stock in that the file names, unless that was done before: a second file with another
/// number corrects nothing, because what was sold since is in neither.
async fn open_stock(
    importer: &Importer,
    listing: &Listing,
    index: usize,
) -> Result<Outcome, Failure> {
    let (ctx, store) = (&importer.ctx, importer.store);
    let (wanted, quantity) = (&listing.product.variants[index], listing.stock[index].quantity);
    let product = catalog::find_by_handle(ctx, store, &listing.product.handle).await?;
    let product = match product {
        Some(id) => catalog::load(ctx, store, id).await?,
        None => None,
    };
    let variant = product.as_ref().and_then(|(product, _)| same_variant(product, wanted));
    let Some(id) = variant.map(|variant| variant.variant_id) else {
        return Err(Failure::Refused("has no variant to stock; see its other problem".to_owned()));
    };
    let (_, version) = inventory::level(ctx, store, id).await?;
    if version > 0 && importer.stock_history(id).await?.iter().any(is_opening) {
        return Ok(Outcome::Unchanged);
    }
    let receipt = Receipt {
        location: super::LOCATION.to_owned(),
        quantity,
        source: StockSource::Import,
        unit_cost: None,
        reference: Some(OPENING.to_owned()),
    };
    let intent = importer.intent(&["opening", &id.to_string()], ctx.now());
    inventory::receive(ctx, &intent, id, receipt).await?;
    Ok(Outcome::Created)
}

fn is_opening(event: &StockItemEvent) -> bool {
    matches!(event, StockItemEvent::Received(receipt) if receipt.reference.as_deref() == Some(OPENING))
}
