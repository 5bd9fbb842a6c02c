//! The program in memory: both APIs, the process manager and the projectors, a still clock.

use std::{
    future::{Future, IntoFuture as _},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use api_kit::{Limits, Permission, TokenKeys, TokenRequest};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use chrono::{DateTime, TimeDelta, Utc};
use commands::Ctx;
use conche::http::Door;
use event_schemas::ids::{ActorId, StoreId};
use event_store::{Engine, pool, refusals};
use providers::Providers;
use read_api::{Reads, Sources};
use sagas::{GRACE, SagaCtx, inbox::Ingest};
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::{sync::watch, task::JoinHandle};
use tower::ServiceExt as _;
use uuid::Uuid;
use vault::{MasterKeys, Vault};
use write_api::WriteState;

use test_database::Database;

/// The store most stories play in.
pub(crate) const STORE: &str = "demo";
/// Noon of a day in the middle of a month.
pub(crate) const NOON: &str = "2026-03-14T12:00:00Z";
/// The same in every process of a story, as in an installation.
const MASTER_KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
/// Connections of each pool of one test; a run has several tests at once.
const POOL_MAX: u32 = 6;

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self, pointer: &str) -> String {
        let value = self.body.pointer(pointer);
        let text = value.and_then(Value::as_str);
        text.unwrap_or_else(|| panic!("no text at {pointer} in {:#}", self.body)).to_owned()
    }
}

/// How a process answers queries.
#[derive(Clone, Default)]
pub(crate) struct Reading {
    /// Off by default: most stories ask for what they have just changed.
    pub(crate) cached: bool,
    /// Another server that answers them.
    pub(crate) replica: Option<PgConnectOptions>,
}

#[derive(Clone)]
pub(crate) struct App {
    pub(crate) ctx: Ctx,
    pub(crate) vault: Vault,
    pub(crate) saga: SagaCtx,
    pub(crate) owner: PgPool,
    pub(crate) projector: PgPool,
    pub(crate) reader: PgPool,
    pub(crate) reads: Reads,
    /// Ends what follows the read models, with the last clone.
    pub(crate) stop: Arc<watch::Sender<bool>>,
    options: PgConnectOptions,
    clock: Arc<AtomicI64>,
    keys: TokenKeys,
    router: Router,
}

/// Runs one story on a fresh program, and fails with it.
pub(crate) fn story<F: Future<Output = ()> + Send + 'static>(
    act: impl FnOnce(App) -> F + Send + 'static,
) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let database = Database::new().await;
        let app = App::new(&database).await;
        let (stop, stopped) = watch::channel(false);
        let runner = run_sagas(app.saga.clone(), stopped);
        let result = run_story(act(app)).await;
        stop.send_replace(true);
        runner.await.unwrap();
        drop(database);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic.into_panic());
        }
    });
}

#[expect(clippy::disallowed_methods, reason = "the story owns it and waits for it")]
fn run_sagas(saga: SagaCtx, stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move { sagas::run(saga, stopped).await })
}

#[expect(clippy::disallowed_methods, reason = "a panic of the story must not skip the clean-up")]
fn run_story(story: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(story)
}

#[expect(clippy::disallowed_methods, reason = "ends with the last clone of the app")]
fn keep_journal(journal: refusals::Journal, pool: PgPool) {
    tokio::spawn(journal.run(pool));
}

#[expect(clippy::disallowed_methods, reason = "ends with the last clone of the app")]
fn keep_inbox(ingest: Ingest, pool: PgPool) {
    tokio::spawn(ingest.run(pool));
}

#[expect(clippy::disallowed_methods, reason = "ends with the last clone of the app")]
fn follow(reads: Reads, wakeups: watch::Receiver<i64>, stop: watch::Receiver<bool>) {
    tokio::spawn(reads.follow(wakeups, stop));
}

impl App {
    async fn new(database: &Database) -> App {
        let noon: DateTime<Utc> = NOON.parse().unwrap();
        let clock = Arc::new(AtomicI64::new(noon.timestamp_micros()));
        let (keys, _) = TokenKeys::generate().unwrap();
        App::start(database.options(), clock, keys, Limits::default(), Reading::default()).await
    }

    /// Another process on the same database, with bounds of its own. The processes of checkouts run
    /// in the first one only.
    pub(crate) async fn another(&self, limits: Limits) -> App {
        let (clock, keys) = (Arc::clone(&self.clock), self.keys.clone());
        App::start(self.options.clone(), clock, keys, limits, Reading::default()).await
    }

    /// Another process on the same database, which answers queries in a way of its own.
    pub(crate) async fn reading(&self, reading: Reading) -> App {
        let (clock, keys) = (Arc::clone(&self.clock), self.keys.clone());
        App::start(self.options.clone(), clock, keys, Limits::default(), reading).await
    }

    async fn start(
        options: PgConnectOptions,
        clock: Arc<AtomicI64>,
        keys: TokenKeys,
        limits: Limits,
        reading: Reading,
    ) -> App {
        let pool = |role| pool::connect(options.clone(), role, POOL_MAX);
        let writer = pool(pool::Role::Writer).await.unwrap();
        let reader = pool(pool::Role::Reader).await.unwrap();
        let still = Arc::clone(&clock);
        let now = move || DateTime::from_timestamp_micros(still.load(Ordering::SeqCst)).unwrap();
        #[expect(clippy::disallowed_methods, reason = "ids need to differ, not to be known")]
        let new_id: fn() -> Uuid = || Uuid::now_v7();
        let engine = Engine::new(writer, new_id);
        let ctx = Ctx { engine, now: Arc::new(now), new_id };
        let projector = pool(pool::Role::Projector).await.unwrap();
        let replica = |role| {
            let options = reading.replica.clone();
            options.map(|options| pool::connect_lazy(options, role, POOL_MAX))
        };
        let reads = Reads::new(Sources {
            reader: replica(pool::Role::Reader).unwrap_or_else(|| reader.clone()),
            follower: replica(pool::Role::Projector).unwrap_or_else(|| projector.clone()),
            primary: reading.replica.as_ref().map(|_| reader.clone()),
            cached: reading.cached,
        });
        let probe = projector.clone();
        let stop = Arc::new(watch::Sender::new(false));
        follow(reads.clone(), ctx.engine.appended(), stop.subscribe());
        let (refusals, journal) = refusals::journal();
        keep_journal(journal, pool::connect_lazy(options.clone(), pool::Role::Writer, 1));
        let door = Door { keys: keys.clone(), limits, refusals };
        let engine = ctx.engine.beside(pool(pool::Role::Writer).await.unwrap());
        let vault = Vault::new(
            pool(pool::Role::Vault).await.unwrap(),
            MasterKeys::parse(MASTER_KEY).unwrap(),
        );
        let saga = SagaCtx::new(
            Ctx { engine, ..ctx.clone() },
            pool(pool::Role::Process).await.unwrap(),
            Providers::of_accounts(vault.clone()),
        );
        let saga = SagaCtx { grace: GRACE, ..saga };
        let (inbox, ingest) = sagas::inbox::inbox(saga.pool.clone());
        keep_inbox(ingest, pool::connect_lazy(options.clone(), pool::Role::Writer, 1));
        let write = WriteState::new(ctx.clone(), saga.clone(), vault.clone(), inbox);
        App {
            router: conche::http::both(door, write, reads.clone(), probe).unwrap(),
            saga,
            vault,
            owner: pool(pool::Role::Owner).await.unwrap(),
            projector,
            reads,
            stop,
            reader,
            ctx,
            options,
            clock,
            keys,
        }
    }

    /// Serves it on an address of its own, until the story ends.
    #[expect(clippy::disallowed_methods, reason = "ends with the runtime of the story")]
    pub(crate) async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, self.router.clone()).into_future());
        format!("http://{address}")
    }

    /// Moves the clock.
    pub(crate) fn wait(&self, by: TimeDelta) {
        self.clock.fetch_add(by.num_microseconds().unwrap(), Ordering::SeqCst);
    }

    /// Does all that is to be done by now, and waits for what the story's own runner is at.
    pub(crate) async fn rest(&self) {
        sagas::drain(&self.saga).await.unwrap();
        for _ in 0..500 {
            let open = "SELECT count(*) FROM process.work WHERE due_at <= $1";
            let open = sqlx::query_scalar::<_, i64>(open).bind(self.ctx.now());
            if open.fetch_one(&self.owner).await.unwrap() == 0 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the processes do not come to rest");
    }

    /// A token for a store with the given permissions.
    pub(crate) fn token(&self, store: &str, permissions: &[Permission]) -> String {
        let request = TokenRequest {
            actor_id: ActorId::derive(&[b"tester", store.as_bytes()]),
            store_id: StoreId::of_slug(store),
            store_slug: store.to_owned(),
            permissions: permissions.to_vec(),
            lifetime: TimeDelta::days(30),
        };
        self.keys.issue(&request, self.ctx.now())
    }

    /// Sends one request as it is.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// Gets a path with every permission in a store; the body is still to be read.
    pub(crate) async fn open(&self, store: &str, path: &str) -> axum::response::Response {
        let token = self.token(store, Permission::ALL);
        let request = Request::get(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    /// Sends one request whose answer goes on.
    pub(crate) async fn begin_answer(&self, request: Request<Body>) -> axum::response::Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// A request of the store `demo` with every permission.
    pub(crate) fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        let token = self.token(STORE, Permission::ALL);
        let request = Request::builder().method(method).uri(path);
        request.header(header::AUTHORIZATION, format!("Bearer {token}"))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).body(Body::empty()).unwrap()).await
    }

    /// A command with a key of its own.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_keyed(path, &(self.ctx.new_id)().to_string(), body).await
    }

    pub(crate) async fn post_keyed(&self, path: &str, key: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path).header("idempotency-key", key);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// Runs every projector until it has applied every event.
    pub(crate) async fn project(&self) {
        for projection in projections::ALL {
            while projections::catch_up(&self.projector, projection).await.unwrap() > 0 {}
        }
    }

    /// A published product with one variant at a price in pence and so many units in stock.
    pub(crate) async fn product(&self, title: &str, pence: i64, units: u32) -> Product {
        let body = json!({
            "title": title,
            "variants": [{
                "sku": title.to_uppercase().replace(' ', "-"),

                "price": { "amount_minor": pence, "currency": "GBP" },
            }],
        });
        let created = self.post("/api/v1/products", &body).await;
        assert_eq!(created.status, StatusCode::CREATED, "{:#}", created.body);
        let id = created.text("/id");
        let variant_id = created.text("/variant_ids/0");
        let published = self.post(&format!("/api/v1/products/{id}/publish"), &json!({})).await;
        assert_eq!(published.status, StatusCode::OK, "{:#}", published.body);
        if units > 0 {
            let path = format!("/api/v1/stock/{variant_id}/receive");
            let stock = json!({ "location": "main", "quantity": units });
            let received = self.post(&path, &stock).await;
            assert_eq!(received.status, StatusCode::OK, "{:#}", received.body);
        }
        Product { id, variant_id }
    }

    /// Begins a checkout of so many units of one variant.
    pub(crate) async fn begin(&self, variant_id: &str, quantity: u32) -> Answer {
        let body = json!({ "lines": [{ "variant_id": variant_id, "quantity": quantity }] });
        self.post("/api/v1/checkouts", &body).await
    }

    /// Pays a checkout with a test card.
    pub(crate) async fn pay(&self, checkout: &str, card: &str) -> Answer {
        let path = format!("/api/v1/checkouts/{checkout}/complete");
        self.post(&path, &json!({ "payment": { "card_number": card } })).await
    }
}

/// A product made for a story.
pub(crate) struct Product {
    pub(crate) id: String,
    pub(crate) variant_id: String,
}
