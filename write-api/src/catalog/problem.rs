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
        E::TextInvalid { .. } | E::HandleInvalid { .. } | E::TaxClassInvalid { .. } => {
            "bad_characters"
        }
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

#[cfg(test)]
mod tests {
    use domain::catalog::Missing;
    use event_schemas::ids::VariantId;
    use event_schemas::money::Currency;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn every_refusal_has_its_code() {
        use ProductError as E;
        let at = || "/variants/2/sku".to_owned();
        let variant_id = VariantId(Uuid::from_u128(1));
        let expected = Currency::GBP;
        let table = [
            (E::NotFound, 404, "product_not_found"),
            (E::UnknownVariant { variant_id }, 404, "variant_not_found"),
            (E::AlreadyExists, 409, "already_exists"),
            (E::Archived, 409, "product_archived"),
            (E::AlreadyPublished, 409, "already_published"),
            (E::NotPublished, 409, "illegal_transition"),
            (E::NotPublishable { missing: vec![Missing::Price] }, 409, "product_not_publishable"),
            (E::TextMissing { at: at() }, 422, "validation_failed"),
            (E::TextTooLong { at: at(), max: 1, unit: "bytes" }, 422, "validation_failed"),
            (E::TextInvalid { at: at() }, 422, "validation_failed"),
            (E::HandleInvalid { at: at() }, 422, "validation_failed"),
            (E::TaxClassInvalid { at: at() }, 422, "validation_failed"),
            (E::TooMany { at: at(), max: 1 }, 422, "validation_failed"),
            (E::DuplicateOption { at: at() }, 422, "validation_failed"),
            (E::DuplicateOptionCombination { at: at() }, 422, "validation_failed"),
            (E::DuplicateSku { at: at() }, 422, "validation_failed"),
            (E::DuplicateVariant { at: at() }, 422, "validation_failed"),
            (E::OptionValuesMismatch { at: at(), expected: 1 }, 422, "validation_failed"),
            (E::PriceOutOfRange { at: at(), max: 1 }, 422, "validation_failed"),
            (E::CurrencyMismatch { at: at(), expected }, 422, "validation_failed"),
            (E::CompareAtTooLow { at: at() }, 422, "validation_failed"),
            (E::CompareAtWithoutPrice { at: at() }, 422, "validation_failed"),
        ];
        for (error, status, code) in table {
            let problem = rejected(error);
            assert_eq!((problem.status().as_u16(), problem.code()), (status, code));
        }
    }
}
