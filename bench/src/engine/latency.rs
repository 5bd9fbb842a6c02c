//! Latencies: one client alone, and arrivals by schedule at half of what the engine can do.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::Serialize;
use tokio::task::JoinSet;

use super::{closed::Bench, driver::Driver};
use crate::{
    bare::{Bare, Streams},
    figures::{Latency, count, rounded},
    load,
};

/// Streams that arrivals are spread over: many times what is in flight.
const STREAMS: usize = 4_096;

/// What a flush is measured with: one page of the write-ahead log.
const PAGE: usize = 8 * 1024;
/// A segment of the write-ahead log, which is allocated before it is written to.
const SEGMENT: u64 = 16 * 1024 * 1024;
/// Flushes measured at a time, before and after what they are compared with.
const FLUSHES: u64 = 250;

/// One client, one command at a time, and one bare call on a held connection in between.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Single {
    pub(super) engine: Latency,
    pub(super) bare: Latency,
}

/// Arrivals by schedule.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Steady {
    /// Arrivals per second.
    pub(super) rate: f64,
    pub(super) latency: Latency,
    /// Commands that the engine was too busy for. They count as slower than anything.
    pub(super) refused: usize,
    /// Write and `fdatasync` of a page, in a file beside the cluster, while nothing else ran.
    pub(super) flush: Latency,
}

impl Bench<'_> {
    /// Call by call.
    pub(super) async fn single(&mut self) -> anyhow::Result<Single> {
        let driver = Driver::new(&self.place.database, self.texts).await?;
        let options = self.place.options().clone();
        let (texts, new_id) = (self.texts.clone(), self.new_id);
        let mut bare = Bare::connect(options, (Streams::Known, 1), texts, new_id).await?;
        let (spans, client) = (self.spans, driver.clone());
        // On a thread of the runtime, where a server's connection would be, and not on the main one.
        let mut task = JoinSet::new();
        task.spawn(async move {
            let (began, id) = (Instant::now(), client.new_id());
            let (mut engine_took, mut bare_took) = (Vec::new(), Vec::new());
            let mut turn = 0;
            while began.elapsed() < spans.warm_up + spans.span {
                let start = Instant::now();
                client.deposit(id, turn).await?;
                let between = Instant::now();
                bare.append(1).await?;
                let end = Instant::now();
                if spans.warm_up <= start - began {
                    engine_took.push(between - start);
                    bare_took.push(end - between);
                }
                turn += 1;
            }
            anyhow::Ok(Single { engine: Latency::of(engine_took), bare: Latency::of(bare_took) })
        });
        let single = task.join_next().await.context("one task was started")??;
        driver.close().await;
        self.place.quiet().await?;
        single
    }

    /// Arrivals at `rate` per second on known streams, and what a flush takes around them.
    /// `data_dir` is on the disk of the cluster.
    pub(super) async fn steady(&mut self, rate: f64, data_dir: &Path) -> anyhow::Result<Steady> {
        let mut flushes = flushes(data_dir)?;
        let driver = Driver::new(&self.place.database, self.texts).await?;
        let known: Arc<[_]> = (0..STREAMS).map(|_| driver.new_id()).collect();
        let shared = driver.clone();
        let act = move |turn: u64| {
            let (driver, known) = (shared.clone(), known.clone());
            async move {
                let id = known[usize::try_from(turn)? % STREAMS];
                Ok(driver.offer(id, turn).await?.is_some())
            }
        };
        // Long enough for each stream to be written to once.
        let around = Duration::from_secs_f64(count(STREAMS as u64) / rate);
        let spans = (self.spans.warm_up.max(around), self.spans.span);
        let arrived = load::open(rate, spans, act).await?;
        driver.close().await;
        self.place.quiet().await?;
        flushes.extend(self::flushes(data_dir)?);
        Ok(Steady {
            rate: rounded(rate),
            latency: Latency::of(arrived.latencies),
            refused: arrived.refused,
            flush: Latency::of(flushes),
        })
    }
}

/// What [`FLUSHES`] flushes of a page take, one after the other through an allocated file, as in
/// the write-ahead log.
fn flushes(data_dir: &Path) -> anyhow::Result<Vec<Duration>> {
    let path = data_dir.join("flushes");
    let file = OpenOptions::new().create(true).write(true).truncate(true).open(&path)?;
    allocate(&file)?;
    let page = vec![7; PAGE];
    let mut took = Vec::new();
    for number in 0..FLUSHES {
        let began = Instant::now();
        file.write_all_at(&page, number * PAGE as u64 % SEGMENT)?;
        file.sync_data()?;
        took.push(began.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(took)
}

fn allocate(file: &File) -> std::io::Result<()> {
    let zeros = vec![0; 1024 * 1024];
    for megabyte in 0..SEGMENT / zeros.len() as u64 {
        file.write_all_at(&zeros, megabyte * zeros.len() as u64)?;
    }
    file.sync_all()
}
