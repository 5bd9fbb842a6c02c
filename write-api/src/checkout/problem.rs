//! What checkouts refuse, as clients see it.

use api_kit::{FieldError, Problem};
use commands::CommandError;
use commands::cart::CheckOutError;
use commands::checkout::{
    ATTEMPTS_MAX, AnswerError, BeginError, CHANGES_MAX, CheckoutError, Decline, LineError,
    LineProblem, QuoteError,
};
use commands::payment::PaymentError;
use event_schemas::checkout::{FailureCause, Shortage};
use serde_json::{Value, json};

use crate::cart_problem::problem as cart_problem;
use crate::refusal;

pub(super) fn problem(error: CommandError<CheckoutError>) -> Problem {
    refusal::problem(error, rejected)
}

/// One row per refusal: the compiler asks for a row when the domain learns a new one.
pub(super) fn rejected(error: CheckoutError) -> Problem {
    use CheckoutError as E;
    let detail = error.to_string();
    match error {
        E::NotFound => Problem::new("checkout_not_found"),
        E::AlreadyBegun => Problem::new("already_exists"),
        E::Empty => Problem::invalid("/lines", "empty", detail),
        E::NoTotal | E::TotalTooHigh => Problem::invalid("/lines", "too_high", detail),
        E::QuantityZero | E::NegativeTotal { .. } => {
            Problem::invalid("/lines", "out_of_range", detail)
        }
        E::BadPaymentMethod => Problem::invalid("/payment_method", "bad_length", detail),
        E::StillReserving => Problem::new("stock_being_reserved"),
        E::PaymentInProgress => Problem::new("payment_in_progress"),
        E::HoldEnded => Problem::new("checkout_expired"),
        E::TooManyAttempts => {
            Problem::new("payment_attempts_exhausted").extra("attempts", ATTEMPTS_MAX)
        }
        E::TooManyChanges => {
            Problem::new("checkout_changes_exhausted").extra("changes", CHANGES_MAX)
        }
        E::Incomplete { missing } => {
            Problem::new("checkout_incomplete").extra("requirements", json!(missing))
        }
        E::QuoteExpired => Problem::new("quote_expired"),
        E::QuoteOutdated => Problem::new("changed_meanwhile"),
        E::AmountMismatch { due } => Problem::new("amount_mismatch").extra("due", json!(due)),
        E::AlreadyCompleted => Problem::new("already_completed"),
        E::AlreadyFailed => Problem::new("checkout_failed"),
    }
}

/// Why no checkout was made of a cart, or of lines.
pub(super) fn not_checked_out(error: CheckOutError) -> Problem {
    match error {
        CheckOutError::Cart(error) => cart_problem(error),
        CheckOutError::Begin(error) => not_begun(error),
    }
}

/// Why a checkout did not begin.
pub(super) fn not_begun(error: BeginError) -> Problem {
    match error {
        BeginError::TooManyLines { max } => {
            Problem::invalid("/lines", "too_many", format!("at most {max} lines"))
        }
        // No field of the body leads here.
        BeginError::NotYours => Problem::internal(error),
        BeginError::Lines(errors) => lines(&errors),
        BeginError::Command(error) => problem(error),
    }
}

/// `409 not_for_sale` if that is all that is wrong, else `422`; all lines are named.
fn lines(errors: &[LineError]) -> Problem {
    let not_for_sale =
        errors.iter().all(|error| matches!(error.problem, LineProblem::NotSellable(_)));
    let code = if not_for_sale { "not_for_sale" } else { "validation_failed" };
    let fields = errors.iter().map(|LineError { index, problem }| {
        let (member, code) = match problem {
            LineProblem::UnknownVariant => ("variant_id", "unknown_variant"),
            LineProblem::NotSellable(_) => ("variant_id", "not_for_sale"),
            LineProblem::QuantityOutOfRange { .. } => ("quantity", "out_of_range"),
            LineProblem::OtherCurrency => ("variant_id", "currency_mismatch"),
        };
        FieldError::field(format!("/lines/{index}/{member}"), code, problem.to_string())
    });
    fields.fold(Problem::new(code), Problem::error)
}

/// The card was refused; the stock is still held.
pub(super) fn declined(decline: Option<&Decline>) -> Problem {
    let problem = Problem::new("payment_declined");
    let Some(Decline { code, advice }) = decline else { return problem };
    problem.extra("decline_code", code.as_str()).extra("advice", json!(advice))
}

/// The checkout came to nothing.
pub(super) fn failed(failure: Option<&FailureCause>) -> Problem {
    match failure {
        Some(FailureCause::InsufficientStock { lines }) => insufficient_stock(lines),
        Some(FailureCause::Expired) => Problem::new("checkout_expired"),
        Some(FailureCause::CaptureFailed { provider_code }) => {
            let code = provider_code.as_str();
            Problem::new("payment_declined").extra("decline_code", code).extra("advice", "stop")
        }
        Some(cause @ (FailureCause::Abandoned | FailureCause::OrderRefused { .. })) => {
            Problem::new("checkout_failed").extra("failure", json!(cause))
        }
        None => Problem::new("checkout_failed"),
    }
}

/// There are not enough units.
pub(super) fn insufficient_stock(lines: &[Shortage]) -> Problem {
    let lines: Vec<Value> = lines.iter().map(|line| json!(line)).collect();
    Problem::new("insufficient_stock").extra("lines", lines)
}

/// Why a checkout was not quoted or not paid.
pub(super) fn not_quoted(error: QuoteError) -> Problem {
    match error {
        QuoteError::Command(error) => problem(error),
        QuoteError::Coupon { code, error } => {
            refusal::problem(error, refusal::coupon).extra("coupon", code)
        }
        QuoteError::TooManyCoupons => {
            Problem::invalid("/coupons", "too_many", QuoteError::TooManyCoupons.to_string())
        }
        QuoteError::Undeliverable => Problem::new("address_undeliverable"),
        QuoteError::UnknownOption => {
            let detail = QuoteError::UnknownOption.to_string();
            Problem::invalid("/option", "unknown_option", detail)
        }
        QuoteError::Pricing(error) => Problem::invalid("", "out_of_range", error.to_string()),
    }
}

/// Why an answer of the shopper's bank had no effect.
pub(super) fn not_answered(error: AnswerError) -> Problem {
    match error {
        AnswerError::NotFound => Problem::new("checkout_not_found"),
        AnswerError::Payment(error) => refusal::problem(error, payment),
    }
}

/// One row per refusal of a payment.
pub(super) fn payment(error: PaymentError) -> Problem {
    use PaymentError as E;
    let detail = error.to_string();
    match error {
        E::NotFound => Problem::new("payment_not_found"),
        E::AlreadyRequested => Problem::new("already_exists"),
        E::NegativeAmount => Problem::invalid("/amount", "out_of_range", detail),
        E::ActionNotExpected => Problem::new("illegal_transition").detail(detail),
        E::BadAnswer => Problem::invalid("/answer", "bad_length", detail),
        E::IllegalTransition { from, .. } => {
            let problem = Problem::new("illegal_transition").detail(detail);
            problem.extra("current_state", json!(from))
        }
        E::RefundExceedsCaptured { available } => {
            Problem::new("refund_exceeds_captured").extra("available", json!(available))
        }
        E::UnknownRefund => Problem::new("refund_not_found"),
    }
}

#[cfg(test)]
mod tests {
    use commands::payment::PaymentStatus;
    use domain::catalog::NotSellable;
    use event_schemas::ids::VariantId;
    use event_schemas::money::{Currency, Money};
    use event_schemas::payment::DeclineAdvice;
    use uuid::Uuid;

    use super::*;

    const FIVE: Money = Money { amount_minor: 5, currency: Currency::GBP };

    fn says(problem: &Problem) -> (u16, &'static str) {
        (problem.status().as_u16(), problem.code())
    }

    #[test]
    fn every_refusal_of_a_checkout_has_its_code() {
        use CheckoutError as E;
        let table = [
            (E::NotFound, 404, "checkout_not_found"),
            (E::AlreadyBegun, 409, "already_exists"),
            (E::Empty, 422, "validation_failed"),
            (E::QuantityZero, 422, "validation_failed"),
            (E::NoTotal, 422, "validation_failed"),
            (E::TotalTooHigh, 422, "validation_failed"),
            (E::NegativeTotal { total: FIVE }, 422, "validation_failed"),
            (E::BadPaymentMethod, 422, "validation_failed"),
            (E::StillReserving, 409, "stock_being_reserved"),
            (E::PaymentInProgress, 409, "payment_in_progress"),
            (E::HoldEnded, 409, "checkout_expired"),
            (E::TooManyAttempts, 409, "payment_attempts_exhausted"),
            (E::TooManyChanges, 409, "checkout_changes_exhausted"),
            (E::Incomplete { missing: vec![] }, 409, "checkout_incomplete"),
            (E::QuoteExpired, 409, "quote_expired"),
            (E::QuoteOutdated, 409, "changed_meanwhile"),
            (E::AmountMismatch { due: FIVE }, 422, "amount_mismatch"),
            (E::AlreadyCompleted, 409, "already_completed"),
            (E::AlreadyFailed, 409, "checkout_failed"),
        ];
        for (error, status, code) in table {
            assert_eq!(says(&rejected(error)), (status, code));
        }
    }

    #[test]
    fn every_refusal_of_a_payment_has_its_code() {
        use PaymentError as E;
        let from = PaymentStatus::Declined;
        let table = [
            (E::NotFound, 404, "payment_not_found"),
            (E::AlreadyRequested, 409, "already_exists"),
            (E::NegativeAmount, 422, "validation_failed"),
            (E::ActionNotExpected, 409, "illegal_transition"),
            (E::BadAnswer, 422, "validation_failed"),
            (E::IllegalTransition { from, command: "be voided" }, 409, "illegal_transition"),
            (E::RefundExceedsCaptured { available: FIVE }, 409, "refund_exceeds_captured"),
            (E::UnknownRefund, 404, "refund_not_found"),
        ];
        for (error, status, code) in table {
            assert_eq!(says(&payment(error)), (status, code));
        }
    }

    #[test]
    fn every_end_has_its_code() {
        use FailureCause as F;
        let shortage =
            Shortage { variant_id: VariantId(Uuid::from_u128(1)), requested: 2, available: 1 };
        let text = String::new;
        let table = [
            (F::InsufficientStock { lines: vec![shortage] }, 409, "insufficient_stock"),
            (F::Expired, 409, "checkout_expired"),
            (F::Abandoned, 409, "checkout_failed"),
            (F::OrderRefused { detail: text() }, 409, "checkout_failed"),
            (F::CaptureFailed { provider_code: text() }, 402, "payment_declined"),
        ];
        for (cause, status, code) in table {
            assert_eq!(says(&failed(Some(&cause))), (status, code));
        }
        let decline = Decline { code: text(), advice: DeclineAdvice::OtherMethod };
        assert_eq!(says(&declined(Some(&decline))), (402, "payment_declined"));
    }

    #[test]
    fn a_checkout_that_did_not_begin_names_its_lines() {
        let begin = |problems: &[LineProblem]| {
            let lines = problems.iter().cloned().enumerate();
            let lines = lines.map(|(index, problem)| LineError { index, problem }).collect();
            says(&not_begun(BeginError::Lines(lines)))
        };
        let draft = LineProblem::NotSellable(NotSellable::Draft);
        assert_eq!(begin(&[draft.clone(), draft.clone()]), (409, "not_for_sale"));
        let both = [draft, LineProblem::UnknownVariant];
        assert_eq!(begin(&both), (422, "validation_failed"));
        let others = [LineProblem::QuantityOutOfRange { max: 999 }, LineProblem::OtherCurrency];
        assert_eq!(begin(&others), (422, "validation_failed"));
        let many = BeginError::TooManyLines { max: 100 };
        assert_eq!(says(&not_begun(many)), (422, "validation_failed"));
    }
}
