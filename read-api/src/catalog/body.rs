//! A product as clients see it: every member is public by choice.

use chrono::{DateTime, Utc};
use event_schemas::ids::{ProductId, VariantId};
use event_schemas::money::Money;
use projections::catalog::products::Product;
use projections::catalog::variants::StockedVariant;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::value::money;

/// A product with its variants.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Product)]
pub(super) struct ProductBody {
    id: ProductId,
    /// Name in URLs, unique in the store.
    #[schema(example = "truffle-box")]
    handle: String,
    #[schema(example = "Truffle box")]
    title: String,
    /// HTML as the merchant gave it. Sanitise it before you show it.
    description: String,
    vendor: String,
    product_type: String,
    tags: Vec<String>,
    /// Names of what the variants differ in.
    options: Vec<String>,
    /// `draft`, `active` or `archived`; more may come.
    #[schema(example = "active")]
    status: String,
    /// Since when it is on sale.
    published_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// Version, as at the beginning of `ETag`.
    version: i64,
    variants: Vec<VariantBody>,
}

/// What can be bought.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Variant)]
struct VariantBody {
    id: VariantId,
    sku: Option<String>,
    barcode: Option<String>,
    title: String,
    /// One value per option of the product, in its order.
    option_values: Vec<String>,
    weight_g: Option<i64>,
    /// What one unit costs; `null` while it is not sold.
    price: Option<Money>,
    /// Former price, to show struck through.
    compare_at: Option<Money>,
    /// Units at all places together.
    on_hand: i64,
    /// Of these, free to be sold. `GET /stock/{variant_id}` has them by place.
    available: i64,
}

impl ProductBody {
    pub(super) fn new(product: Product, variants: Vec<StockedVariant>) -> ProductBody {
        ProductBody {
            id: ProductId(product.product_id),
            handle: product.handle,
            title: product.title,
            description: product.description,
            vendor: product.vendor,
            product_type: product.product_type,
            tags: product.tags,
            options: product.options,
            status: product.status,
            published_at: product.published_at,
            created_at: product.created_at,
            updated_at: product.updated_at,
            version: product.version,
            variants: variants.into_iter().map(VariantBody::new).collect(),
        }
    }

    pub(super) fn title(&self) -> &str {
        &self.title
    }

    pub(super) fn variant_ids(&self) -> impl Iterator<Item = Uuid> {
        self.variants.iter().map(|variant| variant.id.0)
    }
}

impl VariantBody {
    fn new(variant: StockedVariant) -> VariantBody {
        let amount = |minor: Option<i64>| Some(money(minor?, variant.currency.as_deref()?));
        VariantBody {
            price: amount(variant.price_minor),
            compare_at: amount(variant.compare_at_minor),
            id: VariantId(variant.variant_id),
            sku: variant.sku,
            barcode: variant.barcode,
            title: variant.title,
            option_values: variant.option_values,
            weight_g: variant.weight_g,
            on_hand: variant.on_hand,
            available: variant.available,
        }
    }
}
