//! Columns of the files we take over.

use super::table::Schema;

/// Shopify's product CSV. We use some of these columns; the others are accepted because Shopify
/// writes them, so that an export can be taken over as it is.
pub(super) const SHOPIFY_PRODUCTS: Schema = Schema {
    name: "a Shopify product file",
    required: &["Handle", "Title", "Variant Price"],
    optional: &[
        "Body (HTML)",
        "Vendor",
        "Product Category",
        "Standard Product Type",
        "Standardized Product Type",
        "Custom Product Type",
        "Type",
        "Tags",
        "Collection",
        "Published",
        "Published Scope",
        "Option1 Name",
        "Option1 Value",
        "Option1 Linked To",
        "Option2 Name",
        "Option2 Value",
        "Option2 Linked To",
        "Option3 Name",
        "Option3 Value",
        "Option3 Linked To",
        "Variant SKU",
        "Variant Grams",
        "Variant Inventory Tracker",
        "Variant Inventory Qty",
        "Variant Inventory Policy",
        "Variant Fulfillment Service",
        "Variant Compare At Price",
        "Variant Requires Shipping",
        "Variant Taxable",
        "Variant Barcode",
        "Unit Price Total Measure",
        "Unit Price Total Measure Unit",
        "Unit Price Base Measure",
        "Unit Price Base Measure Unit",
        "Image Src",
        "Image Position",
        "Image Alt Text",
        "Gift Card",
        "SEO Title",
        "SEO Description",
        "Variant Image",
        "Variant Weight Unit",
        "Variant Tax Code",
        "Cost per item",
        "Status",
    ],
    pattern: shopify_pattern,
    guarded: true,
};

/// Columns per market (`Included / Europe`), per sales channel and of the shop's own fields.
fn shopify_pattern(name: &str) -> bool {
    let prefixes = ["Google Shopping / ", "Included / ", "Price / ", "Compare At Price / "];
    let of_market =
        prefixes.iter().any(|prefix| name.len() > prefix.len() && name.starts_with(prefix));
    let metafield = name.contains("(product.metafields.") || name.contains("(variant.metafields.");
    of_market || (metafield && name.ends_with(')'))
}

/// Invoice lines as in the Online Retail data set of the UCI Machine Learning Repository.
pub(super) const ONLINE_RETAIL: Schema = Schema {
    name: "an Online Retail order file",
    required: &[
        "InvoiceNo",
        "StockCode",
        "Description",
        "Quantity",
        "InvoiceDate",
        "UnitPrice",
        "CustomerID",
        "Country",
    ],
    optional: &[],
    pattern: |_| false,
    guarded: false,
};
