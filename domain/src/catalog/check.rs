//! What a product's fields may hold. Every check names the field it is about by a JSON pointer.

use std::collections::BTreeSet;

use event_schemas::money::{Currency, Money};

use super::{NewDetails, NewProduct, NewVariant, ProductError, Variant};

/// Characters of a title, vendor, kind, tag, option name or option value: what Shopify's files
/// may hold, and short enough for an index entry in PostgreSQL.
pub const TEXT_CHARS_MAX: usize = 255;

/// Bytes of a description in JSON, where quotes and line breaks take two. Long enough for a page of
/// HTML; a change of it stores it twice, and an event has 256 KiB.
pub const DESCRIPTION_BYTES_MAX: usize = 64 * 1024;

/// Characters of a handle: a path segment that every proxy lets pass.
pub const HANDLE_CHARS_MAX: usize = 255;

/// Characters of a SKU or barcode; SKUs are keys of an index.
pub const SKU_CHARS_MAX: usize = 255;

/// Options of a product. More make a table of variants that nobody can survey.
pub const OPTIONS_MAX: usize = 3;

/// Variants of a product: the aggregate is read whole for every command.
pub const VARIANTS_MAX: usize = 2000;

/// Variants a product may be created with: each makes two events, and a command makes 500 at most.
/// More are added one by one.
pub const NEW_VARIANTS_MAX: usize = 200;

/// Tags of a product: search expands them all.
pub const TAGS_MAX: usize = 250;

/// Bytes of all tags together in JSON; a change stores them twice, beside the description.
pub const TAGS_BYTES_MAX: usize = 32 * 1024;

/// Minor units of a price: 10^15, so that a million units of it still fit in 64 bits with room.
pub const PRICE_MINOR_MAX: i64 = 1_000_000_000_000_000;

pub(super) fn product(new: &NewProduct) -> Result<(), ProductError> {
    handle(&new.handle)?;
    name(&new.title, "/title")?;
    description(&new.description)?;
    text(&new.vendor, "/vendor")?;
    text(&new.product_type, "/product_type")?;
    tags(&new.tags)?;
    options(&new.options)?;
    variants(new)
}

pub(super) fn details(new: &NewDetails) -> Result<(), ProductError> {
    new.title.as_deref().map_or(Ok(()), |title| name(title, "/title"))?;
    new.description.as_deref().map_or(Ok(()), description)?;
    new.vendor.as_deref().map_or(Ok(()), |vendor| text(vendor, "/vendor"))?;
    new.product_type.as_deref().map_or(Ok(()), |kind| text(kind, "/product_type"))?;
    new.tags.as_deref().map_or(Ok(()), tags)
}

/// A variant for a product that has `options` and `others`.
pub(super) fn another_variant(
    options: &[String],
    others: &[Variant],
    new: &NewVariant,
) -> Result<(), ProductError> {
    if VARIANTS_MAX <= others.len() {
        return Err(ProductError::TooMany { at: String::new(), max: VARIANTS_MAX });
    }
    let currency = others.iter().filter_map(|other| other.price).map(|price| price.currency).next();
    variant(new, options.len(), currency, "")?;
    if others.iter().any(|other| other.variant_id == new.variant_id) {
        return Err(ProductError::DuplicateVariant { at: "/variant_id".to_owned() });
    }
    if new.sku.is_some() && others.iter().any(|other| other.sku == new.sku) {
        return Err(ProductError::DuplicateSku { at: "/sku".to_owned() });
    }
    if others.iter().any(|other| other.option_values == new.option_values) {
        return Err(ProductError::DuplicateOptionCombination { at: "/option_values".to_owned() });
    }
    Ok(())
}

/// A price and the former price beside it. `prefix` points at what holds both.
pub(super) fn price(
    price: Option<Money>,
    compare_at: Option<Money>,
    currency: Option<Currency>,
    prefix: &str,
) -> Result<(), ProductError> {
    let Some(price) = price else {
        return match compare_at {
            None => Ok(()),
            Some(_) => {
                Err(ProductError::CompareAtWithoutPrice { at: format!("{prefix}/compare_at") })
            }
        };
    };
    amount(price, currency, || format!("{prefix}/price"))?;
    let Some(compare_at) = compare_at else {
        return Ok(());
    };
    let at = || format!("{prefix}/compare_at");
    amount(compare_at, Some(price.currency), at)?;
    if compare_at.amount_minor < price.amount_minor {
        return Err(ProductError::CompareAtTooLow { at: at() });
    }
    Ok(())
}

fn amount(
    money: Money,
    currency: Option<Currency>,
    at: impl Fn() -> String,
) -> Result<(), ProductError> {
    if !(0..=PRICE_MINOR_MAX).contains(&money.amount_minor) {
        return Err(ProductError::PriceOutOfRange { at: at(), max: PRICE_MINOR_MAX });
    }
    match currency {
        Some(expected) if expected != money.currency => {
            Err(ProductError::CurrencyMismatch { at: at(), expected })
        }
        _ => Ok(()),
    }
}

/// All variants of a new product, among themselves too.
fn variants(new: &NewProduct) -> Result<(), ProductError> {
    if NEW_VARIANTS_MAX < new.variants.len() {
        return Err(ProductError::TooMany { at: "/variants".to_owned(), max: NEW_VARIANTS_MAX });
    }
    let (mut ids, mut skus, mut combinations) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut currency = None;
    for (index, new_variant) in new.variants.iter().enumerate() {
        let prefix = format!("/variants/{index}");
        variant(new_variant, new.options.len(), currency, &prefix)?;
        currency = currency.or(new_variant.price.map(|price| price.currency));
        if !ids.insert(new_variant.variant_id) {
            return Err(ProductError::DuplicateVariant { at: format!("{prefix}/variant_id") });
        }
        if let Some(sku) = &new_variant.sku
            && !skus.insert(sku)
        {
            return Err(ProductError::DuplicateSku { at: format!("{prefix}/sku") });
        }
        if !combinations.insert(&new_variant.option_values) {
            let at = format!("{prefix}/option_values");
            return Err(ProductError::DuplicateOptionCombination { at });
        }
    }
    Ok(())
}

/// One variant by itself.
fn variant(
    new: &NewVariant,
    options: usize,
    currency: Option<Currency>,
    prefix: &str,
) -> Result<(), ProductError> {
    new.sku.as_deref().map_or(Ok(()), |sku| code(sku, &format!("{prefix}/sku")))?;
    new.barcode.as_deref().map_or(Ok(()), |code_| code(code_, &format!("{prefix}/barcode")))?;
    if new.option_values.len() != options {
        let at = format!("{prefix}/option_values");
        return Err(ProductError::OptionValuesMismatch { at, expected: options });
    }
    for (index, value) in new.option_values.iter().enumerate() {
        name(value, &format!("{prefix}/option_values/{index}"))?;
    }
    price(new.price, new.compare_at, currency, prefix)
}

fn options(options: &[String]) -> Result<(), ProductError> {
    if OPTIONS_MAX < options.len() {
        return Err(ProductError::TooMany { at: "/options".to_owned(), max: OPTIONS_MAX });
    }
    for (index, option) in options.iter().enumerate() {
        let at = format!("/options/{index}");
        name(option, &at)?;
        if options[..index].contains(option) {
            return Err(ProductError::DuplicateOption { at });
        }
    }
    Ok(())
}

fn tags(tags: &[String]) -> Result<(), ProductError> {
    if TAGS_MAX < tags.len() {
        return Err(ProductError::TooMany { at: "/tags".to_owned(), max: TAGS_MAX });
    }
    for (index, tag) in tags.iter().enumerate() {
        name(tag, &format!("/tags/{index}"))?;
    }
    stored(tags.iter().map(String::as_str), TAGS_BYTES_MAX, "/tags")
}

fn handle(handle: &str) -> Result<(), ProductError> {
    let at = "/handle";
    bounded(handle, HANDLE_CHARS_MAX, at)?;
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    if !handle.split('-').all(word) {
        return Err(ProductError::HandleInvalid { at: at.to_owned() });
    }
    Ok(())
}

fn description(description: &str) -> Result<(), ProductError> {
    let at = "/description";
    plain(description, at)?;
    stored([description], DESCRIPTION_BYTES_MAX, at)
}

/// Bounds what texts take in an event. They hold none of the characters that JSON spells in six
/// bytes.
fn stored<'a>(
    texts: impl IntoIterator<Item = &'a str>,
    max: usize,
    at: &str,
) -> Result<(), ProductError> {
    let escaped = |b: &u8| matches!(b, b'"' | b'\\' | b'\n' | b'\r' | b'\t');
    let bytes = |text: &str| text.len() + text.as_bytes().iter().filter(|b| escaped(b)).count();
    if max < texts.into_iter().map(bytes).sum() {
        return Err(ProductError::TextTooLong { at: at.to_owned(), max, unit: "bytes" });
    }
    Ok(())
}

/// A text that must be there.
fn name(value: &str, at: &str) -> Result<(), ProductError> {
    if value.trim().is_empty() {
        return Err(ProductError::TextMissing { at: at.to_owned() });
    }
    text(value, at)
}

/// A text that may be empty.
fn text(value: &str, at: &str) -> Result<(), ProductError> {
    bounded(value, TEXT_CHARS_MAX, at)?;
    plain(value, at)
}

/// A code that machines compare: there, and free of anything invisible.
fn code(value: &str, at: &str) -> Result<(), ProductError> {
    if value.trim().is_empty() {
        return Err(ProductError::TextMissing { at: at.to_owned() });
    }
    bounded(value, SKU_CHARS_MAX, at)?;
    if value.chars().any(char::is_control) {
        return Err(ProductError::TextInvalid { at: at.to_owned() });
    }
    Ok(())
}

fn bounded(value: &str, max: usize, at: &str) -> Result<(), ProductError> {
    if max < value.chars().count() {
        return Err(ProductError::TextTooLong { at: at.to_owned(), max, unit: "characters" });
    }
    Ok(())
}

/// No control characters but those of text with lines. NUL above all: PostgreSQL's `text` cannot
/// hold it, and the read models would stop at such an event.
fn plain(value: &str, at: &str) -> Result<(), ProductError> {
    if value.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
        return Err(ProductError::TextInvalid { at: at.to_owned() });
    }
    Ok(())
}
