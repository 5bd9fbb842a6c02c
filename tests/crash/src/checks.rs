//! The invariants, as questions to what a run has left behind.
//!
//! Each checker is proven by a planted defect that turns it red: `tests/defects/`. Most of them ask
//! PostgreSQL and get back only what is wrong, so that memory does not grow with the log; those
//! that read events themselves do it in windows.

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::{Evidence, Violation};

mod checkouts;
mod commands;
mod log;
mod money;
mod projections;
mod snapshots;
mod stock;

/// Violations of one kind that are reported; there may be more.
const REPORTED_MAX: i64 = 20;

/// Everything that is wrong.
///
/// What must never happen is asked always, also of a program at work; what is to come about in the
/// end only if the evidence says that it is quiet. An error means that somebody could not be asked.
pub async fn all(evidence: &Evidence) -> anyhow::Result<Vec<Violation>> {
    let mut conn = PgConnection::connect_with(&evidence.pg).await.context("to check")?;
    // One state of everything, also if the program is at work.
    let mut tx = conn.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
    let mut violations = log::check(evidence, &mut tx).await?;
    violations.extend(snapshots::check(&mut tx).await?);
    violations.extend(commands::check(evidence, &mut tx).await?);
    match facts(evidence, &mut tx).await {
        Ok(found) => violations.extend(found),
        // Events that do not even read: the log has said so already, if it is not our fault.
        Err(error) if violations.is_empty() => return Err(error),
        Err(error) => {
            violations.push(Violation { invariant: "INV-9", what: format!("no facts: {error:#}") });
        }
    }
    tx.rollback().await?;
    conn.close().await?;
    // A replay is the dearest question: the second one is for what seems to be in order.
    let replays = if violations.is_empty() { 2 } else { 1 };
    violations.extend(projections::check(evidence, replays).await?);
    Ok(violations)
}

/// Asks what SQL can answer from `facts.sql`.
async fn facts(evidence: &Evidence, conn: &mut PgConnection) -> anyhow::Result<Vec<Violation>> {
    let facts = sqlx::raw_sql(include_str!("checks/facts.sql"));
    facts.execute(&mut *conn).await.context("facts.sql")?;
    let mut violations = Vec::new();
    for questions in [stock::QUESTIONS, money::QUESTIONS, checkouts::QUESTIONS] {
        violations.extend(ask(evidence, conn, questions).await?);
    }
    Ok(violations)
}

/// Something that must never be, in SQL: each row of the answer, one text, is an instance of it.
struct Question {
    /// Such as `INV-1`.
    invariant: &'static str,
    /// Whether it may be so for a while.
    in_the_end: bool,
    sql: &'static str,
}

/// Asks some questions of `facts.sql`.
async fn ask(
    evidence: &Evidence,
    conn: &mut PgConnection,
    questions: &[Question],
) -> anyhow::Result<Vec<Violation>> {
    let mut violations = Vec::new();
    for &Question { invariant, in_the_end, sql } in questions {
        if in_the_end && !evidence.quiet {
            continue;
        }
        let limited = format!("SELECT * FROM ({sql}) q LIMIT {REPORTED_MAX}");
        let found = sqlx::query_scalar::<_, String>(AssertSqlSafe(limited));
        let found = found.fetch_all(&mut *conn).await;
        let found = found.with_context(|| format!("{invariant}: {sql}"))?;
        violations.extend(found.into_iter().map(|what| Violation { invariant, what }));
    }
    Ok(violations)
}
