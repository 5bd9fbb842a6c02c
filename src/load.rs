//! Fills an empty store with the history of a shop: products, stock and orders, as many as asked
//! for, with the events that commands and processes would have made of them, in their order.
//!
//! Everything follows from the store, the sizes and the seed, ids included. A load that was cut
//! short goes on where it stopped; one that is complete changes nothing; a store with anything
//! else in it is refused. Memory depends on the number of products, not of orders.

use std::{
    cell::Cell,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use event_schemas::ids::{ActorId, ProductId, StoreId};
use event_store::{AppendError, Unit, read};
use fastrand::Rng;
use providers::payment::{PaymentProvider, Sandbox};
use sagas::SagaCtx;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use tokio::{sync::mpsc, task::spawn_blocking};
use uuid::Uuid;

use crate::{
    config::{BenchLoad, Place},
    database::{self, Database},
    import, roles,
    terminal::{complain, say},
};

mod journey;
mod range;
mod sale;
mod stock;
mod units;
mod words;

use stock::Stock;

/// Days of orders.
const DAYS: i64 = 730;

/// Events of one append at most; the engine takes 2,000. What belongs together stays together.
const BATCH_EVENTS: usize = 1_900;

/// Batches made ahead of the one that is being stored: enough that the database never waits.
const BATCHES_AHEAD: usize = 4;

/// Events between two looks whether partitions are needed. They hold ten million.
const MAINTAIN_EVERY: i64 = 1_000_000;

/// Between two lines that say how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// What shall be loaded. A history that follows from it has the same events every time.
struct Plan {
    store: StoreId,
    products: u32,
    orders: u32,
    /// How many of them to make now.
    first: u32,
    /// When the shop took its first order.
    opened: DateTime<Utc>,
    /// Names the load: ids of loads of another seed or size are others.
    root: [u8; 32],
    importer: Uuid,
    shopper: Uuid,
    process: Uuid,
    /// Events made so far.
    events: Cell<u64>,
}

impl Plan {
    fn new(arguments: &BenchLoad) -> Plan {
        let store = StoreId::of_slug(&arguments.store);
        let BenchLoad { products, orders, first, seed, until, .. } = *arguments;
        let until = until.and_time(NaiveTime::MIN).and_utc();
        let mut hash = Sha256::new_with_prefix(b"bench load 1");
        hash.update(store.0.as_bytes());
        hash.update([u64::from(products), u64::from(orders), seed].map(u64::to_be_bytes).concat());
        hash.update(until.timestamp().to_be_bytes());
        Plan {
            store,
            products,
            orders,
            first: first.unwrap_or(orders).min(orders),
            opened: until - TimeDelta::days(DAYS),
            root: hash.finalize().into(),
            importer: ActorId::derive(&[b"import", store.0.as_bytes()]).0,
            shopper: ActorId::derive(&[b"bench load", store.0.as_bytes()]).0,
            process: ActorId::derive(&[b"saga"]).0,
            events: Cell::new(0),
        }
    }

    /// Chance for one thing, the same every time.
    fn dice(&self, what: &[u8], number: u32) -> Rng {
        let mut hash = Sha256::new_with_prefix(self.root);
        hash.update(what);
        hash.update(number.to_be_bytes());
        let mut seed = [0; 8];
        seed.copy_from_slice(&hash.finalize()[..8]);
        Rng::with_seed(u64::from_be_bytes(seed))
    }

    /// Sorts by when it was made, as ids of events do.
    fn next_event_id(&self) -> Uuid {
        let number = self.events.get();
        self.events.set(number + 1);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(number << 16).to_be_bytes());
        bytes[8..].copy_from_slice(&self.root[..8]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    fn range_begins(&self) -> DateTime<Utc> {
        self.opened - TimeDelta::days(range::BUILD_UP_DAYS)
    }
}

/// Carries the load out and says how fast it was.
pub async fn run(place: &Place, arguments: &BenchLoad) -> anyhow::Result<ExitCode> {
    let database = Database::open(place).await?;
    database.migrate().await?;
    let owner = database.owner().await?;
    let ctx = roles::ctx(&database).await?;
    // What was paid elsewhere, or is made up, must not reach anybody's account.
    let sandbox = PaymentProvider::Sandbox(Sandbox::default());
    let saga = roles::saga_ctx(&database, &ctx, sandbox).await?;
    let result = fill(&saga, &owner, arguments).await;
    for pool in [&owner, &saga.pool, saga.commands.engine.pool(), ctx.engine.pool()] {
        // Before the server goes: a connection that loses it complains.
        pool.close().await;
    }
    database.close().await?;
    say(&result?)?;
    Ok(ExitCode::SUCCESS)
}

/// Loads what is missing. Answers with a line for the person at the terminal.
pub async fn fill(saga: &SagaCtx, owner: &PgPool, arguments: &BenchLoad) -> anyhow::Result<String> {
    let plan = Plan::new(arguments);
    let (store, wanted) = (plan.store, plan.first);
    let first = ProductId::derive(&[&plan.root, &0_u32.to_be_bytes()]);
    let _turn = import::take_turn(owner, store).await?;
    let there = found(owner, store, first).await?;
    let began_at = read::head(&mut *owner.acquire().await?).await?;
    let (sender, mut batches) = mpsc::channel(BATCHES_AHEAD);
    let making = spawn_blocking(move || make(&plan, there, &sender));
    let mut progress = Progress::new(wanted);
    let mut maintained = 0;
    while let Some(Batch { units, orders, events }) = batches.recv().await {
        store_batch(&saga.commands.engine, units).await?;
        progress.step(orders, events);
        if maintained + MAINTAIN_EVERY <= progress.events {
            maintained = progress.events;
            database::maintain(owner).await?;
        }
    }
    making.await.context("making the history panicked")??;
    if 0 < progress.events {
        // The process manager need not look at what was loaded: all of it is at rest. It would
        // find that out by itself, in minutes of work.
        sagas::pass_over(&saga.pool, began_at, began_at + progress.events).await?;
    }
    Ok(progress.summary(there))
}

/// Events of this load that the store has. Fails if it has others.
async fn found(owner: &PgPool, store: StoreId, first: ProductId) -> anyhow::Result<i64> {
    let (events, ours): (i64, bool) = sqlx::query_as(
        "SELECT coalesce(sum(version), 0)::bigint,
                coalesce(bool_or(category = 'product' AND stream_id = $2), false)
           FROM log.streams WHERE store_id = $1",
    )
    .bind(store.0)
    .bind(first.0)
    .fetch_one(owner)
    .await?;
    ensure!(
        events == 0 || ours,
        "the store has other things in it, or a load of another size, seed or end; name another \
         store"
    );
    Ok(events)
}

/// What is stored in one go.
struct Batch {
    units: Vec<Unit>,
    orders: u32,
    events: usize,
}

/// Makes everything, and hands over what comes after the first `there` events.
fn make(plan: &Plan, there: i64, to: &mpsc::Sender<Batch>) -> anyhow::Result<()> {
    let mut stocks = vec![Stock::default(); usize::try_from(plan.products)? * range::VARIANTS_MAX];
    let mut batches = Batches { there: usize::try_from(there)?, waiting: Batch::empty(), to };
    for (number, stock) in (0..plan.products).zip(stocks.chunks_mut(range::VARIANTS_MAX)) {
        let goods = plan.goods(number)?;
        if batches.add(journey::product(plan, goods, stock)?, 0)? {
            return Ok(());
        }
    }
    for number in 0..plan.first {
        let sale = plan.sale(number)?;
        if batches.add(journey::sale(plan, &sale, &mut stocks)?, 1)? {
            return Ok(());
        }
    }
    batches.flush();
    ensure!(
        batches.there == 0,
        "the store has events that are not of this load: it was used; name another store"
    );
    Ok(())
}

struct Batches<'a> {
    /// Events still to be passed over.
    there: usize,
    waiting: Batch,
    to: &'a mpsc::Sender<Batch>,
}

impl Batch {
    fn empty() -> Batch {
        Batch { units: Vec::new(), orders: 0, events: 0 }
    }
}

impl Batches<'_> {
    /// Adds what belongs together, unless it is there. Answers whether nobody takes it any more.
    fn add(&mut self, units: Vec<Unit>, orders: u32) -> anyhow::Result<bool> {
        let events: usize = units.iter().map(|unit| unit.events.len()).sum();
        if 0 < self.there {
            let left = self.there.checked_sub(events);
            self.there = left.context(
                "the store has events that are not of this load: it was used; name another store",
            )?;
            return Ok(false);
        }
        let gone = BATCH_EVENTS < self.waiting.events + events && self.flush();
        self.waiting.units.extend(units);
        self.waiting.orders += orders;
        self.waiting.events += events;
        Ok(gone)
    }

    fn flush(&mut self) -> bool {
        let batch = std::mem::replace(&mut self.waiting, Batch::empty());
        self.to.blocking_send(batch).is_err()
    }
}

async fn store_batch(engine: &event_store::Engine, units: Vec<Unit>) -> anyhow::Result<()> {
    match engine.append(units).await {
        Ok(_) => Ok(()),
        Err(AppendError::Refused(losers)) => {
            bail!("somebody else writes to this store: {:?}", losers.first())
        }
        Err(error) => Err(error).context("run it again: it goes on where it stopped"),
    }
}

struct Progress {
    began: Instant,
    said: Instant,
    wanted: u32,
    orders: u32,
    events: i64,
}

impl Progress {
    fn new(wanted: u32) -> Progress {
        let now = Instant::now();
        Progress { began: now, said: now, wanted, orders: 0, events: 0 }
    }

    fn step(&mut self, orders: u32, events: usize) {
        self.orders += orders;
        self.events += i64::try_from(events).unwrap_or(i64::MAX);
        if PROGRESS_EVERY <= self.said.elapsed() {
            self.said = Instant::now();
            let (events, orders, wanted) = (self.events, self.orders, self.wanted);
            complain(&format!(
                "{orders} of {wanted} orders, {events} events, {:.0}/s",
                self.rate()
            ));
        }
    }

    fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "events of a load are far below 2^52")]
        let events = self.events as f64;
        events / self.began.elapsed().as_secs_f64()
    }

    fn summary(&self, there: i64) -> String {
        let (events, seconds) = (self.events, self.began.elapsed().as_secs_f64());
        match (there, events) {
            (_, 0) => format!("nothing to do: the store has all {there} events of this load"),
            (0, _) => format!("{events} events in {seconds:.1} s: {:.0}/s", self.rate()),
            (_, _) => format!(
                "{events} events in {seconds:.1} s: {:.0}/s, after {there} that were there",
                self.rate()
            ),
        }
    }
}

#[cfg(test)]
mod tests;
