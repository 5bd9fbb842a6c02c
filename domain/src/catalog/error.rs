//! Why a product refuses a command.

use std::fmt;

use event_schemas::{ids::VariantId, money::Currency};

/// Why a product refuses a command. Each variant is one problem type of the public API.
///
/// `at` is a JSON pointer into the command's fields, such as `/variants/2/price`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProductError {
    /// Nothing was ever created under this id.
    #[error("product does not exist; check its id")]
    NotFound,
    /// The id is used.
    #[error("product already exists; create it under a new id")]
    AlreadyExists,
    /// Archived is the end.
    #[error("product is archived and cannot be changed any more; create a new one")]
    Archived,
    /// It is on sale.
    #[error("product is already published")]
    AlreadyPublished,
    /// It is not on sale.
    #[error("product is not published")]
    NotPublished,
    /// Something is needed before it can go on sale.
    #[error("product cannot be published yet; add {}", Missing::list(missing))]
    NotPublishable {
        /// What is needed.
        missing: Vec<Missing>,
    },
    /// The variant is not one of this product.
    #[error("variant {variant_id} does not belong to this product; check its id")]
    UnknownVariant {
        /// The variant asked for.
        variant_id: VariantId,
    },
    /// A text that must be there is empty or blank.
    #[error("text must not be empty")]
    TextMissing {
        /// Which field.
        at: String,
    },
    /// A text is longer than its bound.
    #[error("text is too long; shorten it to {max} {unit}")]
    TextTooLong {
        /// Which field.
        at: String,
        /// The bound.
        max: usize,
        /// What is counted: `characters` or `bytes`.
        unit: &'static str,
    },
    /// A text holds a character that cannot be stored or shown.
    #[error("text contains a character that is not allowed; remove control characters")]
    TextInvalid {
        /// Which field.
        at: String,
    },
    /// The handle is not fit for a URL.
    #[error("handle is not usable in a URL; use only a-z, 0-9 and single hyphens between them")]
    HandleInvalid {
        /// Which field.
        at: String,
    },
    /// The tax class is no code.
    #[error("tax class is not usable; use 1 to 40 of a-z, 0-9, `-` and `_`")]
    TaxClassInvalid {
        /// Which field.
        at: String,
    },
    /// A list is longer than its bound.
    #[error("too many entries; keep at most {max}")]
    TooMany {
        /// Which list.
        at: String,
        /// The bound.
        max: usize,
    },
    /// Two options have the same name.
    #[error("option is named twice; give each option its own name")]
    DuplicateOption {
        /// The second one.
        at: String,
    },
    /// A variant has more or fewer values than the product has options.
    #[error("variant must have one value for each of the product's {expected} options")]
    OptionValuesMismatch {
        /// The values.
        at: String,
        /// How many there should be.
        expected: usize,
    },
    /// Two variants would be the same thing.
    #[error("another variant has the same option values; change one of them")]
    DuplicateOptionCombination {
        /// The second one's values.
        at: String,
    },
    /// A SKU stands on two variants of this product.
    #[error("another variant of this product has the same sku; change one of them")]
    DuplicateSku {
        /// The second one.
        at: String,
    },
    /// A variant id stands twice.
    #[error("another variant has the same id; use a new one")]
    DuplicateVariant {
        /// The second one.
        at: String,
    },
    /// A price is below zero or beyond what we can add up.
    #[error("price must lie between 0 and {max} minor units")]
    PriceOutOfRange {
        /// Which price.
        at: String,
        /// The bound.
        max: i64,
    },
    /// Prices of one product are in one currency.
    #[error("price must be in {}, like the others of this product", expected.code())]
    CurrencyMismatch {
        /// Which price.
        at: String,
        /// The currency of the product.
        expected: Currency,
    },
    /// A former price would be below the price.
    #[error("compare-at price must not be below the price")]
    CompareAtTooLow {
        /// Which price.
        at: String,
    },
    /// A former price without a price.
    #[error("compare-at price needs a price beside it")]
    CompareAtWithoutPrice {
        /// Which price.
        at: String,
    },
}

/// What a product needs before it can go on sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// A variant.
    Variant,
    /// A price of at least one variant.
    Price,
}

impl Missing {
    /// As shown to programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Variant => "variant",
            Self::Price => "price",
        }
    }

    fn list(missing: &[Missing]) -> String {
        let texts: Vec<String> = missing.iter().map(ToString::to_string).collect();
        texts.join(" and ")
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Variant => "a variant with a price",
            Self::Price => "a price to at least one variant",
        })
    }
}

impl ProductError {
    /// JSON pointer to the field that is wrong, relative to the command's fields; `None` if it is
    /// the command as a whole that does not fit.
    pub fn pointer(&self) -> Option<String> {
        match self {
            Self::NotFound
            | Self::AlreadyExists
            | Self::Archived
            | Self::AlreadyPublished
            | Self::NotPublished
            | Self::NotPublishable { .. } => None,
            Self::UnknownVariant { .. } => Some("/variant_id".to_owned()),
            Self::TextMissing { at }
            | Self::TextTooLong { at, .. }
            | Self::TextInvalid { at }
            | Self::HandleInvalid { at }
            | Self::TaxClassInvalid { at }
            | Self::TooMany { at, .. }
            | Self::DuplicateOption { at }
            | Self::OptionValuesMismatch { at, .. }
            | Self::DuplicateOptionCombination { at }
            | Self::DuplicateSku { at }
            | Self::DuplicateVariant { at }
            | Self::PriceOutOfRange { at, .. }
            | Self::CurrencyMismatch { at, .. }
            | Self::CompareAtTooLow { at }
            | Self::CompareAtWithoutPrice { at } => Some(at.clone()),
        }
    }
}
