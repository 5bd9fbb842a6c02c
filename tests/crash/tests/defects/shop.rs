//! A shop that works: its program in memory, its clients with their journal.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use api_kit::{Limits, Permission, TokenKeys, TokenRequest};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, header},
};
use chrono::{DateTime, TimeDelta, Utc};
use commands::{Ctx, inventory::STOCK_ITEM};
use conche::http::Door;
use crash::{Answer, Attempt, Entry, History, Outcome};
use event_schemas::ids::{ActorId, CheckoutId, OrderId, StoreId, VariantId};
use event_store::{
    Engine,
    pool::{self, Role},
    refusals,
};
use providers::payment::{PaymentProvider, Sandbox};
use read_api::{Reads, Sources};
use sagas::SagaCtx;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::{PgPool, postgres::PgConnectOptions};
use test_database::Database;
use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tower::ServiceExt as _;
use uuid::Uuid;
use vault::{MasterKeys, Vault};
use write_api::WriteState;

/// The store of every story.
pub(crate) const STORE: &str = "demo";
/// How long ago the story begins: checkers go by the real time, and some holds are to be over.
const BEGAN: TimeDelta = TimeDelta::hours(2);
/// Connections of each pool.
const POOL_MAX: u32 = 4;
/// Time between two looks whether the processes have come to rest.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(10);
/// Cards of the sandbox.
const GOOD: &str = "4242 4242 4242 4242";
const DECLINED: &str = "4000 0000 0000 0002";
const CAPTURE_FAILS: &str = "4000 0000 0000 0341";

/// What happened in a shop without any fault, and nobody is connected to it any more.
pub(crate) struct Healthy {
    pub(crate) database: Database,
    pub(crate) history: History,
    pub(crate) ids: Ids,
}

/// Names of what the story leaves behind.
#[derive(Clone, Copy)]
pub(crate) struct Ids {
    /// Has stock, and was bought.
    pub(crate) bar: VariantId,
    /// Has ten units, none of which was ever asked for.
    pub(crate) nib: VariantId,
    /// A checkout that waits for its shopper; holds one bar.
    pub(crate) open: CheckoutId,
    /// A completed one, a third of which was refunded.
    pub(crate) completed: CheckoutId,
    /// A completed one whose order was cancelled.
    pub(crate) cancelled: CheckoutId,
    /// One that was given up.
    pub(crate) failed: CheckoutId,
}

pub(crate) fn order_of(checkout: CheckoutId) -> OrderId {
    commands::checkout::order_id(checkout)
}

#[expect(clippy::disallowed_methods, reason = "the journal is by the real time")]
fn real_time() -> DateTime<Utc> {
    Utc::now()
}

#[expect(clippy::disallowed_methods, reason = "ids need to differ, not to be known")]
pub(crate) fn new_id() -> Uuid {
    Uuid::now_v7()
}

#[expect(clippy::disallowed_methods, reason = "the shop waits for it when it closes")]
fn keep_journal(journal: refusals::Journal, pool: PgPool) -> JoinHandle<()> {
    tokio::spawn(journal.run(pool))
}

/// How to connect, as superuser. Nothing here has to outlive the server: no commit waits for a
/// disk, of which replays into new tables have many.
pub(crate) fn options(database: &Database) -> PgConnectOptions {
    database.options().options([("synchronous_commit", "off"), ("jit", "off")])
}

/// Brings every read model up to date.
pub(crate) async fn project(database: &Database) {
    let pool = pool::connect_lazy(options(database), pool::Role::Projector, 1);
    for projection in projections::ALL {
        while projections::catch_up(&pool, projection).await.unwrap() > 0 {}
    }
    pool.close().await;
}

impl Healthy {
    pub(crate) async fn new() -> Healthy {
        let database = Database::new().await;
        let (end, ended) = watch::channel(false);
        let mut shop = Shop::new(options(&database), "story");
        let runner = sagas::run(shop.saga.clone(), ended);
        let story = async {
            let ids = shop.story().await;
            end.send_replace(true);
            ids
        };
        let ((), ids) = tokio::join!(runner, story);
        shop.keep_snapshot(ids.nib).await;
        let history = shop.close().await;
        project(&database).await;
        Healthy { database, history, ids }
    }
}

pub(crate) struct Shop {
    name: String,
    router: Router,
    token: String,
    ctx: Ctx,
    saga: SagaCtx,
    pools: Vec<PgPool>,
    /// Ends with the router.
    journal: JoinHandle<()>,
    clock: Arc<AtomicI64>,
    history: History,
    /// What was sent with each entry.
    bodies: Vec<Value>,
}

/// An answer and the entry it belongs to.
struct Sent {
    entry: usize,
    answer: Answer,
    body: Value,
}

impl Sent {
    fn id<T: std::str::FromStr>(&self, pointer: &str) -> T {
        let text = self.body.pointer(pointer).and_then(Value::as_str);
        let id = text.and_then(|text| text.parse().ok());
        id.unwrap_or_else(|| panic!("no id at {pointer} in {:#}", self.body))
    }
}

impl Shop {
    /// On the database of `options`. Keys begin with `name`, which must differ there.
    pub(crate) fn new(options: PgConnectOptions, name: &str) -> Shop {
        let clock = Arc::new(AtomicI64::new((real_time() - BEGAN).timestamp_micros()));
        let still = Arc::clone(&clock);
        let now = move || DateTime::from_timestamp_micros(still.load(Ordering::SeqCst)).unwrap();
        let mut pools = vec![];
        for role in [Role::Writer, Role::Writer, Role::Process, Role::Reader, Role::Vault] {
            pools.push(pool::connect_lazy(options.clone(), role, POOL_MAX));
        }
        let [writer, of_saga, process, reader, keeper] = &pools[..] else {
            unreachable!("five were made")
        };
        let ctx = Ctx { engine: Engine::new(writer.clone(), new_id), now: Arc::new(now), new_id };
        let (keys, _) = TokenKeys::generate().unwrap();
        let request = TokenRequest {
            actor_id: ActorId::derive(&[b"developer", STORE.as_bytes()]),
            store_id: StoreId::of_slug(STORE),
            store_slug: STORE.to_owned(),
            permissions: Permission::ALL.to_vec(),
            lifetime: TimeDelta::days(30),
        };
        let engine = ctx.engine.beside(of_saga.clone());
        // Nobody asks it anything.
        let reads = Reads::new(Sources {
            reader: reader.clone(),
            follower: reader.clone(),
            primary: None,
            cached: false,
        });
        let token = keys.issue(&request, ctx.now());
        let (refusals, journal) = refusals::journal();
        let door = Door { keys, limits: Limits::default(), refusals };
        let saga = SagaCtx::new(
            Ctx { engine, ..ctx.clone() },
            process.clone(),
            PaymentProvider::Sandbox(Sandbox::default()),
        );
        // Nobody sends anything.
        let (inbox, _) = sagas::inbox::inbox(process.clone());
        let vault = Vault::new(keeper.clone(), MasterKeys::generate().0);
        let write = WriteState::new(ctx.clone(), saga.clone(), vault, inbox);
        Shop {
            token,
            journal: keep_journal(journal, pools[0].clone()),
            router: conche::http::both(door, write, reads, reader.clone()).unwrap(),
            saga,
            ctx,
            pools,
            clock,
            name: name.to_owned(),
            history: History::default(),
            bodies: vec![],
        }
    }

    pub(crate) async fn close(self) -> History {
        drop((self.router, self.ctx, self.saga));
        self.journal.await.unwrap();
        for pool in self.pools {
            pool.close().await;
        }
        self.history
    }

    /// A little of everything, all of it ended but one checkout that is open by right.
    async fn story(&mut self) -> Ids {
        let bar = self.product("Bar", 60).await;
        let nib = self.product("Nib", 10).await;
        let completed = self.buy(bar, 3, GOOD).await;
        let refund = json!({ "amount": { "amount_minor": 450, "currency": "GBP" },
                             "reason": "broken" });
        let order = order_of(completed);
        self.post(&format!("/api/v1/orders/{order}/refunds"), &refund, 202).await;
        let cancelled = self.buy(bar, 2, GOOD).await;
        let (order, why) = (order_of(cancelled), json!({ "reason": "why not" }));
        self.post(&format!("/api/v1/orders/{order}/cancel"), &why, 202).await;

        let failed = self.begin(bar, 1).await;
        self.post(&format!("/api/v1/checkouts/{failed}/abandon"), &json!({}), 200).await;
        let too_many = json!({ "lines": [{ "variant_id": bar, "quantity": 900 }] });
        self.post("/api/v1/checkouts", &too_many, 409).await;
        let broke = self.begin(bar, 1).await;
        self.pay(broke, CAPTURE_FAILS, 402).await;
        let declined = self.begin(bar, 1).await;
        self.pay(declined, DECLINED, 402).await;
        self.rest().await;
        self.clock.fetch_add(TimeDelta::minutes(16).num_microseconds().unwrap(), Ordering::SeqCst);
        self.rest().await;
        self.of_the_wire(bar).await;

        self.clock.store(real_time().timestamp_micros(), Ordering::SeqCst);
        let open = self.begin(bar, 1).await;
        self.rest().await;
        // Last, because a cut tail takes it away and nothing else.
        self.product("Truffle", 0).await;
        self.repeat_everything().await;
        Ids { bar, nib, open, completed, cancelled, failed }
    }

    /// A lost answer, a request that never arrived, a refusal, and a payment that was done already.
    async fn of_the_wire(&mut self, bar: VariantId) {
        let path = format!("/api/v1/stock/{bar}/receive");
        let lost = self.post(&path, &json!({ "quantity": 5 }), 200).await.entry;
        self.history.entries[lost].attempts[0].outcome = Outcome::Unknown;
        self.send(lost, None).await;
        let never = self.entry("POST", &path, &json!({ "quantity": 7 }));
        let never = &mut self.history.entries[never];
        never.attempts.push(Attempt {
            process: 0,
            body_sha256: never.body_sha256.clone(),
            sent_at: real_time(),
            ended_at: None,
            outcome: Outcome::Unknown,
        });
        let nobodys = VariantId(Uuid::from_u128(1));
        let path = format!("/api/v1/stock/{nobodys}/receive");
        self.post(&path, &json!({ "quantity": 5 }), 404).await;
        let paid = self.buy(bar, 1, GOOD).await;
        self.pay(paid, GOOD, 200).await;
    }

    /// Sends every key again, and those that took effect with another body too.
    async fn repeat_everything(&mut self) {
        for entry in 0..self.history.entries.len() {
            if self.history.entries[entry].attempts.iter().any(|it| it.answer().is_none()) {
                continue;
            }
            let first = self.send(entry, None).await.answer;
            let path = &self.history.entries[entry].path;
            if first.replayed && path.ends_with("/receive") {
                let other = self.send(entry, Some(json!({ "quantity": 999 }))).await.answer;
                assert_eq!(other.status, 422, "{other:?}");
            }
        }
        self.rest().await;
    }

    /// A product of one variant, for sale if there is any of it.
    pub(crate) async fn product(&mut self, title: &str, units: u32) -> VariantId {
        let price = json!({ "amount_minor": 450, "currency": "GBP" });
        let new = json!({ "title": title, "variants": [{ "sku": title, "price": price }] });
        let created = self.post("/api/v1/products", &new, 201).await;
        let (id, variant): (String, VariantId) = (created.id("/id"), created.id("/variant_ids/0"));
        if units > 0 {
            self.post(&format!("/api/v1/products/{id}/publish"), &json!({}), 200).await;
            self.receive(variant, units).await;
        }
        variant
    }

    /// Units that arrive.
    pub(crate) async fn receive(&mut self, variant: VariantId, units: u32) {
        let path = format!("/api/v1/stock/{variant}/receive");
        self.post(&path, &json!({ "quantity": units }), 200).await;
    }

    async fn begin(&mut self, variant: VariantId, quantity: u32) -> CheckoutId {
        let basket = json!({ "lines": [{ "variant_id": variant, "quantity": quantity }] });
        self.post("/api/v1/checkouts", &basket, 201).await.id("/id")
    }

    async fn pay(&mut self, checkout: CheckoutId, card: &str, status: u16) {
        let path = format!("/api/v1/checkouts/{checkout}/complete");
        self.post(&path, &json!({ "payment": { "card_number": card } }), status).await;
    }

    async fn buy(&mut self, variant: VariantId, quantity: u32, card: &str) -> CheckoutId {
        let checkout = self.begin(variant, quantity).await;
        self.pay(checkout, card, 200).await;
        checkout
    }

    /// A snapshot, such as the engine keeps of streams that are longer than any here.
    async fn keep_snapshot(&self, variant: VariantId) {
        let store = StoreId::of_slug(STORE).0;
        let kept = self.ctx.engine.load(&STOCK_ITEM, store, variant.0).await.unwrap();
        sqlx::query("SELECT log.save_snapshot($1, 'stock_item', $2, $3, $4, '', $5)")
            .bind(store)
            .bind(variant.0)
            .bind(kept.version)
            .bind(kept.position)
            .bind(serde_json::to_vec(&kept.state).unwrap())
            .execute(&self.pools[0])
            .await
            .unwrap();
    }

    /// Waits until no process has anything to do at the time it is.
    async fn rest(&self) {
        // The checkpoint is written when something has woken a process.
        let busy = "SELECT EXISTS (SELECT FROM process.work WHERE due_at <= $1)
                        OR (SELECT max(position) FROM log.events
                             WHERE event_type IN ('CheckoutStarted', 'PaymentStarted',
                                       'OrderCancellationRequested', 'OrderRefundRequested'))
                           > (SELECT position FROM log.checkpoints WHERE name = 'saga')";
        loop {
            let busy = sqlx::query_scalar::<_, bool>(busy).bind(self.ctx.now());
            if !busy.fetch_one(&self.pools[0]).await.unwrap() {
                return;
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// A command under a key of its own.
    async fn post(&mut self, path: &str, body: &Value, status: u16) -> Sent {
        let entry = self.entry("POST", path, body);
        let sent = self.send(entry, None).await;
        assert_eq!(sent.answer.status, status, "{path}: {:#}", sent.body);
        sent
    }

    fn entry(&mut self, method: &str, path: &str, body: &Value) -> usize {
        let entry = self.history.entries.len();
        self.bodies.push(body.clone());
        self.history.entries.push(Entry {
            client: 1,
            store: STORE.to_owned(),
            key: format!("{}-{entry}", self.name),
            method: method.to_owned(),
            path: path.to_owned(),
            body_sha256: sha256(body.to_string().as_bytes()),
            attempts: vec![],
        });
        entry
    }

    /// Sends what belongs to an entry, or another body, and writes down what comes back.
    async fn send(&mut self, entry: usize, other: Option<Value>) -> Sent {
        let body = other.unwrap_or_else(|| self.bodies[entry].clone()).to_string();
        let body_sha256 = sha256(body.as_bytes());
        let Entry { key, method, path, .. } = &self.history.entries[entry];
        let request = Request::builder().method(method.as_str()).uri(path);
        let request = request
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key)
            .body(Body::from(body))
            .unwrap();
        let sent_at = real_time();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let header = |name| parts.headers.get(name).map(|value| value.to_str().unwrap());
        let text = |field: &str| body[field].as_str().map(str::to_owned);
        let answer = Answer {
            status: parts.status.as_u16(),
            body_sha256: sha256(&bytes),
            position: header("x-position").map(|position| position.parse().unwrap()),
            replayed: header("idempotent-replayed") == Some("true"),
            id: text("id"),
            state: text("status"),
            code: text("code"),
        };
        let (ended_at, outcome) = (Some(real_time()), Outcome::Answered(answer.clone()));
        let attempt = Attempt { process: 0, body_sha256, sent_at, ended_at, outcome };
        self.history.entries[entry].attempts.push(attempt);
        Sent { entry, answer, body }
    }
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
