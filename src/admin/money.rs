//! `conche money verify`: the books against themselves, and against the provider's.

mod books;
mod truth;

use std::process::ExitCode;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use event_store::read::{self, Filter};
use providers::Providers;
use sagas::SagaCtx;
use sqlx::PgPool;

use crate::{
    config::Place,
    database::Database,
    roles,
    terminal::{complain, say},
};

use books::Books;

/// Events read at a time.
const WINDOW: i64 = 5_000;

/// Categories that money or stock is in.
const CATEGORIES: &[&str] = &["stock_item", "checkout", "payment", "order"];

/// Findings that are told; the rest is counted.
const TOLD_MAX: usize = 100;

/// What a look through the books came to.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What is wrong, one line each. Empty: nothing.
    pub findings: Vec<String>,
    /// Events that were looked at.
    pub events: u64,
    /// Payments in the books.
    pub payments: usize,
    /// Of these, compared with the provider's books.
    pub compared: usize,
    /// Of these, not compared, because something is happening to them.
    pub moving: usize,
}

/// Looks through everything, says what it found, and exits with 1 if anything is wrong.
pub async fn verify(place: &Place) -> anyhow::Result<ExitCode> {
    let database = Database::open_existing(place).await?;
    let result = async {
        database.require_migrated().await?;
        let ctx = roles::ctx(&database).await?;
        let providers = Providers::of_accounts(database.vault(place).await?);
        let saga = roles::saga_ctx(&database, &ctx, providers).await?;
        let owner = database.owner().await?;
        let verdict = check(&owner, &saga, ctx.now()).await;
        // Before the server goes: a connection that loses it complains.
        owner.close().await;
        verdict
    };
    let result = result.await;
    database.close().await?;
    let verdict = result?;
    for finding in verdict.findings.iter().take(TOLD_MAX) {
        complain(finding);
    }
    let Verdict { findings, events, payments, compared, moving } = &verdict;
    say(&format!(
        "{events} events, {payments} payments; {compared} compared with the provider's books, \
         {moving} left out because they are under way"
    ))?;
    if findings.is_empty() {
        say("nothing is wrong")?;
        return Ok(ExitCode::SUCCESS);
    }
    complain(&format!("{} findings", findings.len()));
    Ok(ExitCode::FAILURE)
}

/// Reads the log from its beginning and checks after each event what has to hold after each; then
/// what has to hold in the end; then asks each store's provider for its books. Keeps the states of
/// all checkouts, orders, payments and stock in memory: some 2 KiB for each checkout.
pub async fn check(owner: &PgPool, saga: &SagaCtx, now: DateTime<Utc>) -> anyhow::Result<Verdict> {
    let mut books = Books::default();
    let (mut conn, mut position, mut events) = (owner.acquire().await?, 0, 0);
    loop {
        let filter = Filter { categories: CATEGORIES, types: &[] };
        let read = read::read_after_filtered(&mut conn, position, WINDOW, filter).await?;
        for event in &read.events {
            books.take(event).with_context(|| format!("event at position {}", event.position))?;
            events += 1;
        }
        position = read.through;
        if !read.more {
            break;
        }
    }
    drop(conn);
    books.close(now);
    let mut verdict = Verdict { events, payments: books.payments().len(), ..Verdict::default() };
    verdict.findings = books.findings();
    truth::compare(&books, saga, now, &mut verdict).await?;
    Ok(verdict)
}
