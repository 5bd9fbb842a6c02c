//! How fast read models are filled: by a projector that catches up, beside `COPY` of the rows it has
//! made, and by rebuilds of all of them.

use std::{io::Write as _, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, ensure};
use event_store::pool::Role;
use projections::{ALL, Projection};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    figures::count,
    place::{self, Place},
};

/// Events that an order makes, about.
const EVENTS_PER_ORDER: u64 = 15;

/// Read models that are rebuilt at a time, as `conche rebuild --all` does.
const AT_A_TIME: usize = 2;

/// Between two looks at how far a projector is.
const LOOK: Duration = Duration::from_millis(20);

/// How fast read models catch up and are rebuilt.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Events of the history, about.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,

    /// Products of the history.
    #[arg(long, default_value_t = 1_000)]
    products: u32,
}

/// What something took.
struct Taken {
    seconds: f64,
    /// Processor seconds of PostgreSQL and of this process.
    server: f64,
    own: f64,
}

pub(crate) async fn run(conche: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let data = place::data_dir()?;
    let orders = arguments.events / EVENTS_PER_ORDER;
    let loaded = Command::new(conche)
        .args(["bench", "load", "--products", &arguments.products.to_string()])
        .args(["--orders", &orders.to_string(), "--data-dir"])
        .arg(data.path())
        .env_remove("DATABASE_URL")
        .status();
    ensure!(loaded?.success(), "the history was not loaded");
    let mut place = Place::open(data.path()).await?;
    let result = measure(&mut place).await;
    place.close().await?;
    result
}

async fn measure(place: &mut Place) -> anyhow::Result<()> {
    let owner = place.database.owner().await?;
    // As autovacuum leaves a log that was not written a minute ago.
    owner.execute("VACUUM (ANALYZE) log.events").await?;
    let head = place.counters().await?.head;
    let events = count(u64::try_from(head)?);
    let mut out = std::io::stdout();
    writeln!(out, "\n## Filling read models: {head} events\n")?;
    writeln!(out, "| what | seconds | events/s | CPU s, PostgreSQL + us | ratio to COPY |")?;
    writeln!(out, "|---|---|---|---|---|")?;
    for projection in ALL {
        let taken = catch_up(place, projection).await?;
        let copied = copy(place, &owner, projection).await?;
        let name = projection.name;
        row(&mut out, &format!("`{name}` catches up"), events, &taken, Some(&copied))?;
        row(&mut out, &format!("COPY of the rows of `{name}`"), events, &copied, None)?;
    }
    let taken = rebuild(place, &owner, false).await?;
    let all = events * count(ALL.len() as u64);
    row(&mut out, "all are rebuilt, two at a time, in sum", all, &taken, None)?;
    let taken = rebuild(place, &owner, true).await?;
    row(&mut out, "the same, with the report of differences", all, &taken, None)?;
    owner.close().await;
    Ok(())
}

fn row(
    out: &mut impl std::io::Write,
    what: &str,
    events: f64,
    taken: &Taken,
    copied: Option<&Taken>,
) -> anyhow::Result<()> {
    let Taken { seconds, server, own } = taken;
    let ratio = copied
        .map_or_else(String::new, |copied| format!("{:.0} %", 100.0 * copied.seconds / seconds));
    let rate = events / seconds;
    writeln!(out, "| {what} | {seconds:.1} | {rate:.0} | {server:.1} + {own:.1} | {ratio} |")?;
    Ok(())
}

/// Runs `act` on a server that has nothing else to do.
async fn take(
    place: &mut Place,
    act: impl AsyncFnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Taken> {
    place.checkpoint().await?;
    let (began, before) = (Instant::now(), place.counters().await?.cpu);
    act().await?;
    let seconds = began.elapsed().as_secs_f64();
    let after = place.counters().await?.cpu;
    Ok(Taken { seconds, server: after.postgres - before.postgres, own: after.own - before.own })
}

/// From the first event to the last, as the projector does it, on tables with all their indexes:
/// nobody has projected for a while.
async fn catch_up(place: &mut Place, projection: &'static Projection) -> anyhow::Result<Taken> {
    let pool = place.database.pool(Role::Projector).await?;
    let head = place.counters().await?.head;
    let (stopper, stop) = watch::channel(false);
    let (_appended, wakeups) = watch::channel(head);
    let mut running = JoinSet::new();
    let taken = take(place, async || {
        running.spawn(projections::run(pool.clone(), projection, wakeups, stop));
        while projections::position(&pool, projection.name).await? < head {
            sleep(LOOK).await;
        }
        Ok(())
    });
    let taken = taken.await?;
    stopper.send_replace(true);
    running.join_all().await;
    pool.close().await;
    Ok(taken)
}

/// The same rows into empty tables with the same indexes, by the server itself out of files.
async fn copy(place: &mut Place, owner: &PgPool, projection: &Projection) -> anyhow::Result<Taken> {
    owner.execute("DROP SCHEMA IF EXISTS copies CASCADE; CREATE SCHEMA copies").await?;
    let dir: String =
        sqlx::query_scalar("SELECT current_setting('data_directory')").fetch_one(owner).await?;
    let statement = |verb: &str, schema: &str, way: &str, table: &str| {
        AssertSqlSafe(format!("{verb} {schema}.{table} {way} '{dir}/copy_{table}' (FORMAT binary)"))
    };
    for table in projection.tables {
        sqlx::query("SELECT read.copy_shape($1, 'copies')").bind(table).execute(owner).await?;
        sqlx::raw_sql(statement("COPY", "read", "TO", table)).execute(owner).await?;
    }
    let mut conn = PgConnection::connect_with(place.options()).await?;
    conn.execute("SET synchronous_commit = off").await?;
    let taken = take(place, async || {
        for table in projection.tables {
            sqlx::raw_sql(statement("COPY", "copies", "FROM", table)).execute(&mut conn).await?;
        }
        Ok(())
    });
    let taken = taken.await?;
    conn.close().await?;
    owner.execute("DROP SCHEMA copies CASCADE").await?;
    Ok(taken)
}

async fn rebuild(place: &mut Place, owner: &PgPool, compare: bool) -> anyhow::Result<Taken> {
    take(place, async || {
        let mut rebuilding = JoinSet::new();
        for projection in ALL {
            if rebuilding.len() == AT_A_TIME {
                rebuilding.join_next().await.context("somebody rebuilds")???;
            }
            rebuilding.spawn(rebuild_one(owner.clone(), projection, compare));
        }
        while let Some(ended) = rebuilding.join_next().await {
            ended??;
        }
        Ok(())
    })
    .await
}

async fn rebuild_one(
    owner: PgPool,
    projection: &'static Projection,
    compare: bool,
) -> anyhow::Result<()> {
    if !compare {
        projections::rebuild(&owner, projection, &|_, _| {}).await?;
        return Ok(());
    }
    let mut rebuild = projections::Rebuild::begin(&owner, projection).await?;
    let comparison = rebuild.compare(&|_, _| {}).await?;
    ensure!(comparison.rows() == 0, "{} differs from itself: {comparison:?}", projection.name);
    rebuild.swap(&|_, _| {}).await?;
    rebuild.end().await;
    Ok(())
}
