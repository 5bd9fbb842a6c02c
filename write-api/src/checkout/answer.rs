//! What clients are told of checkouts.

use api_kit::{Etag, Position, Problem, Replayed};
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use commands::checkout::{CheckoutStatus, CheckoutView};
use event_schemas::checkout::FailureCause;
use event_schemas::ids::{CheckoutId, LineId, OrderId, ProductId, VariantId};
use event_schemas::money::Money;
use event_schemas::order::{Charge, ChargeKind, OrderLine};
use event_schemas::payment::{DeclineAdvice, PaymentAction};
use event_schemas::quote::{Pricing, Quote, ShippingOption};
use providers::payment::ClientSecret;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem;

/// An attempt to buy.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Checkout)]
pub(super) struct CheckoutBody {
    id: CheckoutId,
    /// `reserving`, `awaiting_payment`, `action_required`, `payment_pending`, `completing`,
    /// `completed`, `compensating`, `failed` or `stuck`; more may come.
    #[schema(example = "awaiting_payment")]
    status: &'static str,
    /// What is bought, at the store's prices.
    lines: Vec<LineBody>,
    /// What else is charged or taken off.
    charges: Vec<ChargeBody>,
    /// Exact sum of both.
    total: Money,
    /// Country it goes to.
    country: Option<String>,
    /// How it is sent.
    shipping: Option<ShippingOption>,
    /// How the total comes about, once a quote was asked for.
    quote: Option<QuoteBody>,
    /// The stock is held until then.
    hold_until: DateTime<Utc>,
    /// The order it became.
    order: Option<OrderRef>,
    /// The last refusal of a card, until the next attempt.
    last_decline: Option<DeclineBody>,
    /// What the shopper has to do: then `POST …/confirm-action`.
    required_action: Option<PaymentAction>,
    /// What the shopper's browser needs for that, in the answer to `POST …/complete` alone. Asked of
    /// the provider for this answer and stored nowhere; none if the provider did not say it in time:
    /// repeat the request.
    client: Option<ClientBody>,
    /// Why it came to nothing.
    failure: Option<FailureCause>,
    /// Version, as in `ETag`.
    version: i64,
    /// Position of its last event, as in `X-Position`.
    position: i64,
}

/// One line of a checkout.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CheckoutLine)]
struct LineBody {
    id: LineId,
    product_id: ProductId,
    variant_id: VariantId,
    sku: Option<String>,
    title: String,
    quantity: u32,
    unit_price: Money,
}

/// Money on a checkout that is no product.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CheckoutCharge)]
struct ChargeBody {
    kind: ChargeKind,
    code: String,
    title: String,
    /// Negative where the shopper pays less for it.
    amount: Money,
}

/// What a checkout costs, with every figure.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CheckoutQuote)]
pub(super) struct QuoteBody {
    /// What the shopper owes: the totals of all lines and of the carriage.
    total: Money,
    #[serde(flatten)]
    pricing: Pricing,
    /// It can be paid until then.
    expires_at: DateTime<Utc>,
}

impl QuoteBody {
    pub(super) fn new(quote: Quote) -> QuoteBody {
        let Quote { total, pricing, expires_at, .. } = quote;
        QuoteBody { total, pricing, expires_at }
    }
}

/// An order by id and by number.
#[derive(Debug, Serialize, ToSchema)]
struct OrderRef {
    id: OrderId,
    /// Number for people.
    number: Option<String>,
}

/// A refusal of a card.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Decline)]
struct DeclineBody {
    /// The provider's code.
    #[schema(example = "card_declined")]
    code: String,
    advice: DeclineAdvice,
}

/// What a browser needs to go on with a payment at the provider directly.
#[derive(Serialize, ToSchema)]
#[schema(as = ProviderClient)]
struct ClientBody {
    /// Lets its holder confirm this one payment: for the shopper alone.
    client_secret: String,
    /// Names the merchant's account to the provider's script.
    publishable_key: Option<String>,
}

impl std::fmt::Debug for ClientBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientBody").finish_non_exhaustive()
    }
}

impl ClientBody {
    fn new(secret: ClientSecret) -> ClientBody {
        let ClientSecret { client_secret, publishable_key } = secret;
        ClientBody { client_secret, publishable_key }
    }
}

/// What the client wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Begin,
    Pay,
    Abandon,
    Read,
}

/// The answer to what was `asked`: the checkout, or the problem that it came to.
pub(super) fn answer(
    asked: Asked,
    (view, secret): (CheckoutView, Option<ClientSecret>),
    replayed: bool,
) -> Response {
    let headers = (Etag(view.version), Position(view.position), Replayed(replayed));
    match outcome(asked, &view) {
        Ok(status) => (status, headers, Json(CheckoutBody::new(view, secret))).into_response(),
        Err(problem) => (headers, problem).into_response(),
    }
}

fn outcome(asked: Asked, view: &CheckoutView) -> Result<StatusCode, Problem> {
    use CheckoutStatus as S;
    if asked == Asked::Read {
        return Ok(StatusCode::OK);
    }
    match view.status {
        S::AwaitingPayment if asked == Asked::Begin => Ok(StatusCode::CREATED),
        S::AwaitingPayment => Err(problem::declined(view.last_decline.as_ref())),
        S::ActionRequired | S::Completed => Ok(StatusCode::OK),
        S::Failed if asked == Asked::Abandon => Ok(StatusCode::OK),
        S::Failed => Err(problem::failed(view.failure.as_ref())),
        S::Reserving | S::PaymentPending | S::Completing | S::Compensating | S::Stuck => {
            Ok(StatusCode::ACCEPTED)
        }
    }
}

impl CheckoutBody {
    fn new(view: CheckoutView, secret: Option<ClientSecret>) -> CheckoutBody {
        let number = view.order_number;
        CheckoutBody {
            id: view.checkout_id,
            status: view.status.code(),
            lines: view.lines.into_iter().map(LineBody::new).collect(),
            charges: view.charges.into_iter().map(ChargeBody::new).collect(),
            total: view.total,
            country: view.country,
            shipping: view.shipping,
            quote: view.quote.map(QuoteBody::new),
            hold_until: view.hold_until,
            order: view.order_id.map(|id| OrderRef { id, number }),
            last_decline: view
                .last_decline
                .map(|decline| DeclineBody { code: decline.code, advice: decline.advice }),
            required_action: view.required_action,
            client: secret.map(ClientBody::new),
            failure: view.failure,
            version: view.version,
            position: view.position,
        }
    }
}

impl LineBody {
    fn new(line: OrderLine) -> LineBody {
        let OrderLine { line_id, product_id, variant_id, sku, title, quantity, unit_price } = line;
        LineBody { id: line_id, product_id, variant_id, sku, title, quantity, unit_price }
    }
}

impl ChargeBody {
    fn new(charge: Charge) -> ChargeBody {
        let Charge { kind, code, title, amount } = charge;
        ChargeBody { kind, code, title, amount }
    }
}
