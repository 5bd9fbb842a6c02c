//! What products refuse, as clients see it.

use api_kit::{FieldError, Problem};
use commands::CommandError;
use domain::catalog::ProductError;

use crate::refusal;

pub(crate) fn problem(error: CommandError<ProductError>) -> Problem {
    refusal::problem(error, rejected)
}

/// One row per refusal: the compiler asks for a row when the domain learns a new one.
pub(crate) fn rejected(error: ProductError) -> Problem {
    use ProductError as E;
    let field = match &error {
        E::NotFound => return Problem::new("product_not_found"),
        E::UnknownVariant { .. } => return Problem::new("variant_not_found"),
        E::AlreadyExists => return Problem::new("already_exists"),
        E::Archived => return Problem::new("product_archived"),
        E::AlreadyPublished => return Problem::new("already_published"),
        E::NotPublished => {
            let problem = Problem::new("illegal_transition").detail(error.to_string());
            return problem.extra("current_state", "draft");
        }
        E::NotPublishable { missing } => {
            let missing: Vec<&str> = missing.iter().map(|missing| missing.code()).collect();
            let problem = Problem::new("product_not_publishable").detail(error.to_string());
            return problem.extra("missing", missing);
        }
        E::TextMissing { .. } => "empty",
        E::TextTooLong { .. } => "too_long",
        E::TextInvalid { .. } | E::HandleInvalid { .. } => "bad_characters",
        E::TooMany { .. } => "too_many",
        E::DuplicateOption { .. }
        | E::DuplicateOptionCombination { .. }
        | E::DuplicateSku { .. }
        | E::DuplicateVariant { .. } => "duplicate",
        E::OptionValuesMismatch { .. } => "option_values_mismatch",
        E::PriceOutOfRange { .. } => "out_of_range",
        E::CurrencyMismatch { .. } => "currency_mismatch",
        E::CompareAtTooLow { .. } => "below_price",
        E::CompareAtWithoutPrice { .. } => "price_missing",
    };
    let pointer = error.pointer().unwrap_or_default();
    let field = FieldError::field(pointer, field, error.to_string());
    Problem::new("validation_failed").error(field)
}
