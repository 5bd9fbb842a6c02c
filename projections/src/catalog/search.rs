//! What products are found by. Table `catalog_product_terms`.
//!
//! A search finds products that have, for each word of it, a word that starts with it.

use std::collections::BTreeSet;

use event_store::Recorded;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{products::Product, variants::Variant};

/// Words a product is found by; further ones are left out. A handful of KB of index at most.
const WORDS_PER_PRODUCT_MAX: usize = 200;

/// Words of a search that count; each one is a range scan.
const WORDS_PER_SEARCH_MAX: usize = 5;

/// Characters of a word that count.
const WORD_CHARS_MAX: usize = 64;

/// Sorts after every text with the same beginning, under `COLLATE "C"`.
pub(crate) const AFTER_PREFIX: char = char::MAX;

/// The words of a text, in lower case.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.to_lowercase().chars().take(WORD_CHARS_MAX).collect())
}

/// The words of a search that count.
pub(super) fn search_words(search: &str) -> Vec<String> {
    words(search).take(WORDS_PER_SEARCH_MAX).collect()
}

/// A tag as it is compared.
pub(super) fn folded_tag(tag: &str) -> String {
    tag.trim().to_lowercase()
}

/// Rows of the table, as columns.
#[derive(Default)]
pub(super) struct Terms {
    stores: Vec<Uuid>,
    products: Vec<Uuid>,
    kinds: Vec<&'static str>,
    terms: Vec<String>,
}

impl Terms {
    /// Adds the terms of one product.
    pub(super) fn add<'a>(
        &mut self,
        product: &Product,
        variants: impl Iterator<Item = &'a Variant>,
    ) {
        let Product { title, handle, vendor, product_type, tags, .. } = product;
        let codes =
            variants.flat_map(|variant| [variant.sku.as_deref(), variant.barcode.as_deref()]);
        let texts = [title, handle, vendor, product_type].into_iter().chain(tags);
        let texts = texts.map(String::as_str).chain(codes.flatten());
        let found: BTreeSet<String> = texts.flat_map(words).take(WORDS_PER_PRODUCT_MAX).collect();
        let tags: BTreeSet<String> = tags.iter().map(|tag| folded_tag(tag)).collect();
        let words = found.into_iter().map(|word| ("word", word));
        for (kind, term) in words.chain(tags.into_iter().map(|tag| ("tag", tag))) {
            self.stores.push(product.store_id);
            self.products.push(product.product_id);
            self.kinds.push(kind);
            self.terms.push(term);
        }
    }

    /// Replaces the terms of `products` (stores and ids) by these. Two statements.
    pub(super) async fn replace(
        &self,
        conn: &mut PgConnection,
        (stores, products): (&[Uuid], &[Uuid]),
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "DELETE FROM catalog_product_terms t
              USING unnest($1::uuid[], $2::uuid[]) AS old (store_id, product_id)
              WHERE t.store_id = old.store_id AND t.product_id = old.product_id",
            stores,
            products
        )
        .execute(&mut *conn)
        .await?;
        sqlx::query!(
            "INSERT INTO catalog_product_terms (store_id, product_id, kind, term)
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[])",
            &self.stores,
            &self.products,
            &self.kinds as &[&str],
            &self.terms
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}

/// Whether an event changes what a product is found by.
pub(super) fn changes_terms(recorded: &Recorded) -> bool {
    matches!(
        recorded.event_type.as_str(),
        "ProductCreated" | "ProductDetailsChanged" | "VariantAdded"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_cut_into_words_in_lower_case() {
        assert_eq!(search_words("Dark Chocolate-Bar, 70%"), ["dark", "chocolate", "bar", "70"]);
        assert_eq!(search_words("  %_'  "), Vec::<String>::new());
        assert_eq!(search_words("ÉCLAIR"), ["éclair"]);
    }
}
