//! The search index: products by words, typos, values and ranges, with facets, in milliseconds at a
//! hundred thousand products. The only use of tantivy.
//!
//! It lives in memory and knows nothing of where its documents come from. Every query names a store
//! and sees no other. A search is work of the processor, milliseconds of it: not for the threads
//! that serve connections.

use tantivy::schema::IndexRecordOption;
use tantivy::tokenizer::TokenizerManager;
use tantivy::{
    DocSet as _, IndexReader, IndexWriter, ReloadPolicy, Searcher, TERMINATED, TantivyError,
};
use uuid::Uuid;

mod facets;
mod page;
mod query;
mod schema;
mod words;

pub use facets::{Count, Facet, Facets, PriceRange, VALUES_MAX};
pub use page::{Found, Hit, PageOf, Place, Sort};
pub use query::{Filter, Text};
pub use schema::Document;
pub use words::{WORDS_MAX, highlighted};

use page::Collecting;
use query::Typos;
use schema::Fields;

/// Bytes that documents may take before they become a segment; the least tantivy allows. Only a
/// first filling comes near it.
const WRITER_BYTES: usize = 15_000_000;

/// Why the index did not do what it should. Nothing a query says can be the cause.
#[derive(Debug, thiserror::Error)]
#[error("search index failed")]
pub struct SearchError(#[from] TantivyError);

/// An index that can be changed. What is [`put`](Index::put) shows in the views made by the next
/// [`commit`](Index::commit).
pub struct Index {
    fields: Fields,
    writer: IndexWriter,
    reader: IndexReader,
}

/// The index as it was at a commit. Cheap to clone.
#[derive(Clone)]
pub struct View {
    fields: Fields,
    searcher: Searcher,
}

impl Index {
    /// An empty index, with a thread of its own that writes.
    pub fn new() -> Result<Index, SearchError> {
        let fields = Fields::new();
        let tokenizers = TokenizerManager::default();
        tokenizers.register(schema::WORDS, words::analyzer());
        let index = tantivy::Index::builder()
            .schema(fields.schema.clone())
            .tokenizers(tokenizers)
            .create_in_ram()?;
        let writer = index.writer_with_num_threads(1, WRITER_BYTES)?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Index { fields, writer, reader })
    }

    /// Adds a product, or replaces it.
    pub fn put(&self, document: &Document) -> Result<(), SearchError> {
        self.writer.delete_term(self.fields.key_of(document.store_id, document.product_id));
        self.writer.add_document(self.fields.document(document))?;
        Ok(())
    }

    /// Makes what was put visible. Milliseconds.
    pub fn commit(&mut self) -> Result<View, SearchError> {
        self.writer.commit()?;
        self.reader.reload()?;
        Ok(View { fields: self.fields.clone(), searcher: self.reader.searcher() })
    }
}

impl View {
    /// Products of one store that match `filter` and have, for each of the first [`WORDS_MAX`]
    /// words of `text`, a word that begins with it; if there are none, a word that nearly does. A
    /// `text` without letters and digits finds nothing.
    pub fn search(
        &self,
        store_id: Uuid,
        filter: &Filter,
        text: Option<Text<'_>>,
        page: &PageOf,
    ) -> Result<Found, SearchError> {
        let find = |typos| {
            let query = query::query(&self.fields, store_id, filter, text, typos);
            self.searcher.search(&query, &Collecting(page))
        };
        let found = find(Typos::None)?;
        let again = text.is_some_and(|text| words::may_have_typos(text.typed()));
        Ok(if found.total == 0 && again { find(Typos::Allowed)? } else { found })
    }

    /// Whether the index has a product, and as in stock.
    pub fn in_stock(&self, store_id: Uuid, product_id: Uuid) -> Result<Option<bool>, SearchError> {
        let key = self.fields.key_of(store_id, product_id);
        for segment in self.searcher.segment_readers() {
            let postings = segment.inverted_index(self.fields.key)?;
            let postings = postings.read_postings(&key, IndexRecordOption::Basic);
            let Some(postings) = postings.map_err(TantivyError::from)? else { continue };
            let doc = postings.doc();
            if doc != TERMINATED && !segment.is_deleted(doc) {
                let column = segment.fast_fields().bool(schema::IN_STOCK)?;
                return Ok(Some(column.first(doc) == Some(true)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
