//! Payments: what the checkout's process records, and the shopper's answer.
//!
//! Only [`answer_action`] is for people; everything else belongs to the process that talks to the
//! provider.

pub use domain::payment::{
    Intent as PaymentIntent, Payment, PaymentCommand, PaymentError, PaymentRefund,
    PaymentRefundState, PaymentStatus, RequestIntent,
};
use event_schemas::{
    ids::{PaymentId, StoreId},
    upcast,
};
use event_store::{Done, Kind, Loaded, StoreError};

use crate::{CommandError, Ctx, Intent, run, run_on};

/// How the engine reads payments. They have no names of their own.
pub static PAYMENT: Kind<Payment> =
    Kind { decode: upcast::decode, schema: domain::SCHEMA, keys: |_| vec![] };

/// Hands the provider what the shopper's bank said. The outcome shows on the checkout.
pub async fn answer_action(
    ctx: &Ctx,
    intent: &Intent,
    id: PaymentId,
    answer: String,
) -> Result<Done, CommandError<PaymentError>> {
    record(ctx, intent, id, PaymentCommand::AnswerAction { answer, at: intent.at }).await
}

/// Puts a command of the process to a payment. A repeat changes nothing.
pub async fn record(
    ctx: &Ctx,
    intent: &Intent,
    id: PaymentId,
    command: PaymentCommand,
) -> Result<Done, CommandError<PaymentError>> {
    run(ctx, &PAYMENT, id.0, intent, command).await
}

/// Like [`record`], for who knows the payment: `known` is taken to where the command leaves it.
pub async fn tell(
    ctx: &Ctx,
    intent: &Intent,
    id: PaymentId,
    (command, known): (PaymentCommand, &mut Loaded<Payment>),
) -> Result<(), CommandError<PaymentError>> {
    run_on(ctx, &PAYMENT, id.0, intent, (command, known)).await
}

/// The payment as it is now; version 0 if nothing was asked of a provider yet.
pub async fn load(
    ctx: &Ctx,
    store_id: StoreId,
    id: PaymentId,
) -> Result<Loaded<Payment>, StoreError> {
    ctx.engine.load(&PAYMENT, store_id.0, id.0).await
}
