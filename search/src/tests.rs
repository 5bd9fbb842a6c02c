//! The index against a plain list of products that is filtered and sorted the slow way.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const STORE: Uuid = Uuid::from_u128(0xA);
const OTHER_STORE: Uuid = Uuid::from_u128(0xB);

fn bar(n: u128, title: &str) -> Document {
    Document {
        store_id: STORE,
        product_id: Uuid::from_u128(n),
        title: title.to_owned(),
        status: "active".to_owned(),
        category: "Bar".to_owned(),
        vendor: "Conche".to_owned(),
        tags: vec!["gift".to_owned()],
        price: Some((250, "GBP".to_owned())),
        in_stock: true,
        created_at: i64::try_from(n).unwrap(),
        ..Document::default()
    }
}

fn view(products: &[Document]) -> View {
    let mut index = Index::new().unwrap();
    for product in products {
        index.put(product).unwrap();
    }
    index.commit().unwrap()
}

fn page(sort: Sort) -> PageOf {
    PageOf { sort, limit: 100, ..PageOf::default() }
}

fn ids(view: &View, filter: &Filter, text: Option<&str>, page: &PageOf) -> Vec<u128> {
    let found = view.search(STORE, filter, text.map(Text::Anywhere), page).unwrap();
    found.hits.into_iter().map(|hit| hit.product_id.as_u128()).collect()
}

#[test]
fn the_whole_title_comes_first_then_its_words_then_the_rest_then_typos() {
    let tagged = Document { tags: vec!["Truffle".to_owned()], ..bar(1, "Gift box") };
    let coded = Document { codes: vec!["TRUFFLE-12".to_owned()], ..bar(2, "Praline") };
    let products = [
        tagged,
        coded,
        bar(3, "Dark truffle bar"),
        bar(4, "Truffle"),
        bar(5, "Truffle bar"),
        bar(6, "Truffles in a box"),
        bar(7, "Milk truffles"),
        bar(8, "Trufle mould"),
    ];
    let view = view(&products);
    let found = |text| ids(&view, &Filter::default(), Some(text), &page(Sort::Relevance));
    assert_eq!(found("truffle"), [4, 5, 3, 6, 7, 2, 1], "newest first among equals");
    assert_eq!(found("TRÜFFLE"), [4, 5, 3, 6, 7, 2, 1]);
    assert_eq!(found("truffle bar"), [5, 3, 4, 6, 7, 2, 1], "the kind of all of them is bar");
    assert_eq!(found("trufffle"), [8, 7, 6, 5, 4, 3, 2, 1], "nothing is spelt like that");
    assert_eq!(found("trufle"), [8], "one is");
    assert_eq!(found("truffle-12"), [2]);
    assert_eq!(found("tru bo"), [6, 1]);
    assert_eq!(found("truffle mustard"), [0; 0], "every word must be there");
    let titles = Some(Text::Titles("truff"));
    let titles = view.search(STORE, &Filter::default(), titles, &page(Sort::Relevance)).unwrap();
    let titles: Vec<_> = titles.hits.iter().map(|hit| hit.product_id.as_u128()).collect();
    assert_eq!(titles, [6, 5, 4, 7, 3], "neither tags nor codes");
}

#[test]
fn odd_searches_find_nothing_and_break_nothing() {
    let view = view(&[bar(1, "Sea salt bar")]);
    let long = "a".repeat(10_000);
    for text in ["", " ", "%_*?", "\"'\\", "\0", "\u{202E}", "🍫", &long, "AND OR NOT", "title:*"]
    {
        let found = ids(&view, &Filter::default(), Some(text), &page(Sort::Relevance));
        assert_eq!(found, [0; 0], "{text:.20}");
    }
    assert_eq!(ids(&view, &Filter::default(), Some("🍫 bar"), &page(Sort::Relevance)), [1]);
}

#[test]
fn a_store_sees_its_own_only() {
    let theirs = Document { store_id: OTHER_STORE, ..bar(2, "Sea salt bar") };
    let view = view(&[bar(1, "Sea salt bar"), theirs]);
    let facets = vec![Facet::Tags, Facet::Category, Facet::Vendor, Facet::Price, Facet::InStock];
    let page = PageOf { facets, ..page(Sort::Relevance) };
    for text in [None, Some("salt"), Some("salty"), Some("sal"), Some("saltt")] {
        let found =
            view.search(STORE, &Filter::default(), text.map(Text::Anywhere), &page).unwrap();
        assert!(found.total <= 1 && found.hits.len() <= 1, "{text:?}: {found:?}");
        assert!(found.facets.tags.iter().flatten().all(|tag| tag.count == 1));
    }
    let nobody = view.search(Uuid::from_u128(0xC), &Filter::default(), None, &page).unwrap();
    assert_eq!((nobody.total, nobody.facets.tags), (0, Some(Vec::new())));
}

#[test]
fn a_product_that_is_put_again_is_replaced() {
    let mut index = Index::new().unwrap();
    index.put(&bar(1, "Sea salt bar")).unwrap();
    let before = index.commit().unwrap();
    index.put(&Document { in_stock: false, ..bar(1, "Pepper bar") }).unwrap();
    let after = index.commit().unwrap();
    let found = |view: &View, text| ids(view, &Filter::default(), Some(text), &page(Sort::Newest));
    assert_eq!((found(&before, "salt"), found(&before, "pepper")), (vec![1], vec![]));
    assert_eq!((found(&after, "salt"), found(&after, "pepper")), (vec![], vec![1]));
    let product = Uuid::from_u128(1);
    assert_eq!(before.in_stock(STORE, product).unwrap(), Some(true));
    assert_eq!(after.in_stock(STORE, product).unwrap(), Some(false));
    assert_eq!(after.in_stock(OTHER_STORE, product).unwrap(), None);
}

/// The slow way.
fn matches(filter: &Filter, product: &Document) -> bool {
    let any = |values: &[String], value: &String| values.is_empty() || values.contains(value);
    let tag = |wanted: &String| product.tags.iter().any(|tag| tag.eq_ignore_ascii_case(wanted));
    let price = product.price.as_ref().map(|(minor, _)| *minor);
    any(&filter.statuses, &product.status)
        && any(&filter.categories, &product.category)
        && any(&filter.vendors, &product.vendor)
        && (filter.tags.is_empty() || filter.tags.iter().any(tag))
        && filter.price_min.is_none_or(|min| price.is_some_and(|price| price >= min))
        && filter.price_max.is_none_or(|max| price.is_some_and(|price| price <= max))
        && filter.in_stock.is_none_or(|wanted| wanted == product.in_stock)
}

fn sorted(mut products: Vec<&Document>, sort: Sort) -> Vec<u128> {
    let price = |product: &Document| product.price.as_ref().map(|(minor, _)| *minor);
    products.sort_by_key(|product| (Reverse(product.created_at), product.product_id));
    match sort {
        Sort::Newest | Sort::Relevance => {}
        Sort::Title => products.sort_by_key(|product| product.title.to_lowercase()),
        Sort::PriceUp => products.sort_by_key(|product| price(product).unwrap_or(i64::MAX)),
        Sort::PriceDown => products.sort_by_key(|product| Reverse(price(product).unwrap_or(-1))),
    }
    products.into_iter().map(|product| product.product_id.as_u128()).collect()
}

fn products() -> impl Strategy<Value = Vec<Document>> {
    let text = |values: &'static [&'static str]| {
        proptest::sample::select(values).prop_map(ToOwned::to_owned)
    };
    let product = (
        text(&["Dark bar", "dark Bar", "Éclair", "Milk bar", "Zest"]),
        text(&["draft", "active", "archived"]),
        text(&["Bar", "Box", ""]),
        proptest::collection::vec(text(&["gift", "Gift", "vegan"]), 0..3),
        proptest::option::of((0..4i64).prop_map(|pounds| (pounds * 100, "GBP".to_owned()))),
        (any::<bool>(), 0..5i64),
    );
    proptest::collection::vec(product, 0..25).prop_map(|products| {
        let numbered = (1..).zip(products).map(|(n, product)| {
            let (title, status, category, tags, price, (in_stock, created_at)) = product;
            Document { status, category, tags, price, in_stock, created_at, ..bar(n, &title) }
        });
        numbered.collect()
    })
}

fn filters() -> impl Strategy<Value = Filter> {
    let some = |values: &'static [&'static str]| {
        let value = proptest::sample::select(values).prop_map(ToOwned::to_owned);
        proptest::collection::vec(value, 0..3)
    };
    let price = || proptest::option::of(0..400i64);
    let other = (some(&["gift", "VEGAN", "none"]), proptest::option::of(any::<bool>()));
    (some(&["draft", "active"]), some(&["Bar", "Box"]), other, price(), price()).prop_map(
        |(statuses, categories, (tags, in_stock), price_min, price_max)| Filter {
            statuses,
            categories,
            tags,
            price_min,
            price_max,
            in_stock,
            ..Filter::default()
        },
    )
}

fn sorts() -> impl Strategy<Value = Sort> {
    let sorts = [Sort::Relevance, Sort::Newest, Sort::Title, Sort::PriceUp, Sort::PriceDown];
    proptest::sample::select(sorts.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever the filter and the order, in pages of any size and in both directions, over one
    /// segment or several.
    #[test]
    fn pages_are_the_list_in_pieces(
        products in products(), filter in filters(), sort in sorts(), limit in 1..6usize,
        segment in 1..30usize,
    ) {
        let mut index = Index::new().unwrap();
        for part in products.chunks(segment) {
            for product in part {
                index.put(product).unwrap();
            }
            index.commit().unwrap();
        }
        let view = index.commit().unwrap();
        let matching: Vec<&Document> =
            products.iter().filter(|product| matches(&filter, product)).collect();
        let mut tags: BTreeMap<String, u64> = BTreeMap::new();
        for product in &matching {
            for tag in &product.tags {
                *tags.entry(tag.to_lowercase()).or_default() += 1;
            }
        }
        let available = matching.iter().filter(|product| product.in_stock).count();
        let expected = sorted(matching, sort);

        let facets = vec![Facet::Tags, Facet::InStock];
        let mut page = PageOf { sort, limit, facets, ..PageOf::default() };
        let (mut forward, mut places) = (Vec::new(), Vec::new());
        loop {
            let found = view.search(STORE, &filter, None, &page).unwrap();
            prop_assert_eq!(usize::try_from(found.total).unwrap(), expected.len());
            let counted = found.facets.tags.unwrap().into_iter();
            let counted: BTreeMap<_, _> =
                counted.map(|tag| (tag.value.to_lowercase(), tag.count)).collect();
            prop_assert_eq!(&counted, &tags);
            prop_assert_eq!(found.facets.in_stock.unwrap().0, available as u64);
            let Some(last) = found.hits.last() else { break };
            page.from = Some(last.place.clone());
            forward.extend(found.hits.iter().map(|hit| hit.product_id.as_u128()));
            places.extend(found.hits.into_iter().map(|hit| hit.place));
        }
        prop_assert_eq!(&forward, &expected);

        let Some(last) = places.pop() else { return Ok(()) };
        page = PageOf { from: Some(last), backward: true, limit: 100, ..page };
        let mut back = ids(&view, &filter, None, &page);
        back.reverse();
        prop_assert_eq!(&back, &expected[..expected.len() - 1]);
    }

    #[test]
    fn no_text_breaks_a_search(text in ".{0,300}", title in ".{0,80}") {
        let view = view(&[bar(1, &title), bar(2, "Sea salt bar")]);
        for sort in [Sort::Relevance, Sort::Title] {
            view.search(STORE, &Filter::default(), Some(Text::Anywhere(&text)), &page(sort)).unwrap();
        }
        highlighted(&title, &text);
    }
}
