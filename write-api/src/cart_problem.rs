//! What carts refuse, as clients see it: of carts, and of checkouts that are made of one.

use api_kit::Problem;
use commands::CommandError;
use commands::cart::{AddError, CartError};

use crate::refusal;

pub(crate) fn problem(error: CommandError<CartError>) -> Problem {
    refusal::problem(error, rejected)
}

/// One row per refusal: the compiler asks for a row when the domain learns a new one.
fn rejected(error: CartError) -> Problem {
    use CartError as E;
    let detail = error.to_string();
    match error {
        E::NotFound => Problem::new("cart_not_found"),
        E::AlreadyStarted => Problem::new("already_exists"),
        E::InCheckout { checkout_id } => {
            let checkout_id = checkout_id.to_string();
            Problem::new("cart_closed").detail(detail).extra("checkout_id", checkout_id)
        }
        E::CheckedOut { order_id } => {
            Problem::new("cart_closed").detail(detail).extra("order_id", order_id.to_string())
        }
        E::Merged { into } => {
            Problem::new("cart_closed").detail(detail).extra("merged_into", into.to_string())
        }
        E::QuantityOutOfRange => Problem::invalid("/quantity", "out_of_range", detail),
        E::Full { max } => Problem::new("cart_full").detail(detail).extra("lines_max", max),
        E::UnknownLine => Problem::new("cart_item_not_found"),
        E::CurrencyMismatch { .. } => Problem::new("currency_mismatch").detail(detail),
        E::BadCoupon => Problem::invalid("/code", "invalid", detail),
        E::TooManyCoupons { .. } => Problem::invalid("/code", "too_many", detail),
        E::BadCustomer => Problem::invalid("/customer_reference", "bad_length", detail),
        E::OtherCustomer => Problem::new("cart_of_other_customer"),
        E::Empty => Problem::invalid("/cart_id", "empty", detail),
    }
}

/// Why an item was not put into a cart.
pub(crate) fn not_added(error: AddError) -> Problem {
    let detail = error.to_string();
    match error {
        AddError::UnknownVariant => Problem::invalid("/variant_id", "unknown_variant", detail),
        AddError::NotSellable(_) => Problem::new("not_for_sale").detail(detail),
        AddError::Command(error) => problem(error),
    }
}

#[cfg(test)]
mod tests {
    use api_kit::problem::codes::known;
    use event_schemas::ids::{CartId, CheckoutId, OrderId};
    use event_schemas::money::Currency;

    use super::*;

    #[test]
    fn every_refusal_has_a_code_of_the_catalogue() {
        use CartError as E;
        let table = [
            (E::NotFound, 404, "cart_not_found"),
            (E::AlreadyStarted, 409, "already_exists"),
            (E::InCheckout { checkout_id: CheckoutId::derive(&[]) }, 409, "cart_closed"),
            (E::CheckedOut { order_id: OrderId::derive(&[]) }, 409, "cart_closed"),
            (E::Merged { into: CartId::derive(&[]) }, 409, "cart_closed"),
            (E::QuantityOutOfRange, 422, "validation_failed"),
            (E::Full { max: 100 }, 409, "cart_full"),
            (E::UnknownLine, 404, "cart_item_not_found"),
            (E::CurrencyMismatch { cart: Currency::GBP }, 422, "currency_mismatch"),
            (E::BadCoupon, 422, "validation_failed"),
            (E::TooManyCoupons { max: 10 }, 422, "validation_failed"),
            (E::BadCustomer, 422, "validation_failed"),
            (E::OtherCustomer, 409, "cart_of_other_customer"),
            (E::Empty, 422, "validation_failed"),
        ];
        for (error, status, code) in table {
            let problem = rejected(error);
            assert_eq!((problem.status().as_u16(), problem.code()), (status, code));
            assert!(known(code));
        }
    }
}
