//! One product, more buyers than units.

use std::{io::Write as _, path::Path, time::Duration};

use sqlx::{Connection as _, PgConnection};

use crate::{
    figures::{Latency, count},
    program::Program,
};
use sale::{Ended, Plan, Sale, Shop};

mod sale;

/// Sells a product to more buyers than there are units, over HTTP, while others buy other things.
/// Fails if it is oversold or somebody gets no answer.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Buyers.
    #[arg(long, default_value_t = 10_000)]
    buyers: usize,

    /// Units there are.
    #[arg(long, default_value_t = 1_000)]
    units: u32,

    /// Buyers who arrive in a second.
    #[arg(long, default_value_t = 2_000.0)]
    rate: f64,

    /// Buyers of other products in a second.
    #[arg(long, default_value_t = 20.0)]
    others: f64,

    /// Seconds of the others alone, before.
    #[arg(long, default_value_t = 15)]
    quiet: u64,
}

pub(crate) async fn run(conche: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { buyers, units, rate, others, quiet } = *arguments;
    let quiet = Duration::from_secs(quiet);
    let plan = Plan { buyers, units, rate, others_rate: others, quiet };
    let program = Program::start(conche).await?;
    let shop = Shop::new(program.address(), program.token())?;
    let result = sell(&program, &shop, plan).await;
    program.stop()?;
    result
}

async fn sell(program: &Program, shop: &Shop, plan: Plan) -> anyhow::Result<()> {
    let sale = sale::run(shop, plan).await?;
    let mut log = PgConnection::connect_with(&program.connect_options().await?).await?;
    print(plan, &sale)?;
    let checked = sale.check(plan, &mut log).await;
    log.close().await?;
    checked
}

fn print(plan: Plan, sale: &Sale) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let answers = count(u64::try_from(sale.buyers.len())?) / sale.took.as_secs_f64();
    writeln!(
        out,
        "\nFlash sale: {} units of {}, {} buyers at {:.0}/s; all answered in {:.1} s ({answers:.0}/s)\n",
        plan.units,
        sale.variant,
        plan.buyers,
        plan.rate,
        sale.took.as_secs_f64()
    )?;
    let shed: u64 = sale.buyers.iter().map(|buyer| u64::from(buyer.shed)).sum();
    writeln!(
        out,
        "held {}, paid {}, sold out {}; answers \"no place\": {shed}\n",
        sale.count(Ended::Held),
        sale.count(Ended::Paid),
        sale.count(Ended::SoldOut)
    )?;
    writeln!(out, "| from arrival to | samples | p50 ms | p99 ms | max ms |")?;
    writeln!(out, "|---|--:|--:|--:|--:|")?;
    let of = |pick: &dyn Fn(&sale::Bought) -> Option<Duration>| {
        Latency::of(sale.buyers.iter().filter_map(pick).collect())
    };
    let served = |buyer: &sale::Bought| buyer.ended != Ended::SoldOut;
    let rows = [
        ("the first answer", of(&|it| Some(it.first))),
        ("the hold", of(&|it| served(it).then_some(it.took))),
        ("the hold, never turned away", of(&|it| (served(it) && it.shed == 0).then_some(it.took))),
        ("\"sold out\"", of(&|it| (!served(it)).then_some(it.took))),
        (
            "\"sold out\", never turned away",
            of(&|it| (!served(it) && it.shed == 0).then_some(it.took)),
        ),
        ("\"no place\", the slowest of each", of(&|it| (0 < it.shed).then_some(it.shed_took))),
        ("the hold of another product, quiet", Latency::of(sale.quiet.clone())),
        ("the hold of another product, during", Latency::of(sale.during.clone())),
    ];
    for (what, latency) in rows {
        let Latency { p50_ms, p99_ms, max_ms, samples, .. } = latency;
        writeln!(out, "| {what} | {samples} | {p50_ms:.1} | {p99_ms:.1} | {max_ms:.1} |")?;
    }
    Ok(())
}
