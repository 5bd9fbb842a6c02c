//! Is it alive, is it ready, how is it: for whoever restarts, balances the load, and raises alarms.

use api_kit::Api;
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use projections::{Lag, parked::Counts};
use read_api::{CacheCounts, Reads};
use sagas::{Backlog, inbox::Inbox};
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

/// What the probes look at.
#[derive(Clone, Debug)]
pub struct Probed {
    /// Sees how old the events are that nobody has applied yet.
    pub pool: PgPool,
    /// Where the process answers queries.
    pub reads: Option<Reads>,
    /// Where it takes what payment providers send.
    pub inbox: Option<Inbox>,
}

/// Routes of the probes; open to everyone who can reach the address.
pub fn api() -> Api<Probed> {
    let why = "probes of load balancers carry no token";
    let scrapers = "they carry no token, and it tells no more than the probes";
    let probes = Api::new().public(why, routes!(live)).public(why, routes!(ready));
    probes.public(scrapers, routes!(metrics))
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
async fn ready(State(Probed { pool, .. }): State<Probed>) -> (StatusCode, Json<Readiness>) {
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

/// How far the read models are, whether processes are stuck, and how many answers were kept, in the
/// text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, body = String, content_type = TEXT_FORMAT),
    (status = 503, description = "the database does not answer")))]
async fn metrics(State(Probed { pool, reads, inbox }): State<Probed>) -> Response {
    let found = tokio::try_join!(projections::lag(&pool), sagas::backlog(&pool));
    match (found, webhooks(inbox.as_ref()).await) {
        (Ok((lags, backlog)), Ok(webhooks)) => {
            let text = gauges(&lags) + &processes(backlog) + &counters(reads.as_ref()) + &webhooks;
            ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response()
        }
        _ => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

fn processes(Backlog { stuck, overdue_seconds }: Backlog) -> String {
    format!(
        "# HELP conche_processes_stuck Checkouts, refunds and cancellations that fail again and \
         again. Above 0, somebody has to look: `conche sagas stuck`.\n\
         # TYPE conche_processes_stuck gauge\n\
         conche_processes_stuck {stuck}\n\
         # HELP conche_processes_overdue_seconds How late the process manager is.\n\
         # TYPE conche_processes_overdue_seconds gauge\n\
         conche_processes_overdue_seconds {overdue_seconds}\n"
    )
}

/// What it is called there.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4";

/// A gauge of each read model: its name, what it says, and where it comes from.
type Gauge = (&'static str, &'static str, fn(&Lag) -> f64);

#[expect(clippy::cast_precision_loss, reason = "numbers of the text format are floats")]
const GAUGES: [Gauge; 4] = [
    ("conche_projection_lag_events", "Events that a read model has not passed yet.", |lag| {
        lag.events as f64
    }),
    ("conche_projection_lag_seconds", "Age of the oldest of them.", |lag| lag.seconds),
    (
        "conche_projection_parked_streams",
        "Streams it cannot go on with. Above 0, somebody has to look.",
        |lag| lag.parked.streams as f64,
    ),
    ("conche_projection_parked_events", "Events that wait in them.", |lag| {
        lag.parked.events as f64
    }),
];

/// Of the cache of the process, if it keeps answers.
fn counters(reads: Option<&Reads>) -> String {
    let Some(CacheCounts { hits, misses }) = reads.and_then(Reads::cache_counts) else {
        return String::new();
    };
    let name = "conche_read_cache_requests_total";
    format!(
        "# HELP {name} Queries of the catalogue: answered from memory (hit) or not.\n\
         # TYPE {name} counter\n\
         {name}{{outcome=\"hit\"}} {hits}\n\
         {name}{{outcome=\"miss\"}} {misses}\n"
    )
}

/// Of the inbox of payment providers, if the process takes what they send.
async fn webhooks(inbox: Option<&Inbox>) -> Result<String, sqlx::Error> {
    let Some(inbox) = inbox else { return Ok(String::new()) };
    let totals = inbox.totals().await?;
    #[expect(clippy::cast_precision_loss, reason = "numbers of the text format are floats")]
    let gauges = [
        (
            "waiting",
            "Events of payment providers that wait to be worked on.",
            totals.waiting as f64,
        ),
        ("failed", "Of these, those that have failed before.", totals.failed as f64),
        (
            "parked",
            "Events that have failed twelve times. Above 0, somebody has to look.",
            totals.parked as f64,
        ),
        ("lag_seconds", "Age of the oldest event that waits.", totals.lag_seconds),
    ];
    let gauges = gauges.map(|(name, help, value)| {
        let name = format!("conche_webhooks_{name}");
        format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n")
    });
    let name = "conche_webhooks_refused_total";
    let help = "Requests that were not taken for a provider's, by this process.";
    let refused = inbox
        .refused()
        .map(|(why, count)| format!("{name}{{reason=\"{}\"}} {count}\n", why.name()));
    let head = format!("# HELP {name} {help}\n# TYPE {name} counter\n");
    Ok(gauges.concat() + &head + &refused.concat())
}

fn gauges(lags: &[Lag]) -> String {
    let gauges = GAUGES.iter().flat_map(|(name, help, value)| {
        let head = format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
        let rows = lags
            .iter()
            .map(move |lag| format!("{name}{{projection=\"{}\"}} {}\n", lag.name, value(lag)));
        std::iter::once(head).chain(rows)
    });
    gauges.collect()
}
