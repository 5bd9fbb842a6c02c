//! Orders through the API: begin a checkout, pay it, have a captured order. Beside it, both storing
//! the same number of events of the same size per command: bare appends and `postgres-es`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::ensure;

use crate::{
    account::{Shape, Texts},
    bare::{self, Streams},
    baseline::Baseline,
    figures::count,
    load, new_id,
    program::Program,
    shop::Shop,
};

mod table;

/// Options of the measurement.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
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

/// Work done in a second.
#[derive(Clone, Copy, Debug)]
struct Rate {
    /// Calls: orders at the API, appends, or commands.
    calls: f64,
    /// Events stored.
    events: f64,
}

impl Rate {
    fn of(calls: u64, events: u64, seconds: f64) -> Rate {
        Rate { calls: count(calls) / seconds, events: count(events) / seconds }
    }
}

/// Orders measured for a while.
#[derive(Clone, Copy, Debug)]
struct Measured {
    /// Orders and their events.
    orders: Rate,
    /// Commands recorded in the log.
    commands: f64,
    /// What a command looks like in the log, for the baselines to repeat.
    shape: Shape,
}

/// Measures and prints.
pub(crate) async fn run(conche: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let program = Program::start(conche).await?;
    let idle = program.memory_mib()?;
    let shop = Shop::new(&program).await?;
    let span = Duration::from_secs(arguments.seconds);
    let mut lines = Vec::new();
    for clients in CLIENTS {
        let mut rounds = Vec::new();
        for _ in 0..arguments.rounds {
            // Interleaved, so that a slow minute of the machine hits all three.
            let api = orders(&program, &shop, clients, span).await?;
            let bare = appends(&program, clients, span, api.shape).await?;
            let baseline = commands(&program, clients, span, api.shape).await?;
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

/// Orders per second with `clients` at once.
async fn orders(
    program: &Program,
    shop: &Shop,
    clients: usize,
    span: Duration,
) -> anyhow::Result<Measured> {
    let before = program.counts().await?;
    let shop = shop.clone();
    let act = move |client, turn| {
        let shop = shop.clone();
        async move { shop.order(client, turn).await.map(|()| 1) }
    };
    let (orders, seconds) = load::run(clients, span, act).await?;
    let after = program.counts().await?;
    let events = after.events - before.events;
    let commands = after.commands - before.commands;
    ensure!(commands > 0, "no order was placed");
    let bytes = |after: u64, before: u64| usize::try_from((after - before) / events);
    Ok(Measured {
        orders: Rate::of(orders, events, seconds),
        commands: Rate::of(commands, 0, seconds).calls,
        shape: Shape {
            events_per_command: (events + commands / 2) / commands,
            payload_bytes: bytes(after.payload_bytes, before.payload_bytes)?,
            metadata_bytes: bytes(after.metadata_bytes, before.metadata_bytes)?,
        },
    })
}

/// Appends per second with `clients` at once, one unit each, each on a new stream.
async fn appends(
    program: &Program,
    clients: usize,
    span: Duration,
    shape: Shape,
) -> anyhow::Result<Rate> {
    let (options, texts) = (program.connect_options().await?, Texts::new(shape));
    let all = bare::connect(&options, clients, (Streams::New, 1), &texts, new_id).await?;
    let act = move |client: usize, _| {
        let all = all.clone();
        async move { all[client].lock().await.append(1).await }
    };
    let (calls, seconds) = load::run(clients, span, act).await?;
    Ok(Rate::of(calls, calls * shape.events_per_command, seconds))
}

/// Commands of `postgres-es` per second with `clients` at once, each on a new aggregate.
async fn commands(
    program: &Program,
    clients: usize,
    span: Duration,
    shape: Shape,
) -> anyhow::Result<Rate> {
    let url = program.baseline_url().await?;
    let baseline = Baseline::connect(&url, clients, &Texts::new(shape)).await?;
    let shared = baseline.clone();
    let act = move |_, turn| {
        let baseline = shared.clone();
        async move { baseline.execute(new_id(), turn).await.map(|_| 1) }
    };
    let (calls, seconds) = load::run(clients, span, act).await?;
    baseline.close().await;
    Ok(Rate::of(calls, calls * shape.events_per_command, seconds))
}
