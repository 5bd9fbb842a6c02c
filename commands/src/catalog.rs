//! Products: make, describe, price, publish.

use domain::catalog::{
    NewDetails, NewProduct, NewVariant, Offer, Product, ProductCommand, ProductError,
};
use event_schemas::{
    catalog::ProductEvent,
    ids::{ProductId, StoreId, VariantId},
    money::Money,
    upcast,
};
use event_store::{Done, KeyChange, Kind, StoreError};

use crate::{CommandError, Ctx, Intent, run};

/// Scope of the names of products in URLs.
pub const HANDLE: &str = "handle";

/// Scope of stock keeping units.
pub const SKU: &str = "sku";

/// Scope that leads from a variant to its product.
pub const VARIANT: &str = "variant";

/// How the engine reads and indexes products.
pub static PRODUCT: Kind<Product> = Kind { decode: upcast::decode, schema: domain::SCHEMA, keys };

/// An archived product keeps its names: old links and old labels must not lead to another product.
fn keys(event: &ProductEvent) -> Vec<KeyChange> {
    match event {
        ProductEvent::Created(created) => {
            vec![KeyChange::Claim { scope: HANDLE, key: created.handle.clone() }]
        }
        ProductEvent::VariantAdded(added) => {
            let variant = KeyChange::Claim { scope: VARIANT, key: added.variant_id.to_string() };
            let sku = added.sku.clone().map(|key| KeyChange::Claim { scope: SKU, key });
            std::iter::once(variant).chain(sku).collect()
        }
        ProductEvent::DetailsChanged(_)
        | ProductEvent::PriceSet(_)
        | ProductEvent::TaxClassSet(_)
        | ProductEvent::Published(_)
        | ProductEvent::Unpublished(_)
        | ProductEvent::Archived(_) => vec![],
    }
}

/// The id of the product that a command creates: the same command, the same product.
pub fn new_product_id(intent: &Intent) -> ProductId {
    ProductId::derive(&[intent.store_id.0.as_bytes(), intent.command_id.0.as_bytes()])
}

/// The id of the variant that a command adds at `index` of its list.
pub fn new_variant_id(intent: &Intent, index: usize) -> VariantId {
    let index = (index as u64).to_be_bytes();
    VariantId::derive(&[intent.store_id.0.as_bytes(), intent.command_id.0.as_bytes(), &index])
}

/// Makes a draft with its variants. The caller supplies the ids, see [`new_product_id`].
pub async fn create(
    ctx: &Ctx,
    intent: &Intent,
    id: ProductId,
    product: NewProduct,
) -> Result<Done, CommandError<ProductError>> {
    let command = ProductCommand::Create { product: Box::new(product), at: intent.at };
    run(ctx, &PRODUCT, id.0, intent, command).await
}

/// Rewrites texts or tags.
pub async fn describe(
    ctx: &Ctx,
    intent: &Intent,
    id: ProductId,
    details: NewDetails,
) -> Result<Done, CommandError<ProductError>> {
    let command = ProductCommand::Describe { details: Box::new(details), at: intent.at };
    run(ctx, &PRODUCT, id.0, intent, command).await
}

/// Adds one variant, priced or not. The caller supplies its id, see [`new_variant_id`].
pub async fn add_variant(
    ctx: &Ctx,
    intent: &Intent,
    id: ProductId,
    variant: NewVariant,
) -> Result<Done, CommandError<ProductError>> {
    let command = ProductCommand::AddVariant { variant: Box::new(variant), at: intent.at };
    run(ctx, &PRODUCT, id.0, intent, command).await
}

/// What a variant costs from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewPrice {
    /// Which variant of the product.
    pub variant_id: VariantId,
    /// What one unit costs.
    pub price: Money,
    /// Former price, not below `price`.
    pub compare_at: Option<Money>,
}

/// Prices a variant. Orders and checkouts that are under way keep the price they began with.
pub async fn set_price(
    ctx: &Ctx,
    intent: &Intent,
    id: ProductId,
    new: NewPrice,
) -> Result<Done, CommandError<ProductError>> {
    let NewPrice { variant_id, price, compare_at } = new;
    let command = ProductCommand::SetPrice { variant_id, price, compare_at, at: intent.at };
    run(ctx, &PRODUCT, id.0, intent, command).await
}

/// Says which class of goods a product is taxed as. Quotes that are open keep their tax.
pub async fn set_tax_class(
    ctx: &Ctx,
    intent: &Intent,
    id: ProductId,
    tax_class: String,
) -> Result<Done, CommandError<ProductError>> {
    let command = ProductCommand::SetTaxClass { tax_class, at: intent.at };
    run(ctx, &PRODUCT, id.0, intent, command).await
}

/// Puts a draft on sale.
pub async fn publish(
    ctx: &Ctx,
    intent: &Intent,
    id: ProductId,
) -> Result<Done, CommandError<ProductError>> {
    run(ctx, &PRODUCT, id.0, intent, ProductCommand::Publish { at: intent.at }).await
}

/// Takes a product off sale; it stays a draft.
pub async fn unpublish(
    ctx: &Ctx,
    intent: &Intent,
    id: ProductId,
) -> Result<Done, CommandError<ProductError>> {
    run(ctx, &PRODUCT, id.0, intent, ProductCommand::Unpublish { at: intent.at }).await
}

/// Takes a product out of the range, for good. Its handle and SKUs stay taken.
pub async fn archive(
    ctx: &Ctx,
    intent: &Intent,
    id: ProductId,
) -> Result<Done, CommandError<ProductError>> {
    run(ctx, &PRODUCT, id.0, intent, ProductCommand::Archive { at: intent.at }).await
}

/// A variant and its product as they are now, read from the log and not from a read model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundVariant {
    /// The product it belongs to.
    pub product_id: ProductId,
    /// The variant.
    pub variant_id: VariantId,
    /// Version of the product that was read.
    pub product_version: i64,
    /// Name, SKU, and the price or why it is not for sale.
    pub offer: Offer,
}

/// Finds a variant by its id. `None` if no product of the store has it.
pub async fn find_variant(
    ctx: &Ctx,
    store_id: StoreId,
    variant_id: VariantId,
) -> Result<Option<FoundVariant>, StoreError> {
    let Some(owner) = owner(ctx, store_id, VARIANT, &variant_id.to_string()).await? else {
        return Ok(None);
    };
    let loaded = ctx.engine.load(&PRODUCT, store_id.0, owner.0).await?;
    Ok(loaded.state.offer(variant_id).map(|offer| FoundVariant {
        product_id: owner,
        variant_id,
        product_version: loaded.version,
        offer,
    }))
}

/// Finds a variant by its SKU, compared byte by byte. `None` if no product of the store has it.
pub async fn find_by_sku(
    ctx: &Ctx,
    store_id: StoreId,
    sku: &str,
) -> Result<Option<FoundVariant>, StoreError> {
    let Some(owner) = owner(ctx, store_id, SKU, sku).await? else {
        return Ok(None);
    };
    let loaded = ctx.engine.load(&PRODUCT, store_id.0, owner.0).await?;
    let mut variants = loaded.state.variants().iter();
    let variant_id =
        variants.find(|variant| variant.sku.as_deref() == Some(sku)).map(|found| found.variant_id);
    Ok(variant_id.and_then(|variant_id| {
        let offer = loaded.state.offer(variant_id)?;
        let product_version = loaded.version;
        Some(FoundVariant { product_id: owner, variant_id, product_version, offer })
    }))
}

/// Finds a product by its handle. `None` if the store has none of that name.
pub async fn find_by_handle(
    ctx: &Ctx,
    store_id: StoreId,
    handle: &str,
) -> Result<Option<ProductId>, StoreError> {
    owner(ctx, store_id, HANDLE, handle).await
}

/// A product as it is now and its version; `None` if it was never created.
pub async fn load(
    ctx: &Ctx,
    store_id: StoreId,
    id: ProductId,
) -> Result<Option<(Product, i64)>, StoreError> {
    let loaded = ctx.engine.load(&PRODUCT, store_id.0, id.0).await?;
    Ok(loaded.state.status().map(|_| (loaded.state, loaded.version)))
}

async fn owner(
    ctx: &Ctx,
    store_id: StoreId,
    scope: &str,
    key: &str,
) -> Result<Option<ProductId>, StoreError> {
    Ok(ctx.engine.key_owner(store_id.0, scope, key).await?.map(ProductId))
}
