//! The simulator on a port.
//!
//! Beside Stripe's API there are addresses of its own, which begin with `/_`.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{OriginalUri, State},
    http::{HeaderMap, Method, Response, StatusCode, header},
    response::IntoResponse as _,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{Delivery, Faults, Reply, Request, Simulator};

/// How often webhooks are sent.
const SEND_EVERY: Duration = Duration::from_millis(50);

/// How long the receiver of a webhook may take.
const WEBHOOK_DEADLINE: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct Shared(Arc<Mutex<Inside>>);

struct Inside {
    simulator: Simulator,
    /// Seconds since 1970 if time stands still unless it is told to go on; else the real time.
    still: Option<i64>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn now(&self) -> i64 {
        self.still.unwrap_or_else(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        })
    }
}

/// A simulator on a port. Ends when it is dropped.
pub struct Served {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Shared,
    tasks: JoinSet<()>,
}

impl Served {
    /// `http://127.0.0.1:PORT`, the base address for clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Looks at the simulator, or does something to it, at its present time.
    pub fn with<T>(&self, act: impl FnOnce(&mut Simulator, i64) -> T) -> T {
        let mut inside = self.shared.lock();
        let now = inside.now();
        act(&mut inside.simulator, now)
    }

    /// Makes time stand still, at that second since 1970.
    pub fn set_time(&self, now: i64) {
        let mut inside = self.shared.lock();
        inside.still = Some(now);
        inside.simulator.pass(now);
    }

    /// Waits for as long as it lives.
    pub async fn ended(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Puts a simulator on a port. `still`: its time stands still there; none is the real time.
/// Webhooks are sent by itself in real time, and by `POST /_deliver` or the test in still time.
pub async fn serve(
    address: SocketAddr,
    simulator: Simulator,
    still: Option<i64>,
) -> std::io::Result<Served> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let shared = Shared(Arc::new(Mutex::new(Inside { simulator, still })));
    let router = Router::new()
        .route("/_truth", get(truth))
        .route("/_faults", post(faults))
        .route("/_clock", post(clock))
        .route("/_authenticate", post(authenticate))
        .route("/_shopper", post(shopper))
        .route("/_deliver", post(deliver))
        .fallback(stripe)
        .with_state(shared.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        // Ends with the task; a port that breaks ends it sooner, and every client sees that.
        let _ = axum::serve(listener, router).await;
    });
    if still.is_none() {
        let shared = shared.clone();
        tasks.spawn(async move {
            loop {
                tokio::time::sleep(SEND_EVERY).await;
                send_due(&shared).await;
            }
        });
    }
    Ok(Served { address, shared, tasks })
}

async fn stripe(
    State(shared): State<Shared>,
    method: Method,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let request = Request {
        method: method.as_str(),
        path: uri.path(),
        query: uri.query().unwrap_or_default(),
        bearer: bearer.unwrap_or_default(),
        idempotency_key: text("idempotency-key"),
        body: &body,
    };
    let mut inside = shared.lock();
    let now = inside.now();
    respond(inside.simulator.handle(&request, now), now)
}

fn respond(reply: Reply, now: i64) -> Response<Body> {
    if reply.lost {
        // Whoever reads the body sees the connection break.
        let broken =
            futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("lost")) });
        return Response::new(Body::from_stream(broken));
    }
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(reply.body)).into_response();
    let headers = response.headers_mut();
    headers.insert("request-id", header::HeaderValue::from_static("req_simulated"));
    let date = chrono::DateTime::from_timestamp(now, 0).unwrap_or_default();
    let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(date) = date.parse() {
        headers.insert(header::DATE, date);
    }
    if reply.replayed {
        headers.insert("idempotent-replayed", header::HeaderValue::from_static("true"));
    }
    if let Some(seconds) = reply.retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

async fn truth(State(shared): State<Shared>) -> Json<Value> {
    let mut inside = shared.lock();
    let now = inside.now();
    inside.simulator.pass(now);
    Json(inside.simulator.truths())
}

async fn faults(State(shared): State<Shared>, Json(faults): Json<Faults>) -> Json<Value> {
    shared.lock().simulator.set_faults(&faults);
    Json(json!(faults))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Clock {
    /// Seconds that pass.
    #[serde(default)]
    advance: i64,
    /// Or the second since 1970 that it becomes.
    now: Option<i64>,
}

/// Time stands still from now on, and goes on as it is told.
async fn clock(State(shared): State<Shared>, Json(clock): Json<Clock>) -> Json<Value> {
    let mut inside = shared.lock();
    let before = inside.now();
    let now = clock.now.unwrap_or(before + clock.advance).max(before);
    inside.still = Some(now);
    inside.simulator.pass(now);
    Json(json!({ "now": now }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Authenticate {
    payment_intent: String,
    passes: bool,
}

async fn authenticate(State(shared): State<Shared>, Json(body): Json<Authenticate>) -> Json<Value> {
    let mut inside = shared.lock();
    let now = inside.now();
    let done = inside.simulator.authenticate(&body.payment_intent, body.passes, now);
    Json(json!({ "done": done }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shopper {
    payment_intent: String,
    payment_method: String,
}

async fn shopper(State(shared): State<Shared>, Json(body): Json<Shopper>) -> Json<Value> {
    let mut inside = shared.lock();
    let now = inside.now();
    let (intent, method) = (&body.payment_intent, &body.payment_method);
    let done = inside.simulator.shopper_confirms(intent, method, now);
    Json(json!({ "done": done }))
}

async fn deliver(State(shared): State<Shared>) -> Json<Value> {
    Json(json!({ "sent": send_due(&shared).await }))
}

/// Sends what is due. Returns how many.
async fn send_due(shared: &Shared) -> usize {
    let due = {
        let mut inside = shared.lock();
        let now = inside.now();
        inside.simulator.due(now)
    };
    for delivery in &due {
        let taken = send(delivery).await;
        let mut inside = shared.lock();
        let now = inside.now();
        inside.simulator.answered(delivery, taken, now);
    }
    due.len()
}

async fn send(delivery: &Delivery) -> bool {
    let client = reqwest::Client::new();
    let request = client
        .post(&delivery.url)
        .header("content-type", "application/json; charset=utf-8")
        .header("stripe-signature", &delivery.signature)
        .timeout(WEBHOOK_DEADLINE)
        .body(delivery.body.clone());
    request.send().await.is_ok_and(|response| response.status().is_success())
}
