//! All products as a file that `conche import products` takes.

use std::collections::HashMap;

use api_kit::{Problem, Query};
use axum::response::Response;
use event_schemas::ids::StoreId;
use projections::catalog::products::{self, Product, ProductsFrom};
use projections::catalog::variants::{self, StockedVariant};
use serde::Deserialize;
use sqlx::PgConnection;
use utoipa::IntoParams;
use uuid::Uuid;

use super::ProductStatus;
use crate::csv;
use crate::export::{self, Rows};
use crate::reader::{Freshness, Reader};

/// Products read at a time, which may have texts of many kilobytes and hundreds of variants each.
const WINDOW: i64 = 100;

/// Columns of Shopify's product file, of which other shops write variants too.
const HEADER: &[&str] = &[
    "Handle",
    "Title",
    "Body (HTML)",
    "Vendor",
    "Type",
    "Tags",
    "Published",
    "Option1 Name",
    "Option1 Value",
    "Option2 Name",
    "Option2 Value",
    "Option3 Name",
    "Option3 Value",
    "Variant SKU",
    "Variant Grams",
    "Variant Inventory Qty",
    "Variant Price",
    "Variant Compare At Price",
    "Variant Barcode",
    "Status",
];

/// Columns of the product, which stand in its first line only; beside its handle.
const OF_PRODUCT: &[&str] = &[
    "Title",
    "Body (HTML)",
    "Vendor",
    "Type",
    "Tags",
    "Published",
    "Option1 Name",
    "Option2 Name",
    "Option3 Name",
    "Status",
];

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportQuery {
    /// Only `draft`, `active` or `archived` products. `status=` is the same.
    #[serde(rename = "filter[status]", alias = "status")]
    #[param(value_type = Option<String>, example = "active")]
    status: Option<ProductStatus>,
}

/// All products with their variants, as CSV.
///
/// The columns are those of Shopify's product file, one line per variant, newest product first;
/// `conche import products` makes the same products of it. An archived product becomes a draft
/// there. Prices are in units of the store's currency, the quantity is what is on hand at all places
/// together. A text that a spreadsheet would take for a formula has `'` in front, which the import
/// takes off again. What is said of the export of orders about changes meanwhile, complete files
/// and places holds here too.
#[utoipa::path(get, path = "/api/v1/products/export.csv", tag = "products",
    operation_id = "export_products", params(ExportQuery, api_kit::headers::Read),
    responses((status = 200, description = "The file.", content_type = "text/csv", body = String)))]
pub(super) async fn export(
    reader: Reader,
    Query(query): Query<ExportQuery>,
) -> Result<(Freshness, Response), Problem> {
    let products = ExportedProducts { status: query.status, from: ProductsFrom::Start };
    export::export(reader, Rows::Products(products)).await
}

/// Products of a file, and behind which one it goes on.
pub(crate) struct ExportedProducts {
    status: Option<ProductStatus>,
    from: ProductsFrom,
}

impl ExportedProducts {
    pub(crate) fn header() -> String {
        csv::line(HEADER.iter().copied())
    }

    /// The next lines, and whether there may be more after them.
    pub(crate) async fn next(
        &mut self,
        conn: &mut PgConnection,
        store_id: StoreId,
    ) -> Result<(String, bool), sqlx::Error> {
        let status = self.status.map(ProductStatus::code);
        let found = products::newest(&mut *conn, store_id, status, &self.from, WINDOW).await?;
        let ids: Vec<Uuid> = found.iter().map(|product| product.product_id).collect();
        let mut variants: HashMap<Uuid, Vec<StockedVariant>> = HashMap::new();
        for variant in variants::of_products(conn, store_id, &ids).await? {
            variants.entry(variant.product_id).or_default().push(variant);
        }
        let mut text = String::new();
        for product in &found {
            let variants = variants.remove(&product.product_id).unwrap_or_default();
            lines(product, &variants, &mut text);
        }
        if let Some(last) = found.last() {
            self.from = ProductsFrom::After(last.cursor());
        }
        Ok((text, i64::try_from(found.len()).is_ok_and(|count| count == WINDOW)))
    }
}

/// The first line carries the product, each one a variant.
fn lines(product: &Product, variants: &[StockedVariant], text: &mut String) {
    let first = fields(product, variants.first());
    text.push_str(&csv::exact_line(first.iter().map(String::as_str)));
    for variant in variants.iter().skip(1) {
        let mut fields = fields(product, Some(variant));
        // What is the product's stands in its first line only.
        for (field, column) in fields.iter_mut().zip(HEADER) {
            if OF_PRODUCT.contains(column) {
                field.clear();
            }
        }
        text.push_str(&csv::exact_line(fields.iter().map(String::as_str)));
    }
}

/// In the order of [`HEADER`].
fn fields(product: &Product, variant: Option<&StockedVariant>) -> [String; 20] {
    let option = |nth: usize| {
        let name = product.options.get(nth).cloned().unwrap_or_default();
        let value = variant.and_then(|variant| variant.option_values.get(nth)).cloned();
        // How a variant is told from a line without one where a product has no options.
        let single = nth == 0 && product.options.is_empty() && variant.is_some();
        if single {
            return ["Title".to_owned(), "Default Title".to_owned()];
        }
        [name, value.unwrap_or_default()]
    };
    let [[name1, value1], [name2, value2], [name3, value3]] = [option(0), option(1), option(2)];
    let amount = |minor: Option<i64>| {
        let currency = variant.and_then(|variant| variant.currency.as_deref());
        minor.zip(currency).map_or_else(String::new, |(minor, code)| csv::amount(minor, code))
    };
    let of =
        |text: fn(&StockedVariant) -> Option<String>| variant.and_then(text).unwrap_or_default();
    [
        product.handle.clone(),
        product.title.clone(),
        product.description.clone(),
        product.vendor.clone(),
        product.product_type.clone(),
        product.tags.join(", "),
        if product.status == "active" { "TRUE" } else { "FALSE" }.to_owned(),
        name1,
        value1,
        name2,
        value2,
        name3,
        value3,
        of(|variant| variant.sku.clone()),
        of(|variant| variant.weight_g.map(|grams| grams.to_string())),
        of(|variant| Some(variant.on_hand.to_string())),
        amount(variant.and_then(|variant| variant.price_minor)),
        amount(variant.and_then(|variant| variant.compare_at_minor)),
        of(|variant| variant.barcode.clone()),
        product.status.clone(),
    ]
}
