//! Takes over data of another system, through ordinary commands.
//!
//! A file is read and checked as a whole before the first command is sent: a file that is wrong
//! changes nothing. What only the store can refuse (a SKU that another product has, an order
//! number that is taken) is reported by row, and the rest goes on.
//!
//! Every run compares what the file says with what the log holds and sends what is missing, under
//! command ids that follow from the store and the merchant's own keys (handle, SKU, invoice). So a
//! second run finds nothing to do, and a run that was killed is finished by the next one.

use std::{
    fs::File,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::ensure;
use event_schemas::{ids::StoreId, money::Currency};
use providers::payment::{PaymentProvider, Sandbox};
use sqlx::{PgConnection, PgPool};

use crate::{
    config::{ImportFile, Place as DataPlace},
    database::Database,
    roles,
    terminal::{complain, say},
};

mod amount;
mod columns;
mod importer;
pub mod orders;
pub mod problem;
pub mod products;
mod progress;
pub mod report;
pub mod shape;
mod table;

pub use importer::Importer;
pub(crate) use importer::{CARD, Failure, Outcome};
use problem::{Problem, Problems};
pub(crate) use products::variant_id;
use report::Report;

/// Code of the place where everything that is taken over is stocked.
const LOCATION: &str = domain::inventory::MAIN_LOCATION;

/// Exit code for a file or rows that could not be taken over; clap uses it for bad arguments.
const BAD_INPUT: u8 = 2;

/// How long an import waits for another one of the same store. The turn of one that was killed ends
/// as soon as the server notices, which takes a moment.
const TURN_WAIT: Duration = Duration::from_secs(30);
/// Between two looks whether it is our turn.
const TURN_POLL: Duration = Duration::from_millis(250);

/// Imports a Shopify product file. Exits with 2 if it, or a row of it, is bad.
pub async fn products(place: &DataPlace, file: &ImportFile) -> anyhow::Result<ExitCode> {
    let store = StoreId::of_slug(&file.store);
    let (catalogue, problems) =
        checked(file, |bytes, currency, problems| products::read(bytes, store, currency, problems));
    if let Some(code) = stop_early(file, &problems, &catalogue.summary())? {
        return Ok(code);
    }
    let started = Instant::now();
    let (database, importer, _turn) = connect(place, file).await?;
    let result = products::take_over(&importer, &catalogue).await;
    finish(database, started, result).await
}

/// Imports an Online Retail order file. Exits with 2 if it, or a row of it, is bad.
pub async fn orders(place: &DataPlace, file: &ImportFile) -> anyhow::Result<ExitCode> {
    let (history, problems) = checked(file, orders::read);
    if let Some(code) = stop_early(file, &problems, &history.summary())? {
        return Ok(code);
    }
    let started = Instant::now();
    let (database, importer, _turn) = connect(place, file).await?;
    let result = orders::take_over(&importer, &history).await;
    finish(database, started, result).await
}

/// Reads a file with what reads its kind.
fn checked<T: Default>(
    file: &ImportFile,
    read: impl FnOnce(File, Currency, &mut Problems) -> T,
) -> (T, Problems) {
    let mut problems = Problems::default();
    let opened = File::open(&file.file)
        .map_err(|error| Problem::of_file(format!("cannot be opened: {error}")));
    match (amount::currency(&file.currency), opened) {
        (Ok(currency), Ok(bytes)) => {
            let content = read(bytes, currency, &mut problems);
            (content, problems)
        }
        (Err(problem), _) | (_, Err(problem)) => {
            problems.push(problem);
            (T::default(), problems)
        }
    }
}

/// The exit code if there is nothing to store: the file is bad, or it was only to be checked.
fn stop_early(
    file: &ImportFile,
    problems: &Problems,
    summary: &str,
) -> anyhow::Result<Option<ExitCode>> {
    if !problems.is_empty() {
        let count = match problems.count() {
            1 => "1 problem".to_owned(),
            count => format!("{count} problems"),
        };
        complain(&format!("{}: {count}, nothing was imported", file.file.display()));
        complain(problems.to_string().trim_end());
        return Ok(Some(ExitCode::from(BAD_INPUT)));
    }
    if file.dry_run {
        say(&format!("{} is good: {summary}\nnothing was stored (dry run)", file.file.display()))?;
        return Ok(Some(ExitCode::SUCCESS));
    }
    Ok(None)
}

async fn connect(
    place: &DataPlace,
    file: &ImportFile,
) -> anyhow::Result<(Database, Importer, PgConnection)> {
    let database = Database::open(place).await?;
    database.migrate().await?;
    let ctx = roles::ctx(&database).await?;
    // What was paid elsewhere, or is made up, must not reach anybody's account.
    let sandbox = PaymentProvider::Sandbox(Sandbox::default());
    let saga = roles::saga_ctx(&database, &ctx, sandbox).await?;
    let store = StoreId::of_slug(&file.store);
    let turn = take_turn(&database.owner().await?, store).await?;
    Ok((database, Importer::new(saga, store, file.progress), turn))
}

/// Waits until no other import writes to the store. What is missing is worked out from a look at
/// the log, and would be sent twice by two imports that look at once. The turn ends with the
/// connection.
pub(crate) async fn take_turn(owner: &PgPool, store: StoreId) -> anyhow::Result<PgConnection> {
    let mut turn = owner.acquire().await?.detach();
    let waiting_since = Instant::now();
    let lock = "SELECT pg_try_advisory_lock(hashtextextended('import ' || $1, 0))";
    loop {
        let ours = sqlx::query_scalar::<_, bool>(lock).bind(store.to_string());
        if ours.fetch_one(&mut turn).await? {
            return Ok(turn);
        }
        ensure!(
            waiting_since.elapsed() < TURN_WAIT,
            "another import into this store is running; start this one when that has ended"
        );
        tokio::time::sleep(TURN_POLL).await;
    }
}

async fn finish(
    database: Database,
    started: Instant,
    result: anyhow::Result<Report>,
) -> anyhow::Result<ExitCode> {
    database.close().await?;
    let report = result?;
    if !report.problems.is_empty() {
        complain(report.problems.to_string().trim_end());
    }
    say(&format!("{report}{:.1} seconds", started.elapsed().as_secs_f64()))?;
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(BAD_INPUT) })
}
