//! The engine without HTTP, beside bare appends and `postgres-es`: in one run, on one cluster with
//! `fsync` on, in rounds that take turns.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

use crate::{
    account::{METADATA_BYTES, PAYLOAD_BYTES, Shape, Texts},
    bare::Streams,
    place::{self, Machine, Place},
};

mod closed;
mod driver;
mod http;
mod latency;
mod measure;
mod memory;
mod plot;
mod report;

use closed::{BaselineLevel, Bench, Level};
use latency::{Single, Steady};
use measure::{Figures, Spans};
use memory::Memory;

/// Options of the measurement.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u64,

    /// Rounds; every figure is the median of its rounds.
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// Commands of the measurement of memory.
    #[arg(long, default_value_t = 400_000)]
    memory_commands: u64,

    /// Folder of `engine.json` and `engine.svg`.
    #[arg(long, default_value = "docs/benchmarks")]
    save: PathBuf,
}

/// Commands in flight, each on a stream of its own.
const CONCURRENCY: [usize; 7] = [1, 8, 32, 64, 128, 256, 512];
/// The level that the aims are about.
const REFERENCE: usize = 256;
/// Clients of `postgres-es`: the best of them is the baseline.
const BASELINE_CLIENTS: [usize; 5] = [1, 8, 16, 32, 64];
/// Clients of `postgres-es` on one hot stream.
const HOT_BASELINE_CLIENTS: [usize; 2] = [8, 64];

/// Before each measurement.
const WARM_UP: Duration = Duration::from_secs(1);

/// Everything of one round.
#[derive(Clone, Debug, Serialize)]
struct Round {
    known_streams: Vec<Level>,
    new_streams: Level,
    baseline: Vec<BaselineLevel>,
    hot: Figures,
    hot_baseline: Vec<BaselineLevel>,
    single: Single,
    steady: Steady,
}

impl Round {
    /// The level that the aims are about.
    fn reference(&self) -> &Level {
        let level = self.known_streams.iter().find(|level| level.concurrency == REFERENCE);
        level.expect("the reference is one of the levels")
    }

    /// The most that the engine did in this round, in commands per second.
    fn peak(levels: &[Level]) -> f64 {
        levels.iter().map(|level| level.engine.commands).fold(0.0, f64::max)
    }
}

/// What is written down.
#[derive(Clone, Debug, Serialize)]
struct Results {
    date: String,
    machine: Machine,
    seconds: u64,
    payload_bytes: usize,
    metadata_bytes: usize,
    rounds: Vec<Round>,
    http: Vec<http::Http>,
    memory: Memory,
}

/// Measures, prints the tables and writes the files.
pub(crate) async fn run(conche: &Path, date: &str, arguments: &Arguments) -> anyhow::Result<()> {
    let spans = Spans { warm_up: WARM_UP, span: Duration::from_secs(arguments.seconds) };
    let folder = place::data_dir()?;
    let mut place = Place::open(folder.path()).await?;
    let machine = place.machine().await?;
    let texts = Texts::new(Shape::default());
    let program = conche::roles::ctx(&place.database).await?;
    let new_id = program.new_id;
    program.engine.pool().close().await;
    let mut bench = Bench { place: &mut place, texts: &texts, spans, new_id };
    let mut rounds = Vec::new();
    for number in 1..=arguments.rounds {
        report::progress(&format!("round {number} of {}", arguments.rounds))?;
        rounds.push(round(&mut bench, folder.path()).await?);
        bench.place.maintain().await?;
    }
    report::progress("memory")?;
    let memory = bench.memory(arguments.memory_commands).await?;
    place.close().await?;
    drop(folder);
    report::progress("checkouts, with HTTP and without")?;
    let http = http::measure(conche, spans, arguments.rounds).await?;
    let results = Results {
        date: date.to_owned(),
        machine,
        seconds: arguments.seconds,
        payload_bytes: PAYLOAD_BYTES,
        metadata_bytes: METADATA_BYTES,
        rounds,
        http,
        memory,
    };
    fs::create_dir_all(&arguments.save)?;
    let json = serde_json::to_string_pretty(&results)?;
    fs::write(arguments.save.join("engine.json"), json + "\n")?;
    fs::write(arguments.save.join("engine.svg"), plot::svg(&results))?;
    report::print(&results)?;
    Ok(())
}

/// Everything once, baselines in between: a slow minute of the machine hits all of them.
async fn round(bench: &mut Bench<'_>, data_dir: &Path) -> anyhow::Result<Round> {
    let (mut known_streams, mut baseline, mut hot_baseline) = (Vec::new(), Vec::new(), Vec::new());
    let mut baseline_clients = BASELINE_CLIENTS.into_iter();
    for concurrency in CONCURRENCY {
        report::progress(&format!("known streams, {concurrency} in flight"))?;
        known_streams.push(bench.distinct(concurrency, Streams::Known).await?);
        if let Some(clients) = baseline_clients.next() {
            baseline.push(bench.baseline(clients).await?);
        }
    }
    report::progress("new streams")?;
    let new_streams = bench.distinct(REFERENCE, Streams::New).await?;
    report::progress("one hot stream")?;
    let hot = bench.hot(REFERENCE).await?;
    for clients in HOT_BASELINE_CLIENTS {
        hot_baseline.push(bench.hot_baseline(clients).await?);
    }
    report::progress("latency")?;
    let single = bench.single().await?;
    let steady = bench.steady(Round::peak(&known_streams) / 2.0, data_dir).await?;
    Ok(Round { known_streams, new_streams, baseline, hot, hot_baseline, single, steady })
}
