//! From what is asked to what the index looks for.

use std::ops::Bound;

use tantivy::Term;
use tantivy::query::{
    BooleanQuery, ConstScoreQuery, DisjunctionMaxQuery, EmptyQuery, FuzzyTermQuery, Occur, Query,
    RangeQuery, TermQuery, TermSetQuery,
};
use tantivy::schema::{Field, IndexRecordOption};
use uuid::Uuid;

use crate::schema::{Fields, folded_tag};
use crate::words;

/// What a product is worth, by where a word of the search was found: the sum over its words is its
/// relevance. The whole title outweighs the best sum of words; that a title begins with the first
/// word decides between equals.
const WHOLE_TITLE: f32 = 1_000.0;
const FIRST_WORD: f32 = 1.0;
const IN_TITLE: Worth = Worth { word: 8.0, beginning: 6.0, typo: 2.0 };
const ELSEWHERE: Worth = Worth { word: 4.0, beginning: 3.0, typo: 1.0 };

/// What it is worth that a field has a word, one that begins with it, one that nearly does.
#[derive(Clone, Copy)]
struct Worth {
    word: f32,
    beginning: f32,
    typo: f32,
}

/// Which products. Every field that is set narrows the result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Any of these.
    pub statuses: Vec<String>,
    /// Any of these, exactly.
    pub categories: Vec<String>,
    /// Any of these, exactly.
    pub vendors: Vec<String>,
    /// Any of these; case does not matter.
    pub tags: Vec<String>,
    /// Lowest price of a product, in minor units, from here.
    pub price_min: Option<i64>,
    /// Lowest price of a product, in minor units, up to here.
    pub price_max: Option<i64>,
    pub in_stock: Option<bool>,
}

/// What people typed, and where it is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text<'a> {
    /// In titles, tags, categories, vendors, handles, SKUs, barcodes.
    Anywhere(&'a str),
    /// In titles only: what people are shown while they type.
    Titles(&'a str),
}

impl<'a> Text<'a> {
    pub(crate) fn typed(self) -> &'a str {
        match self {
            Text::Anywhere(typed) | Text::Titles(typed) => typed,
        }
    }
}

/// Whether words are taken as they were typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typos {
    None,
    Allowed,
}

/// Products of one store that match `filter` and have, for each word of `text`, a word that begins
/// with it.
pub(crate) fn query(
    fields: &Fields,
    store_id: Uuid,
    filter: &Filter,
    text: Option<Text<'_>>,
    typos: Typos,
) -> Box<dyn Query> {
    let store = Term::from_field_bytes(fields.store, store_id.as_bytes());
    let mut parts = vec![(Occur::Must, unscored(term(store)))];
    parts.extend(filters(fields, filter).into_iter().map(|part| (Occur::Must, unscored(part))));
    let Some(text) = text else { return Box::new(BooleanQuery::new(parts)) };
    let searched = words::searched(text.typed()).unwrap_or_default();
    let anywhere = matches!(text, Text::Anywhere(_));
    let Some(first) = searched.first() else { return Box::new(EmptyQuery) };
    for searched in &searched {
        let mut places = places(fields.title, searched, IN_TITLE, typos);
        if anywhere {
            places.extend(self::places(fields.other, searched, ELSEWHERE, typos));
        }
        parts.push((Occur::Must, Box::new(DisjunctionMaxQuery::new(places))));
    }
    let first = Term::from_field_text(fields.first_word, first);
    parts.push((Occur::Should, scored(beginning(first), FIRST_WORD)));
    let whole = Term::from_field_text(fields.whole_title, &words::folded(text.typed()));
    parts.push((Occur::Should, scored(term(whole), WHOLE_TITLE)));
    Box::new(BooleanQuery::new(parts))
}

fn filters(fields: &Fields, filter: &Filter) -> Vec<Box<dyn Query>> {
    let Filter { statuses, categories, vendors, tags, price_min, price_max, in_stock } = filter;
    let folded: Vec<String> = tags.iter().map(|tag| folded_tag(tag)).collect();
    let values = [
        (fields.status, statuses),
        (fields.category, categories),
        (fields.vendor, vendors),
        (fields.folded_tag, &folded),
    ];
    let values = values.into_iter().filter(|(_, values)| !values.is_empty());
    let mut parts: Vec<_> = values.map(|(field, values)| any_of(field, values)).collect();
    if price_min.is_some() || price_max.is_some() {
        let bound = |minor: Option<i64>| match minor {
            Some(minor) => Bound::Included(Term::from_field_i64(fields.price, minor)),
            // A range of which nothing is bounded could not say what it is a range of.
            None => Bound::Unbounded,
        };
        parts.push(Box::new(RangeQuery::new(bound(*price_min), bound(*price_max))));
    }
    if let Some(in_stock) = in_stock {
        parts.push(term(Term::from_field_bool(fields.in_stock, *in_stock)));
    }
    parts
}

fn any_of(field: Field, values: &[String]) -> Box<dyn Query> {
    match values {
        [value] => term(Term::from_field_text(field, value)),
        values => {
            let terms = values.iter().map(|value| Term::from_field_text(field, value));
            Box::new(TermSetQuery::new(terms))
        }
    }
}

/// Where a word is found in a field, from best to worst.
fn places(field: Field, word: &str, worth: Worth, typos: Typos) -> Vec<Box<dyn Query>> {
    let searched = Term::from_field_text(field, word);
    let mut places = vec![
        scored(term(searched.clone()), worth.word),
        scored(beginning(searched.clone()), worth.beginning),
    ];
    let letters = words::typos(word);
    if typos == Typos::Allowed && letters > 0 {
        let nearly = Box::new(FuzzyTermQuery::new_prefix(searched, letters, true));
        places.push(scored(nearly, worth.typo));
    }
    places
}

fn term(term: Term) -> Box<dyn Query> {
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}

/// Words that begin like this one.
fn beginning(term: Term) -> Box<dyn Query> {
    Box::new(FuzzyTermQuery::new_prefix(term, 0, true))
}

fn scored(query: Box<dyn Query>, score: f32) -> Box<dyn Query> {
    Box::new(ConstScoreQuery::new(query, score))
}

fn unscored(query: Box<dyn Query>) -> Box<dyn Query> {
    scored(query, 0.0)
}
