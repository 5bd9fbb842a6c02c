//! Checkouts: begin, pay, answer, give up; see how far one is.

pub use domain::checkout::{
    ATTEMPTS_MAX, BeginCheckout, CHANGES_MAX, CONFIRM_WITH_PROVIDER, Checkout, CheckoutCommand,
    CheckoutError, Decline, Destination, HOLD_EXTENSION, PaymentAttempt, Phase, Requirement, Stuck,
    Terms, Waiting, order_id, payment_id,
};
use event_schemas::{
    ids::{CheckoutId, StoreId},
    upcast,
};
use event_store::{Done, Kind, Loaded, StoreError};

use crate::{
    CommandError, Ctx, Intent,
    payment::{self, PaymentError},
    run, run_on,
};

mod begin;
mod pay;
mod quote;
mod stock;
mod uses;
mod view;

pub use begin::{
    BeginError, Begun, HOLD, IMPORT_LINES_MAX, IMPORT_QUANTITY_MAX, LINES_MAX, LineError,
    LineProblem, NewCheckout, NewLine, QUANTITY_MAX, begin, new_checkout_id,
};
pub use pay::{NewPayment, start_payment};
pub use quote::{QUOTE_TTL, QuoteError, choose_shipping, preview, quote, shipping_options};
pub use stock::shortages;
pub use view::{CheckoutStatus, CheckoutView, current, settled};

/// How the engine reads checkouts. They have no names of their own.
pub static CHECKOUT: Kind<Checkout> =
    Kind { decode: upcast::decode, schema: domain::SCHEMA, keys: |_| vec![] };

/// Says where it goes. What was chosen and quoted for another address does not count any more.
pub async fn set_address(
    ctx: &Ctx,
    intent: &Intent,
    checkout_id: CheckoutId,
    destination: Destination,
) -> Result<Done, CommandError<CheckoutError>> {
    let (now, at, destination) = (ctx.now(), intent.at, Box::new(destination));
    let command = CheckoutCommand::SetAddress { destination, now, at };
    record(ctx, &of_journey(intent, checkout_id), checkout_id, command).await
}

/// Why an answer of the shopper's bank had no effect.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// There is no such checkout.
    #[error("checkout does not exist")]
    NotFound,
    /// The payment did not take it.
    #[error(transparent)]
    Payment(CommandError<PaymentError>),
}

/// Hands the provider what the shopper's bank said about the payment under way. `intent.expected`
/// is not looked at: the answer belongs to the payment and not to the checkout.
pub async fn answer_action(
    ctx: &Ctx,
    intent: &Intent,
    checkout_id: CheckoutId,
    answer: String,
) -> Result<Done, AnswerError> {
    let payment_error = |error| AnswerError::Payment(error);
    // A repeat after a second attempt began must still reach the payment it was for.
    let first = ctx.engine.command(intent.store_id.0, intent.command_id.0).await;
    let first = first.map_err(CommandError::Store).map_err(payment_error)?;
    let loaded = load(ctx, intent.store_id, checkout_id).await.map_err(CommandError::Store);
    let checkout = loaded.map_err(payment_error)?.state;
    if checkout.phase == Phase::Absent {
        return Err(AnswerError::NotFound);
    }
    let attempt = checkout.attempt(checkout.last_attempt()).map(|attempt| attempt.payment_id);
    let replayed = first.map(|first| event_schemas::ids::PaymentId(first.stream_id));
    let not_expected = CommandError::Rejected(PaymentError::ActionNotExpected);
    let id = replayed.or(attempt).ok_or(AnswerError::Payment(not_expected))?;
    let intent = Intent { expected: None, ..of_journey(intent, checkout_id) };
    payment::answer_action(ctx, &intent, id, answer).await.map_err(payment_error)
}

/// Gives the checkout up. Refused while a payment's fate is open.
pub async fn abandon(
    ctx: &Ctx,
    intent: &Intent,
    checkout_id: CheckoutId,
) -> Result<Done, CommandError<CheckoutError>> {
    let command = CheckoutCommand::Abandon { at: intent.at };
    record(ctx, &of_journey(intent, checkout_id), checkout_id, command).await
}

/// Everything about a checkout belongs to its journey.
fn of_journey(intent: &Intent, checkout_id: CheckoutId) -> Intent {
    Intent { correlation_id: checkout_id.to_string(), ..intent.clone() }
}

/// Puts a command of the process to a checkout. A repeat changes nothing.
pub async fn record(
    ctx: &Ctx,
    intent: &Intent,
    id: CheckoutId,
    command: CheckoutCommand,
) -> Result<Done, CommandError<CheckoutError>> {
    run(ctx, &CHECKOUT, id.0, intent, command).await
}

/// Like [`record`], for who knows the checkout: `known` is taken to where the command leaves it.
pub async fn tell(
    ctx: &Ctx,
    intent: &Intent,
    id: CheckoutId,
    (command, known): (CheckoutCommand, &mut Loaded<Checkout>),
) -> Result<(), CommandError<CheckoutError>> {
    run_on(ctx, &CHECKOUT, id.0, intent, (command, known)).await
}

/// The checkout as it is now; version 0 if there is none.
pub async fn load(
    ctx: &Ctx,
    store_id: StoreId,
    id: CheckoutId,
) -> Result<Loaded<Checkout>, StoreError> {
    ctx.engine.load(&CHECKOUT, store_id.0, id.0).await
}
