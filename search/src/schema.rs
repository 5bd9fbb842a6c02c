//! What the index keeps of a product, and how.

use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, STRING, Schema, SchemaBuilder, TextFieldIndexing,
    TextOptions,
};
use tantivy::{TantivyDocument, Term};
use uuid::Uuid;

use crate::words;

/// Name of the analyzer of searched texts.
pub(crate) const WORDS: &str = "words";

// Names of the columns a search reads.
pub(crate) const ID_HIGH: &str = "id_high";
pub(crate) const ID_LOW: &str = "id_low";
pub(crate) const CREATED_AT: &str = "created_at";
pub(crate) const TITLE_ORDER: &str = "title_order";
pub(crate) const PRICE: &str = "price";
pub(crate) const CURRENCY: &str = "currency";
pub(crate) const TAG: &str = "tag";
pub(crate) const CATEGORY: &str = "category";
pub(crate) const VENDOR: &str = "vendor";
pub(crate) const IN_STOCK: &str = "in_stock";

/// A product as it is searched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    pub store_id: Uuid,
    pub product_id: Uuid,
    pub title: String,
    /// `draft`, `active` or `archived`.
    pub status: String,
    /// May be empty.
    pub category: String,
    /// May be empty.
    pub vendor: String,
    pub tags: Vec<String>,
    /// Other texts a product is found by: handle, titles of variants, SKUs, barcodes.
    pub codes: Vec<String>,
    /// The lowest price of its variants in minor units, and the currency of that.
    pub price: Option<(i64, String)>,
    /// Whether a unit of any variant is free to be sold.
    pub in_stock: bool,
    /// Microseconds since 1970.
    pub created_at: i64,
}

/// Fields of the index.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    pub(crate) schema: Schema,
    /// Store and product: what a product is replaced by.
    pub(crate) key: Field,
    pub(crate) store: Field,
    id_high: Field,
    id_low: Field,
    created_at: Field,
    title_order: Field,
    /// Words of the title.
    pub(crate) title: Field,
    /// The whole title, folded.
    pub(crate) whole_title: Field,
    /// The first word of it.
    pub(crate) first_word: Field,
    /// Words of everything else.
    pub(crate) other: Field,
    pub(crate) status: Field,
    pub(crate) category: Field,
    pub(crate) vendor: Field,
    tag: Field,
    /// Tags in lower case: what they are found by.
    pub(crate) folded_tag: Field,
    pub(crate) price: Field,
    currency: Field,
    pub(crate) in_stock: Field,
}

impl Fields {
    pub(crate) fn new() -> Fields {
        let mut schema = SchemaBuilder::new();
        let column = TextOptions::default().set_fast("raw");
        let words = TextFieldIndexing::default()
            .set_tokenizer(WORDS)
            .set_fieldnorms(false)
            .set_index_option(IndexRecordOption::Basic);
        let words = TextOptions::default().set_indexing_options(words);
        let value = STRING.set_fast("raw");
        Fields {
            key: schema.add_bytes_field("key", INDEXED),
            store: schema.add_bytes_field("store", INDEXED),
            id_high: schema.add_u64_field(ID_HIGH, FAST),
            id_low: schema.add_u64_field(ID_LOW, FAST),
            created_at: schema.add_i64_field(CREATED_AT, FAST),
            title_order: schema.add_text_field(TITLE_ORDER, column.clone()),
            title: schema.add_text_field("title", words.clone()),
            whole_title: schema.add_text_field("whole_title", STRING),
            first_word: schema.add_text_field("first_word", STRING),
            other: schema.add_text_field("other", words),
            status: schema.add_text_field("status", STRING),
            category: schema.add_text_field(CATEGORY, value.clone()),
            vendor: schema.add_text_field(VENDOR, value),
            tag: schema.add_text_field(TAG, column.clone()),
            folded_tag: schema.add_text_field("folded_tag", STRING),
            price: schema.add_i64_field(PRICE, FAST),
            currency: schema.add_text_field(CURRENCY, column),
            in_stock: schema.add_bool_field(IN_STOCK, INDEXED | FAST),
            schema: schema.build(),
        }
    }

    /// What names a product in the index.
    pub(crate) fn key_of(&self, store_id: Uuid, product_id: Uuid) -> Term {
        Term::from_field_bytes(self.key, &key(store_id, product_id))
    }

    pub(crate) fn document(&self, product: &Document) -> TantivyDocument {
        let mut row = TantivyDocument::new();
        row.add_bytes(self.key, &key(product.store_id, product.product_id));
        row.add_bytes(self.store, product.store_id.as_bytes());
        let (high, low) = product.product_id.as_u64_pair();
        row.add_u64(self.id_high, high);
        row.add_u64(self.id_low, low);
        row.add_i64(self.created_at, product.created_at);
        row.add_text(self.title_order, product.title.to_lowercase());
        row.add_text(self.title, &product.title);
        let whole_title = words::folded(&product.title);
        row.add_text(self.first_word, whole_title.split(' ').next().unwrap_or_default());
        row.add_text(self.whole_title, whole_title);
        row.add_text(self.status, &product.status);
        for (field, value) in [(self.category, &product.category), (self.vendor, &product.vendor)] {
            if !value.is_empty() {
                row.add_text(field, value);
                row.add_text(self.other, value);
            }
        }
        for tag in &product.tags {
            row.add_text(self.tag, tag);
            row.add_text(self.folded_tag, folded_tag(tag));
            row.add_text(self.other, tag);
        }
        for code in &product.codes {
            row.add_text(self.other, code);
        }
        if let Some((minor, currency)) = &product.price {
            row.add_i64(self.price, *minor);
            row.add_text(self.currency, currency);
        }
        row.add_bool(self.in_stock, product.in_stock);
        row
    }
}

fn key(store_id: Uuid, product_id: Uuid) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(store_id.as_bytes());
    key[16..].copy_from_slice(product_id.as_bytes());
    key
}

/// A tag as it is compared.
pub(crate) fn folded_tag(tag: &str) -> String {
    tag.trim().to_lowercase()
}
