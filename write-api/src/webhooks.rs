//! What payment providers send: checked, stored, acknowledged; nothing else happens here.

use std::time::Duration;

use api_kit::{Api, Caller, Path, Permission, Problem};
use axum::Json;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use event_schemas::ids::StoreId;
use providers::payment::stripe::{self, Account, signature, signature::SignatureError};
use sagas::inbox::{Delivery, NotStored, Refusal};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::WriteState;

/// Largest event, in bytes. Those of payments are below 20 KiB; the rest is for what merchants put
/// into metadata.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// How long a body may take to arrive: a machine sends it at once, and whoever dawdles holds a place.
const BODY_WAIT: Duration = Duration::from_secs(5);

/// What we ask of a provider that has to come again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Characters of a store's slug.
const SLUG_CHARS: std::ops::RangeInclusive<usize> = 1..=63;

const SIGNATURE: &str = "stripe-signature";

pub(crate) fn api() -> Api<WriteState> {
    let signed = "the provider has no token; it signs what it sends";
    Api::new().public(signed, routes!(receive)).route(Permission::PaymentsRead, routes!(health))
}

/// The provider need not send it again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookReceived)]
struct Received {
    /// Always true.
    #[schema(example = true)]
    received: bool,
}

/// Takes an event of Stripe.
///
/// The address belongs into the settings of the account's webhooks, with the store's slug. The body is
/// taken as it comes; `Stripe-Signature` has to fit it, one of the store's webhook secrets, and the
/// time, within 300 seconds. Answered once the event is stored; it is worked on afterwards, and once,
/// however often it is sent.
#[utoipa::path(post, path = "/api/v1/webhooks/stripe/{store}", tag = "webhooks",
    params(("store" = String, Path, description = "Slug of the store.", example = "demo"),
        ("Stripe-Signature" = String, Header, description = "Time and signatures.",
            example = "t=1773489600,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd")),
    request_body(content = serde_json::Value, description = "The event, byte for byte as Stripe made it.",
        example = json!({"id": "evt_1", "type": "payment_intent.succeeded", "created": 1_773_489_600,
            "data": {"object": {"object": "payment_intent", "id": "pi_1",
                "metadata": {"payment_id": "pay_01JD5Z7Q3N8V4K2M6P9R1S5T7W"}}}})),
    responses((status = 200, description = "It is stored, or was before.", body = Received)))]
async fn receive(
    State(state): State<WriteState>,
    Path(store): Path<String>,
    request: Request,
) -> Result<Json<Received>, Problem> {
    let inbox = &state.inbox;
    let Some(_place) = inbox.place() else {
        inbox.refuse(Refusal::Busy);
        return Err(Problem::new("overloaded").retry_after(RETRY_AFTER));
    };
    let (head, body) = request.into_parts();
    let read = timeout(BODY_WAIT, to_bytes(body, BODY_BYTES_MAX)).await;
    let Ok(Ok(body)) = read else {
        inbox.refuse(Refusal::TooLarge);
        return Err(Problem::new("body_too_large"));
    };
    let now = state.ctx.now();
    let refused = |(why, problem)| {
        inbox.refuse(why);
        problem
    };
    let store_id = signed(&state, &store, (&head.headers, &body), now).await?.map_err(refused)?;
    let event = stripe::read_event(&body);
    let delivery = event.and_then(|event| Delivery::of(store_id, event, now)).ok_or_else(|| {
        let problem = Problem::new("bad_request").detail("the body is signed, and no event");
        refused((Refusal::Malformed, problem))
    })?;
    match inbox.store(delivery).await {
        Ok(()) => Ok(Json(Received { received: true })),
        Err(NotStored::Busy) => {
            inbox.refuse(Refusal::Busy);
            Err(Problem::new("overloaded").retry_after(RETRY_AFTER))
        }
        Err(NotStored::Away) => Err(Problem::unavailable(RETRY_AFTER)),
    }
}

/// The store whose secret a body was signed with. One that does not exist, or takes no webhooks, is
/// told the same as a wrong signature: this address is open to everyone.
async fn signed(
    state: &WriteState,
    store: &str,
    (headers, body): (&HeaderMap, &Bytes),
    now: DateTime<Utc>,
) -> Result<Result<StoreId, (Refusal, Problem)>, Problem> {
    let invalid = || Ok(Err((Refusal::Signature, Problem::new("signature_invalid"))));
    let header = headers.get(SIGNATURE).and_then(|value| value.to_str().ok());
    let slug = SLUG_CHARS.contains(&store.len())
        && store.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let (Some(header), true) = (header, slug) else { return invalid() };
    let store_id = StoreId::of_slug(store);
    let account = state.vault.get_secret(store_id, stripe::SECRET_NAME).await.map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "cannot read webhook secrets");
        Problem::unavailable(RETRY_AFTER)
    })?;
    let account = account.and_then(|account| Account::read(account.expose()).ok());
    let secrets = account.map_or(vec![], |account| account.webhook_secrets);
    match signature::verify(header, body, &secrets, now) {
        Ok(_) => Ok(Ok(store_id)),
        Err(SignatureError::Malformed | SignatureError::Mismatch) => invalid(),
        Err(SignatureError::Stale) => {
            Ok(Err((Refusal::Stale, Problem::new("timestamp_outside_tolerance"))))
        }
    }
}

/// How the store's webhooks are.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookHealth)]
struct HealthBody {
    /// Events that came in the last 24 hours, each counted once however often it was sent.
    #[schema(example = 1204)]
    received: i64,
    /// Of these, those that something new was found for.
    #[schema(example = 611)]
    applied: i64,
    /// Of these, those of no consequence, by why.
    ignored: Vec<IgnoredBody>,
    /// Events that wait to be worked on, whenever they came.
    #[schema(example = 2)]
    waiting: i64,
    /// Of these, those that have failed and are tried again.
    #[schema(example = 1)]
    failed: i64,
    /// Events that have failed twelve times and are not tried any more, until somebody says so.
    #[schema(example = 0)]
    parked: i64,
    /// Seconds since the oldest that waits came; 0 if none does.
    #[schema(example = 0.21)]
    lag_seconds: f64,
    /// When the last event came, within 24 hours.
    last_received_at: Option<DateTime<Utc>>,
}

/// Events of no consequence.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhooksIgnored)]
struct IgnoredBody {
    /// Why.
    #[schema(example = "nothing is new")]
    reason: String,
    /// How many.
    #[schema(example = 593)]
    count: i64,
}

/// How the webhooks of the store are: what came, what came of it, what waits.
#[utoipa::path(get, path = "/api/v1/webhooks/health", tag = "webhooks",
    responses((status = 200, description = "Numbers of the last 24 hours.", body = HealthBody)))]
async fn health(
    State(state): State<WriteState>,
    caller: Caller,
) -> Result<Json<HealthBody>, Problem> {
    let health = state.inbox.health(caller.store_id, state.ctx.now()).await.map_err(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot look into the inbox");
        Problem::unavailable(RETRY_AFTER)
    })?;
    let ignored = health.ignored.into_iter();
    let ignored = ignored.map(|why| IgnoredBody { reason: why.reason, count: why.count }).collect();
    Ok(Json(HealthBody {
        received: health.received,
        applied: health.applied,
        ignored,
        waiting: health.waiting,
        failed: health.failed,
        parked: health.parked,
        lag_seconds: health.lag_seconds,
        last_received_at: health.last_received_at,
    }))
}
