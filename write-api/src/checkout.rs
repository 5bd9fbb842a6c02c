//! Buying: begin, pay, answer the bank, give up, look.
//!
//! A command of a checkout starts a process, is carried on here, and is answered where it rests. A
//! repeat with the same key answers from that same point of the stream, byte for byte, whatever
//! happened to the checkout since.

use api_kit::{Api, Body, Caller, Class, Deadline, NoBody, Path, Permission, Problem};
use axum::extract::State;
use axum::response::Response;
use commands::checkout::{
    self as use_case, AnswerError, CheckoutError, CheckoutStatus, CheckoutView, NewPayment,
    QuoteError,
};
use commands::payment::PaymentError;
use commands::{CommandError, Done, Intent};
use event_schemas::ids::{CheckoutId, StoreId};
use event_schemas::money::Money;
use fail::fail_point;
use sha2::{Digest as _, Sha256};
use utoipa_axum::routes;

use crate::WriteState;
use crate::cart_problem::problem as cart_problem;
use crate::sender::{KeyedSender, Sender};

mod address;
mod answer;
mod body;
mod crowd;
mod drive;
mod problem;
mod quote;
mod rest;

use answer::{Asked, CheckoutBody, answer};
use body::{BeginCheckout, CompleteCheckout, ConfirmAction};
pub use crowd::Crowd;
pub use drive::Driver;
use problem::problem;

pub(crate) fn api() -> Api<WriteState> {
    use Permission::{CheckoutsRead, CheckoutsWrite};
    Api::new()
        .classed(Class::Normal, CheckoutsWrite, routes!(begin))
        .classed(Class::High, CheckoutsWrite, routes!(complete))
        .classed(Class::High, CheckoutsWrite, routes!(confirm_action))
        .classed(Class::Normal, CheckoutsWrite, routes!(address::set_address))
        .classed(Class::Normal, CheckoutsWrite, routes!(abandon))
        .merge(quote::api())
        // Reads the log and not a table, so it counts among the commands.
        .classed(Class::Normal, CheckoutsRead, routes!(get))
        .classed(Class::Normal, CheckoutsRead, routes!(address::get_address))
}

/// Begins a checkout of a cart or of some lines: prices them and holds their stock for 15 minutes.
#[utoipa::path(post, path = "/api/v1/checkouts", tag = "checkouts",
    params(api_kit::headers::RequiredCommand),
    request_body = BeginCheckout,
    responses(
        (status = 201, description = "Every line is held; the shopper can pay.",
            body = CheckoutBody),
        (status = 202, description = "The stock is still being held; read the checkout.",
            body = CheckoutBody)))]
async fn begin(
    State(state): State<WriteState>,
    KeyedSender(sender): KeyedSender,
    Body { value, digest }: Body<BeginCheckout>,
) -> Result<Response, Problem> {
    // A cart is refused before anybody waits for it; what is bought is what it has in the end.
    let intent = sender.intent(&digest);
    let new = commands::cart::gather(&state.ctx, &intent, value.into_checkout()?).await;
    let new = new.map_err(cart_problem)?;
    let variants = new.lines.iter().map(|line| line.variant_id).take(use_case::LINES_MAX).collect();
    // Kept until the process rests: what it does then is what the turn is for.
    let _turns = state.crowd.turns(sender.store_id(), variants, sender.deadline()).await?;
    // It begins now and not when it came to the end of the line: what a runner leaves to whoever
    // began it counts from here.
    let intent = Intent { at: state.ctx.now(), ..intent };
    let short = use_case::shortages(&state.ctx, &intent, &new.lines).await.map_err(problem)?;
    if !short.is_empty() {
        return Err(problem::insufficient_stock(&short));
    }
    let begun = commands::cart::begin_checkout(&state.ctx, &intent, new).await;
    let begun = begun.map_err(problem::not_checked_out)?;
    let journey = Journey::of(&sender, begun.checkout_id);
    let mut response = journey.rested(&state, Asked::Begin, begun.done).await?;
    if response.status().is_success() {
        let address = format!("/api/v1/checkouts/{}", begun.checkout_id);
        let address = axum::http::HeaderValue::try_from(address);
        let address = address.expect("an address is visible ASCII");
        response.headers_mut().insert(axum::http::header::LOCATION, address);
    }
    Ok(response)
}

/// Pays: reserves the money, makes the order, takes the money.
///
/// With `"payment_method": "confirm_with_provider"` the shopper chooses how to pay on the provider's
/// own form: the answer has status `action_required` and what the form needs in `client`; when the
/// shopper comes back, `POST …/confirm-action`. The provider says so too; whoever is first counts.
///
/// `402 payment_declined` with `advice` if the card is refused: the stock stays held, try another.
/// Completing what is completed answers the order again.
#[utoipa::path(post, path = "/api/v1/checkouts/{checkout_id}/complete", tag = "checkouts",
    params(("checkout_id" = CheckoutId, Path), api_kit::headers::RequiredCommand,
        api_kit::headers::Precondition),
    request_body = CompleteCheckout,
    responses(
        (status = 200, description = "There is an order; or, with status `action_required`, the \
            shopper has to do something first.", body = CheckoutBody),
        (status = 202, description = "The provider has not answered; read the checkout.",
            body = CheckoutBody)))]
async fn complete(
    State(state): State<WriteState>,
    KeyedSender(sender): KeyedSender,
    Path(id): Path<CheckoutId>,
    Body { value, .. }: Body<CompleteCheckout>,
) -> Result<Response, Problem> {
    let expected_total = value.expected_total;
    let provider = state.driver.provider(sender.store_id()).await?;
    let payment_method = value.payment_method(&provider)?;
    let intent = sender.intent(&paying(&payment_method, expected_total));
    let journey = Journey::of(&sender, id);
    let new = NewPayment { payment_method, expected_total };
    match Box::pin(use_case::start_payment(&state.ctx, &intent, id, new)).await {
        Ok(done) => journey.rested(&state, Asked::Pay, done).await,
        Err(QuoteError::Command(CommandError::Rejected(
            CheckoutError::AlreadyCompleted | CheckoutError::AlreadyFailed,
        ))) => journey.now(&state, Asked::Pay, false).await,
        Err(QuoteError::Command(CommandError::Rejected(CheckoutError::QuoteExpired))) => {
            Err(quote::expired(&state, &intent, id).await)
        }
        Err(error) => Err(problem::not_quoted(error)),
    }
}

/// Digest of what a payment is. Of the token and not of the body: a stored hash of a card number
/// would give it away.
fn paying(payment_method: &str, expected_total: Option<Money>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(payment_method);
    if let Some(Money { amount_minor, currency }) = expected_total {
        hash.update([0]);
        hash.update(amount_minor.to_be_bytes());
        hash.update(currency.code());
    }
    hash.finalize().into()
}

/// Hands over what the shopper's bank said, after `action_required`.
#[utoipa::path(post, path = "/api/v1/checkouts/{checkout_id}/confirm-action", tag = "checkouts",
    params(("checkout_id" = CheckoutId, Path), api_kit::headers::RequiredCommand),
    request_body = ConfirmAction,
    responses(
        (status = 200, description = "There is an order.", body = CheckoutBody),
        (status = 202, description = "The provider has not answered; read the checkout.",
            body = CheckoutBody)))]
async fn confirm_action(
    State(state): State<WriteState>,
    KeyedSender(sender): KeyedSender,
    Path(id): Path<CheckoutId>,
    Body { value, digest }: Body<ConfirmAction>,
) -> Result<Response, Problem> {
    let intent = sender.intent(&digest);
    let journey = Journey::of(&sender, id);
    let answered = use_case::answer_action(&state.ctx, &intent, id, value.answer).await;
    match answered {
        Ok(done) => journey.rested(&state, Asked::Pay, done).await,
        Err(
            error @ AnswerError::Payment(CommandError::Rejected(PaymentError::ActionNotExpected)),
        ) => journey.unasked(&state, error).await,
        Err(error) => Err(problem::not_answered(error)),
    }
}

/// Gives a checkout up; its stock is free again.
#[utoipa::path(post, path = "/api/v1/checkouts/{checkout_id}/abandon", tag = "checkouts",
    params(("checkout_id" = CheckoutId, Path), api_kit::headers::Command,
        api_kit::headers::Precondition),
    responses(
        (status = 200, description = "Nothing is held any more.", body = CheckoutBody),
        (status = 202, description = "What was done is still being undone.",
            body = CheckoutBody)))]
async fn abandon(
    State(state): State<WriteState>,
    sender: Sender,
    Path(id): Path<CheckoutId>,
    body: NoBody,
) -> Result<Response, Problem> {
    let intent = sender.intent(&body.digest);
    let done = use_case::abandon(&state.ctx, &intent, id).await.map_err(problem)?;
    let journey = Journey::of(&sender, id);
    journey.rested(&state, Asked::Abandon, done).await
}

/// A checkout as it is now, read from the log: always up to date.
#[utoipa::path(get, path = "/api/v1/checkouts/{checkout_id}", tag = "checkouts",
    params(("checkout_id" = CheckoutId, Path)),
    responses((status = 200, description = "The checkout; `ETag` is its version.",
        body = CheckoutBody)))]
async fn get(
    State(state): State<WriteState>,
    caller: Caller,
    deadline: Deadline,
    Path(id): Path<CheckoutId>,
) -> Result<Response, Problem> {
    Journey { store_id: caller.store_id, id, deadline }.now(&state, Asked::Read, false).await
}

/// One checkout of one store, and until when its client waits for news of it.
#[derive(Clone, Copy, Debug)]
struct Journey {
    store_id: StoreId,
    id: CheckoutId,
    deadline: Deadline,
}

impl Journey {
    fn of(sender: &Sender, id: CheckoutId) -> Journey {
        Journey { store_id: sender.store_id(), id, deadline: sender.deadline() }
    }

    /// What the command that is `done` came to: the checkout at its first rest after it, or as it
    /// is now if that takes too long.
    async fn rested(
        self,
        state: &WriteState,
        asked: Asked,
        done: Done,
    ) -> Result<Response, Problem> {
        fail_point!("write-api::before-rest");
        let view = rest::rest(state, self, (asked, done)).await?;
        fail_point!("write-api::after-rest");
        let view = match view {
            Some(view) => view,
            None => not_before(self.load(state).await?, done.position),
        };
        let secret = match (asked, view.required_action) {
            (Asked::Pay, Some(_)) => state.driver.client_secret(self).await,
            _ => None,
        };
        Ok(answer(asked, (view, secret), done.replayed))
    }

    /// The checkout as it is now.
    async fn now(
        self,
        state: &WriteState,
        asked: Asked,
        replayed: bool,
    ) -> Result<Response, Problem> {
        Ok(answer(asked, (self.load(state).await?, None), replayed))
    }

    async fn load(self, state: &WriteState) -> Result<CheckoutView, Problem> {
        let view = use_case::current(&state.ctx, self.store_id, self.id).await;
        let view = view.map_err(|error| problem(CommandError::Store(error)))?;
        view.ok_or_else(|| Problem::new("checkout_not_found"))
    }

    /// An answer nobody waits for: fine if the checkout has ended meanwhile, else refused.
    async fn unasked(self, state: &WriteState, error: AnswerError) -> Result<Response, Problem> {
        let view = use_case::current(&state.ctx, self.store_id, self.id).await;
        let view = view.map_err(|error| problem(CommandError::Store(error)))?;
        match view {
            Some(view) if view.status == CheckoutStatus::Completed => {
                Ok(answer(Asked::Pay, (view, None), false))
            }
            Some(view) => {
                let problem = problem::not_answered(error);
                Err(problem.extra("current_state", view.status.code()))
            }
            None => Err(Problem::new("checkout_not_found")),
        }
    }
}

/// The checkout after a command at `position`. What a shopper's bank says is kept with the payment:
/// until the process comes to it, the checkout itself still asks for it, but nobody else should.
fn not_before(view: CheckoutView, position: i64) -> CheckoutView {
    if position <= view.position {
        return view;
    }
    let status = CheckoutStatus::PaymentPending;
    CheckoutView { status, required_action: None, position, ..view }
}
