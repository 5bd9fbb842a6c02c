//! Measures the program beside bare appends and beside `postgres-es`, in one run, as ratios:
//! machines differ, and the same machine differs from minute to minute.
//!
//! Run it by `./dev bench`, which builds the program for release first.

use std::{path::PathBuf, time::Duration};

use clap::Parser;

mod api;
mod bare;
mod baseline;
mod load;
mod program;
mod table;

/// Measures the program as ratios to its baselines.
#[derive(Debug, Parser)]
struct Arguments {
    /// The program to measure.
    #[arg(long)]
    conche: PathBuf,

    /// Online Retail file whose import is timed; left out if missing.
    #[arg(long, default_value = "../shared/data/online-retail-5k.csv")]
    orders: PathBuf,

    /// Seconds of each measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,

    /// Rounds; every figure is the median of its rounds.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// Clients at once, in the closed loop: each sends its next command when the last was answered.
const CLIENTS: [usize; 3] = [1, 8, 32];

/// A new random id.
#[expect(clippy::disallowed_methods, reason = "a load generator has no clock to keep still")]
fn new_id() -> uuid::Uuid {
    uuid::Uuid::new_v4()
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let program = program::Program::start(&arguments.conche).await?;
    let idle = program.memory_mib()?;
    let shop = api::Shop::new(&program).await?;
    let span = Duration::from_secs(arguments.seconds);
    let mut lines = Vec::new();
    for clients in CLIENTS {
        let mut rounds = Vec::new();
        for _ in 0..arguments.rounds {
            // Interleaved, so that a slow minute of the machine hits all three.
            let api = api::measure(&program, &shop, clients, span).await?;
            let shape = api.shape();
            let bare = bare::measure(&program, clients, span, shape).await?;
            let baseline = baseline::measure(&program, clients, span, shape).await?;
            rounds.push(table::Round { api, bare, baseline });
        }
        lines.push(table::Line::of(clients, rounds));
    }
    let import = program.time_import(&arguments.orders)?;
    let after = program.memory_mib()?;
    let report = table::Report {
        lines,
        start_seconds: program.start_seconds(),
        import_seconds: import,
        idle_mib: idle,
        after_mib: after,
    };
    report.print()?;
    program.stop()
}
