//! Measures the program beside its baselines, in one run, as ratios: machines differ, and the same
//! machine differs from minute to minute.
//!
//! Run it by `./dev bench`, which builds the program for release first.

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

mod account;
mod api;
mod bare;
mod baseline;
mod checkout;
mod engine;
mod figures;
mod flash_sale;
mod load;
mod place;
mod program;
mod projector;
mod read;
mod shop;
mod usage;

/// Measures the program as ratios to its baselines.
#[derive(Debug, Parser)]
struct Arguments {
    /// The program to measure.
    #[arg(long)]
    conche: PathBuf,

    /// Date the results carry.
    #[arg(long, global = true, default_value = "without a date")]
    date: String,

    /// What to measure; everything with its defaults if nothing is named.
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Orders through the API, import, start, memory.
    Api(api::Arguments),
    /// Whole checkouts: from the cart to the paid order, and the last units of a product.
    Checkout(checkout::Arguments),
    /// The engine: throughput and latency beside bare appends and `postgres-es`.
    Engine(engine::Arguments),
    /// One product, more buyers than units.
    FlashSale(flash_sale::Arguments),
    /// Read models: catching up beside COPY of the same rows, and rebuilds.
    Projector(projector::Arguments),
    /// Queries, read models and how far they are behind, at 100,000 products and a million orders.
    Read(read::Arguments),
    /// Answers a few bytes: what the HTTP library alone can do, beside `read`.
    #[command(hide = true)]
    Hello,
}

/// A new random id.
#[expect(clippy::disallowed_methods, reason = "a load generator has no clock to keep still")]
fn new_id() -> uuid::Uuid {
    uuid::Uuid::new_v4()
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(what) = &arguments.what {
        return run(&arguments.conche, &arguments.date, what).await;
    }
    let every = What::augment_subcommands(clap::Command::new("bench"));
    let shown = every.get_subcommands().filter(|command| !command.is_hide_set());
    for name in shown.map(clap::Command::get_name) {
        let line = [Path::new("bench"), "--conche".as_ref(), &arguments.conche, name.as_ref()];
        if let Some(what) = Arguments::parse_from(line).what {
            run(&arguments.conche, &arguments.date, &what).await?;
        }
    }
    Ok(())
}

async fn run(conche: &Path, date: &str, what: &What) -> anyhow::Result<()> {
    match what {
        What::Api(arguments) => api::run(conche, arguments).await,
        What::Checkout(arguments) => checkout::run(conche, arguments).await,
        What::Engine(arguments) => engine::run(conche, date, arguments).await,
        What::FlashSale(arguments) => flash_sale::run(conche, arguments).await,
        What::Projector(arguments) => projector::run(conche, arguments).await,
        What::Read(arguments) => read::run(conche, date, arguments).await,
        What::Hello => read::hello().await,
    }
}
