use cqrs_es::test::{AggregateTestExecutor, TestFramework};
use event_schemas::money::Currency;
use proptest::prelude::*;

use super::*;

#[test]
fn a_new_product_is_a_draft_with_its_variants_and_prices() {
    let new = NewProduct {
        tags: vec!["dark".into(), "gift".into(), "dark".into()],
        variants: vec![variant(1, "250 g", Some(1495)), variant(2, "500 g", None)],
        ..product()
    };
    let created = ProductCreated { tags: vec!["dark".into(), "gift".into()], ..created() };
    given(vec![]).when(create(new)).then_expect_events(vec![
        ProductEvent::Created(created),
        added(1, "250 g"),
        priced(1, 1495),
        added(2, "500 g"),
    ]);
}

#[test]
fn a_product_is_created_once() {
    given(draft()).when(create(product())).then_expect_error(ProductError::AlreadyExists);
}

#[test]
fn nothing_happens_to_a_product_that_does_not_exist() {
    for command in everything_but_create() {
        given(vec![]).when(command).then_expect_error(ProductError::NotFound);
    }
}

#[test]
fn nothing_happens_to_an_archived_product() {
    for command in everything_but_create() {
        let history =
            [draft(), vec![ProductEvent::Archived(ProductArchived { at: at() })]].concat();
        given(history).when(command).then_expect_error(ProductError::Archived);
    }
}

#[test]
fn only_what_changed_is_told() {
    let details = NewDetails {
        title: Some("Caramel Truffles".into()),
        vendor: Some("Cocoa & Thyme".into()),
        ..NewDetails::default()
    };
    let title = Change { from: "Truffles".into(), to: "Caramel Truffles".into() };
    let changed =
        ProductDetailsChanged { title: Some(title), at: at(), ..ProductDetailsChanged::default() };
    let changed = ProductEvent::DetailsChanged(changed);
    given(draft()).when(describe(details.clone())).then_expect_events(vec![changed.clone()]);
    given([draft(), vec![changed]].concat()).when(describe(details)).then_expect_events(vec![]);
    given(draft()).when(describe(NewDetails::default())).then_expect_events(vec![]);
}

#[test]
fn a_price_is_told_when_it_changes() {
    given(draft()).when(set_price(gbp(1600), None)).then_expect_events(vec![priced(1, 1600)]);
    given(draft()).when(set_price(gbp(1495), None)).then_expect_events(vec![]);
    assert!(given(draft()).when(set_price(gbp(1495), Some(gbp(1795)))).inspect_result().is_ok());
}

#[test]
fn a_price_lies_between_nothing_and_the_bound() {
    let (at, max) = ("/price".to_owned(), PRICE_MINOR_MAX);
    let error = ProductError::PriceOutOfRange { at, max };
    given(draft()).when(set_price(gbp(-1), None)).then_expect_error(error.clone());
    given(draft()).when(set_price(gbp(PRICE_MINOR_MAX + 1), None)).then_expect_error(error);
    accepted(draft(), set_price(gbp(0), None));
    accepted(draft(), set_price(gbp(PRICE_MINOR_MAX), None));
}

#[test]
fn a_former_price_is_not_below_the_price_and_in_its_currency() {
    let at = || "/compare_at".to_owned();
    given(draft())
        .when(set_price(gbp(1495), Some(gbp(1494))))
        .then_expect_error(ProductError::CompareAtTooLow { at: at() });
    accepted(draft(), set_price(gbp(1494), Some(gbp(1494))));
    let euro = Money { currency: Currency::EUR, ..gbp(2000) };
    given(draft())
        .when(set_price(gbp(1495), Some(euro)))
        .then_expect_error(ProductError::CurrencyMismatch { at: at(), expected: Currency::GBP });
}

#[test]
fn all_prices_of_a_product_are_in_one_currency() {
    let euro = Money { currency: Currency::EUR, ..gbp(2000) };
    let mismatch =
        |at: &str| ProductError::CurrencyMismatch { at: at.to_owned(), expected: Currency::GBP };
    let in_euro = |number, size| NewVariant { price: Some(euro), ..variant(number, size, None) };
    let both = vec![variant(1, "250 g", Some(1495)), in_euro(2, "500 g")];
    given(vec![])
        .when(create(NewProduct { variants: both, ..product() }))
        .then_expect_error(mismatch("/variants/1/price"));
    given(draft()).when(add(in_euro(2, "500 g"))).then_expect_error(mismatch("/price"));
    // The only price there is may move to another currency.
    accepted(draft(), set_price(euro, None));
    let two = [draft(), vec![added(2, "500 g"), priced(2, 2495)]].concat();
    given(two).when(set_price(euro, None)).then_expect_error(mismatch("/price"));
}

#[test]
fn a_former_price_needs_a_price() {
    let odd = NewVariant { compare_at: Some(gbp(100)), ..variant(2, "500 g", None) };
    let error = ProductError::CompareAtWithoutPrice { at: "/compare_at".into() };
    given(draft()).when(add(odd)).then_expect_error(error);
}

#[test]
fn two_variants_differ_in_options_sku_and_id() {
    let at = |field: &str| format!("/{field}");
    given(draft())
        .when(add(variant(2, "250 g", None)))
        .then_expect_error(ProductError::DuplicateOptionCombination { at: at("option_values") });
    given(draft())
        .when(add(NewVariant { sku: Some(sku(1)), ..variant(2, "500 g", None) }))
        .then_expect_error(ProductError::DuplicateSku { at: at("sku") });
    given(draft())
        .when(add(NewVariant { sku: None, ..variant(1, "500 g", None) }))
        .then_expect_error(ProductError::DuplicateVariant { at: at("variant_id") });
    // Any number of variants may be without a SKU.
    let nameless = |number, size| NewVariant { sku: None, ..variant(number, size, None) };
    let variants = vec![nameless(1, "250 g"), nameless(2, "500 g")];
    accepted(vec![], create(NewProduct { variants, ..product() }));
}

#[test]
fn two_variants_of_a_new_product_differ_too() {
    let at = |field: &str| format!("/variants/1/{field}");
    let both = |second| {
        create(NewProduct { variants: vec![variant(1, "250 g", None), second], ..product() })
    };
    given(vec![])
        .when(both(variant(2, "250 g", None)))
        .then_expect_error(ProductError::DuplicateOptionCombination { at: at("option_values") });
    given(vec![])
        .when(both(NewVariant { sku: Some(sku(1)), ..variant(2, "500 g", None) }))
        .then_expect_error(ProductError::DuplicateSku { at: at("sku") });
    given(vec![])
        .when(both(NewVariant { sku: None, ..variant(1, "500 g", None) }))
        .then_expect_error(ProductError::DuplicateVariant { at: at("variant_id") });
}

#[test]
fn a_variant_has_one_value_for_each_option() {
    for values in [vec![], vec!["250 g".to_owned(), "dark".to_owned()]] {
        let odd = NewVariant { option_values: values, ..variant(2, "", None) };
        let error = ProductError::OptionValuesMismatch { at: "/option_values".into(), expected: 1 };
        given(draft()).when(add(odd)).then_expect_error(error);
    }
}

#[test]
fn only_a_product_with_a_priced_variant_goes_on_sale() {
    let publish = || ProductCommand::Publish { at: at() };
    let missing = |what| ProductError::NotPublishable { missing: vec![what] };
    let bare = vec![ProductEvent::Created(created())];
    given(bare.clone()).when(publish()).then_expect_error(missing(Missing::Variant));
    let unpriced = [bare, vec![added(1, "250 g")]].concat();
    given(unpriced).when(publish()).then_expect_error(missing(Missing::Price));
    given(draft()).when(publish()).then_expect_events(vec![published()]);
}

#[test]
fn a_product_is_published_and_taken_down_in_turn() {
    let unpublish = || ProductCommand::Unpublish { at: at() };
    let on_sale = || [draft(), vec![published()]].concat();
    let unpublished = ProductEvent::Unpublished(ProductUnpublished { at: at() });
    given(on_sale())
        .when(ProductCommand::Publish { at: at() })
        .then_expect_error(ProductError::AlreadyPublished);
    given(on_sale()).when(unpublish()).then_expect_events(vec![unpublished.clone()]);
    given(draft()).when(unpublish()).then_expect_error(ProductError::NotPublished);
    given([on_sale(), vec![unpublished]].concat())
        .when(ProductCommand::Publish { at: at() })
        .then_expect_events(vec![published()]);
}

#[test]
fn a_price_is_offered_only_while_the_product_is_on_sale() {
    let price = |more: Vec<ProductEvent>| {
        let history = [draft(), vec![added(2, "500 g")], more].concat();
        let product = replay(history);
        [1, 2].map(|number| product.offer(variant_id(number)).unwrap().price)
    };
    let archived = ProductEvent::Archived(ProductArchived { at: at() });
    assert_eq!(price(vec![]), [Err(NotSellable::Draft); 2]);
    assert_eq!(price(vec![published()]), [Ok(gbp(1495)), Err(NotSellable::Unpriced)]);
    assert_eq!(price(vec![published(), archived]), [Err(NotSellable::Archived); 2]);
}

#[test]
fn an_offer_is_named_after_product_and_variant() {
    let product = replay(draft());
    assert_eq!(product.offer(variant_id(1)).unwrap().title, "Truffles – 250 g");
    assert_eq!(product.offer(variant_id(9)), None);
    let plain = NewVariant { option_values: vec![], ..variant(1, "", None) };
    let new = NewProduct { options: vec![], variants: vec![plain], ..product_with_no_options() };
    let plain = replay(Product::default().decide(create(new)).unwrap());
    assert_eq!(plain.offer(variant_id(1)).unwrap().title, "Truffles");
    assert_eq!(plain.variant(variant_id(1)).unwrap().title, "Default");
}

#[test]
fn texts_have_bounds() {
    let long = |max: usize| "é".repeat(max);
    let too_long = |at: &str, max, unit| ProductError::TextTooLong { at: at.into(), max, unit };
    let refused = |new: NewProduct, error| given(vec![]).when(create(new)).then_expect_error(error);

    let title = |chars| NewProduct { title: long(chars), ..product() };
    accepted(vec![], create(title(TEXT_CHARS_MAX)));
    refused(title(TEXT_CHARS_MAX + 1), too_long("/title", TEXT_CHARS_MAX, "characters"));

    let about = |bytes: usize| NewProduct { description: "x".repeat(bytes), ..product() };
    accepted(vec![], create(about(DESCRIPTION_BYTES_MAX)));
    let error = || too_long("/description", DESCRIPTION_BYTES_MAX, "bytes");
    refused(about(DESCRIPTION_BYTES_MAX + 1), error());
    let quotes = "\"".repeat(DESCRIPTION_BYTES_MAX / 2 + 1);
    refused(NewProduct { description: quotes, ..product() }, error());

    let tags = |count: usize| NewProduct { tags: vec!["a".into(); count], ..product() };
    accepted(vec![], create(tags(TAGS_MAX)));
    refused(tags(TAGS_MAX + 1), ProductError::TooMany { at: "/tags".into(), max: TAGS_MAX });
    let wide = NewProduct { tags: vec![long(TEXT_CHARS_MAX); 65], ..product() };
    refused(wide, too_long("/tags", TAGS_BYTES_MAX, "bytes"));

    let options = ["Weight", "Colour", "Shape", "Box"].map(str::to_owned).to_vec();
    let error = ProductError::TooMany { at: "/options".into(), max: OPTIONS_MAX };
    refused(NewProduct { options, ..product() }, error);
    let options = ["Weight", "Weight"].map(str::to_owned).to_vec();
    let error = ProductError::DuplicateOption { at: "/options/1".into() };
    refused(NewProduct { options, ..product() }, error);
    let error = ProductError::TextMissing { at: "/title".into() };
    refused(NewProduct { title: " ".into(), ..product() }, error);
    for title in ["nul\0", "bell\u{7}"] {
        let error = ProductError::TextInvalid { at: "/title".into() };
        refused(NewProduct { title: title.into(), ..product() }, error);
    }
    let sku = NewVariant { sku: Some("A\n1".into()), ..variant(1, "250 g", None) };
    let error = ProductError::TextInvalid { at: "/variants/0/sku".into() };
    refused(NewProduct { variants: vec![sku], ..product() }, error);
}

#[test]
fn a_product_has_at_most_2000_variants_and_begins_with_200() {
    let many = |count: usize| -> Vec<NewVariant> {
        (0..count).map(|n| variant(n as u128, &n.to_string(), None)).collect()
    };
    accepted(vec![], create(NewProduct { variants: many(NEW_VARIANTS_MAX), ..product() }));
    let error = ProductError::TooMany { at: "/variants".into(), max: NEW_VARIANTS_MAX };
    let over = NewProduct { variants: many(NEW_VARIANTS_MAX + 1), ..product() };
    given(vec![]).when(create(over)).then_expect_error(error);

    let history = |count: usize| {
        let variants = (0..count).map(|n| added(n as u128, &n.to_string()));
        std::iter::once(ProductEvent::Created(created())).chain(variants).collect()
    };
    accepted(history(VARIANTS_MAX - 1), add(variant(9999, "last", None)));
    let error = ProductError::TooMany { at: String::new(), max: VARIANTS_MAX };
    given(history(VARIANTS_MAX)).when(add(variant(9999, "last", None))).then_expect_error(error);
}

#[test]
fn a_handle_is_fit_for_a_url() {
    let named = |handle: &str| create(NewProduct { handle: handle.into(), ..product() });
    for handle in ["", "-", "a-", "-a", "a--b", "Truffles", "trüffel", "a b", "a/b", "a_b"] {
        let error = ProductError::HandleInvalid { at: "/handle".into() };
        given(vec![]).when(named(handle)).then_expect_error(error);
    }
    accepted(vec![], named(&"a".repeat(HANDLE_CHARS_MAX)));
    let result = given(vec![]).when(named(&"a".repeat(HANDLE_CHARS_MAX + 1))).inspect_result();
    assert!(matches!(result, Err(ProductError::TextTooLong { .. })));
}

#[test]
fn handles_are_made_of_titles() {
    assert_eq!(handle_of("Crème Brûlée (250 g)"), "creme-brulee-250-g");
    assert_eq!(handle_of("  Valentine's  Box! "), "valentines-box");
    assert_eq!(handle_of("Nuß & Öl"), "nuss-oel");
    assert_eq!(handle_of("巧克力"), "5de7514b529b");
    assert_eq!(handle_of("!!!"), "product");
}

proptest! {
    #[test]
    fn every_title_gives_a_handle_that_is_accepted(title in ".{0,400}") {
        let new = NewProduct { handle: handle_of(&title), ..product() };
        prop_assert!(Product::default().decide(create(new)).is_ok());
    }

    #[test]
    fn no_text_makes_a_decision_panic(text in "\\PC{0,300}|.{0,300}", amount: i64) {
        let odd = NewVariant {
            sku: Some(text.clone()),
            price: Some(gbp(amount)),
            ..variant(1, &text, None)
        };
        let new = NewProduct {
            handle: text.clone(),
            title: text.clone(),
            tags: vec![text.clone()],
            options: vec![text.clone()],
            variants: vec![odd],
            ..product()
        };
        let _ = Product::default().decide(create(new));
    }
}

fn given(history: Vec<ProductEvent>) -> AggregateTestExecutor<Product> {
    TestFramework::with(()).given(history)
}

fn accepted(history: Vec<ProductEvent>, command: ProductCommand) {
    let result = given(history).when(command).inspect_result();
    assert!(result.is_ok(), "{result:?}");
}

fn replay(history: Vec<ProductEvent>) -> Product {
    let mut product = Product::default();
    for event in history {
        product.apply(event);
    }
    product
}

fn everything_but_create() -> Vec<ProductCommand> {
    vec![
        describe(NewDetails::default()),
        add(variant(2, "500 g", None)),
        set_price(gbp(1), None),
        ProductCommand::Publish { at: at() },
        ProductCommand::Unpublish { at: at() },
        ProductCommand::Archive { at: at() },
    ]
}

/// A draft with one priced variant.
fn draft() -> Vec<ProductEvent> {
    vec![ProductEvent::Created(created()), added(1, "250 g"), priced(1, 1495)]
}

fn product() -> NewProduct {
    NewProduct {
        handle: "truffles".into(),
        title: "Truffles".into(),
        vendor: "Cocoa & Thyme".into(),
        options: vec!["Weight".into()],
        ..NewProduct::default()
    }
}

fn product_with_no_options() -> NewProduct {
    NewProduct { options: vec![], ..product() }
}

fn created() -> ProductCreated {
    let NewProduct { handle, title, description, vendor, product_type, tags, options, .. } =
        product();
    ProductCreated { handle, title, description, vendor, product_type, tags, options, at: at() }
}

fn variant(number: u128, size: &str, price: Option<i64>) -> NewVariant {
    NewVariant {
        variant_id: variant_id(number),
        sku: Some(sku(number)),
        barcode: None,
        option_values: vec![size.to_owned()],
        weight_g: None,
        price: price.map(gbp),
        compare_at: None,
    }
}

fn sku(number: u128) -> String {
    format!("TRF-{number}")
}

fn variant_id(number: u128) -> VariantId {
    VariantId::derive(&[&number.to_be_bytes()])
}

fn added(number: u128, size: &str) -> ProductEvent {
    let NewVariant { variant_id, sku, barcode, option_values, weight_g, .. } =
        variant(number, size, None);
    let title = size.to_owned();
    let added = VariantAdded { variant_id, sku, barcode, title, option_values, weight_g, at: at() };
    ProductEvent::VariantAdded(added)
}

fn priced(number: u128, minor: i64) -> ProductEvent {
    let (variant_id, price) = (variant_id(number), gbp(minor));
    ProductEvent::PriceSet(PriceSet { variant_id, price, compare_at: None, at: at() })
}

fn published() -> ProductEvent {
    ProductEvent::Published(ProductPublished { at: at() })
}

fn create(product: NewProduct) -> ProductCommand {
    ProductCommand::Create { product: Box::new(product), at: at() }
}

fn describe(details: NewDetails) -> ProductCommand {
    ProductCommand::Describe { details: Box::new(details), at: at() }
}

fn add(variant: NewVariant) -> ProductCommand {
    ProductCommand::AddVariant { variant: Box::new(variant), at: at() }
}

fn set_price(price: Money, compare_at: Option<Money>) -> ProductCommand {
    ProductCommand::SetPrice { variant_id: variant_id(1), price, compare_at, at: at() }
}

fn gbp(amount_minor: i64) -> Money {
    Money { amount_minor, currency: Currency::GBP }
}

fn at() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}
