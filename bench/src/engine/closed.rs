//! Closed loops: distinct streams, one hot stream, and their baselines.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use anyhow::ensure;
use serde::Serialize;
use uuid::Uuid;

use super::{
    driver::Driver,
    measure::{Figures, Spans, closed},
};
use crate::{
    account::Texts,
    bare::{self, STREAMS_PER_BATCH, Streams},
    baseline::Baseline,
    figures::{count, rounded},
    place::Place,
};

/// Known streams of each client. No two clients write to the same one.
const STREAMS_PER_CLIENT: u64 = 4;

/// Connections tried for bare appends: the best of them is the baseline. Appends wait for each
/// other, so more connections than this only wait.
const BARE_CONNECTIONS: [usize; 4] = [1, 2, 4, 8];

/// The engine, and bare appends that carry as many events per call as the engine's did.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Level {
    pub(super) concurrency: usize,
    pub(super) engine: Figures,
    pub(super) bare: Vec<BareLevel>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct BareLevel {
    pub(super) connections: usize,
    pub(super) batch: usize,
    pub(super) figures: Figures,
}

/// `postgres-es` with so many clients.
#[derive(Clone, Debug, Serialize)]
pub(super) struct BaselineLevel {
    pub(super) clients: usize,
    pub(super) figures: Figures,
    /// Tries it took on average until a command was stored.
    pub(super) tries: f64,
}

/// What everything here needs.
pub(super) struct Bench<'a> {
    pub(super) place: &'a mut Place,
    pub(super) texts: &'a Texts,
    pub(super) spans: Spans,
    /// New ids, as the program makes them: sorted by time, which is kind to an index.
    pub(super) new_id: fn() -> Uuid,
}

impl Bench<'_> {
    /// Distinct streams: every client on its own ones.
    pub(super) async fn distinct(
        &mut self,
        concurrency: usize,
        streams: Streams,
    ) -> anyhow::Result<Level> {
        let driver = Driver::new(&self.place.database, self.texts).await?;
        let known = u64::try_from(concurrency)? * STREAMS_PER_CLIENT;
        let known: Arc<[_]> = (0..known).map(|_| driver.new_id()).collect();
        let shared = driver.clone();
        let act = move |client: usize, turn| {
            let (driver, known) = (shared.clone(), known.clone());
            async move {
                let own = client as u64 * STREAMS_PER_CLIENT + turn % STREAMS_PER_CLIENT;
                let id = match streams {
                    Streams::Known => known[usize::try_from(own)?],
                    Streams::New => driver.new_id(),
                };
                driver.deposit(id, turn).await.map(|_| 1)
            }
        };
        let engine = self.engine(driver, concurrency, act).await?;
        let bare = self.bare(&engine, streams).await?;
        Ok(Level { concurrency, engine, bare })
    }

    /// One stream that everybody writes to.
    pub(super) async fn hot(&mut self, concurrency: usize) -> anyhow::Result<Figures> {
        let driver = Driver::new(&self.place.database, self.texts).await?;
        let (shared, id) = (driver.clone(), driver.new_id());
        let act = move |_, turn| {
            let driver = shared.clone();
            async move { driver.deposit(id, turn).await.map(|_| 1) }
        };
        self.engine(driver, concurrency, act).await
    }

    /// Runs the load, and checks that what was answered is what was stored.
    async fn engine<F>(
        &mut self,
        driver: Driver,
        concurrency: usize,
        act: impl Fn(usize, u64) -> F + Clone + Send + 'static,
    ) -> anyhow::Result<Figures>
    where
        F: Future<Output = anyhow::Result<u32>> + Send + 'static,
    {
        let before = self.place.counters().await?.head;
        let warm_turns = STREAMS_PER_CLIENT;
        let figures = closed(self.place, self.spans, (concurrency, warm_turns), act).await?;
        let answered = driver.answered();
        driver.close().await;
        self.place.quiet().await?;
        let stored = u64::try_from(self.place.counters().await?.head - before)?;
        ensure!(stored == answered, "{answered} commands were answered, {stored} stored");
        Ok(figures)
    }

    /// Bare appends of the size of the engine's.
    async fn bare(&mut self, like: &Figures, streams: Streams) -> anyhow::Result<Vec<BareLevel>> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a mean number of events, at most a few hundred"
        )]
        let batch = (like.events_per_append.round() as usize).max(1);
        let mut levels = Vec::new();
        for connections in BARE_CONNECTIONS {
            let (options, texts) = (self.place.options(), self.texts);
            let streams = (streams, batch);
            let all = bare::connect(options, connections, streams, texts, self.new_id).await?;
            let act = move |client: usize, _| {
                let all = all.clone();
                async move { all[client].lock().await.append(batch).await }
            };
            let clients = (connections, STREAMS_PER_BATCH as u64);
            let figures = closed(self.place, self.spans, clients, act).await?;
            self.place.quiet().await?;
            levels.push(BareLevel { connections, batch, figures });
        }
        Ok(levels)
    }

    /// `postgres-es`, each command on a new aggregate, which is what it is fastest at: there is
    /// nothing to load.
    pub(super) async fn baseline(&mut self, clients: usize) -> anyhow::Result<BaselineLevel> {
        self.postgres_es(clients, self.new_id).await
    }

    /// `postgres-es` on one aggregate that everybody writes to. Whoever loses tries again at once.
    pub(super) async fn hot_baseline(&mut self, clients: usize) -> anyhow::Result<BaselineLevel> {
        let id = (self.new_id)();
        self.postgres_es(clients, move || id).await
    }

    async fn postgres_es(
        &mut self,
        clients: usize,
        id: impl Fn() -> Uuid + Clone + Send + Sync + 'static,
    ) -> anyhow::Result<BaselineLevel> {
        let url = self.place.baseline_url()?;
        let baseline = Baseline::connect(&url, clients, self.texts).await?;
        let (tries, commands) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let shared = (baseline.clone(), tries.clone(), commands.clone());
        let act = move |_, turn| {
            let ((baseline, tries, commands), id) = (shared.clone(), id());
            async move {
                tries.fetch_add(baseline.execute(id, turn).await?, Relaxed);
                commands.fetch_add(1, Relaxed);
                Ok(1)
            }
        };
        let figures = closed(self.place, self.spans, (clients, 1), act).await?;
        baseline.close().await;
        self.place.quiet().await?;
        let (tries, commands) = (tries.load(Relaxed), commands.load(Relaxed));
        let tries = rounded(count(tries) / count(commands.max(1)));
        Ok(BaselineLevel { clients, figures, tries })
    }
}
