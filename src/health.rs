//! Is it alive, is it ready: for whoever restarts and whoever balances the load.

use api_kit::Api;
use axum::{Json, extract::State, http::StatusCode};
use projections::parked::Counts;
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;
use utoipa_axum::routes;

/// Seconds a read model may be behind before the program calls itself not ready.
const LAG_SECONDS_MAX: f64 = 30.0;

/// State of one thing the program depends on.
#[derive(Debug, Serialize, ToSchema)]
struct Dependency {
    /// Which thing: `postgresql`, or the name of a read model.
    name: String,
    /// Whether it does its work.
    ready: bool,
    /// What there is to say about it.
    detail: String,
}

/// State of the whole.
#[derive(Debug, Serialize, ToSchema)]
struct Readiness {
    /// Whether requests should be sent here.
    ready: bool,
    /// Each thing it depends on.
    dependencies: Vec<Dependency>,
}

/// Routes of the probes; open to everyone who can reach the address.
pub fn api() -> Api<PgPool> {
    let why = "probes of load balancers carry no token";
    Api::new().public(why, routes!(live)).public(why, routes!(ready))
}

/// The process runs and answers.
#[utoipa::path(get, path = "/health/live", tag = "health",
    responses((status = 200, description = "alive")))]
async fn live() -> StatusCode {
    StatusCode::OK
}

/// The database answers and no read model is far behind.
#[utoipa::path(get, path = "/health/ready", tag = "health", responses(
    (status = 200, body = Readiness), (status = 503, body = Readiness)))]
async fn ready(State(pool): State<PgPool>) -> (StatusCode, Json<Readiness>) {
    let dependencies = match projections::lag(&pool).await {
        Ok(lags) => lags.into_iter().map(read_model).collect(),
        Err(_) => Vec::new(),
    };
    let postgresql = Dependency {
        name: "postgresql".to_owned(),
        ready: !dependencies.is_empty(),
        detail: if dependencies.is_empty() { "does not answer" } else { "answers" }.to_owned(),
    };
    let dependencies: Vec<_> = std::iter::once(postgresql).chain(dependencies).collect();
    let ready = dependencies.iter().all(|dependency| dependency.ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, dependencies }))
}

fn read_model(lag: projections::Lag) -> Dependency {
    let ready = lag.seconds <= LAG_SECONDS_MAX;
    let mut detail = format!(
        "at position {}, behind by {} events and {:.1} s",
        lag.position, lag.events, lag.seconds
    );
    // No reason to send requests elsewhere: the rest is current, here as anywhere.
    let Counts { streams, events } = lag.parked;
    if streams > 0 {
        detail = format!("{detail}; parked: {events} events of {streams} streams");
    }
    Dependency { name: lag.name.to_owned(), ready, detail }
}
