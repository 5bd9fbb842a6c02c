//! `conche sagas`.

use std::process::ExitCode;

use event_schemas::ids::{CheckoutId, OrderId, PaymentId, StoreId};
use event_store::pool::Role;
use sagas::StuckProcess;
use serde_json::json;

use crate::{config::Place, database::Database, terminal::say};

/// Lists what does not go on. Failure if anything does not.
pub async fn stuck(place: &Place, as_json: bool) -> anyhow::Result<ExitCode> {
    let database = Database::open_existing(place).await?;
    let found = async {
        database.require_migrated().await?;
        let pool = database.pool(Role::Process).await?;
        let found = sagas::stuck(&pool).await;
        pool.close().await;
        Ok(found?)
    };
    let found: anyhow::Result<Vec<StuckProcess>> = found.await;
    database.close().await?;
    let found = found?;
    for one in &found {
        say(&if as_json { row(one) } else { describe(one) })?;
    }
    if found.is_empty() && !as_json {
        say("nothing is stuck")?;
    }
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn row(one: &StuckProcess) -> String {
    let row = json!({
        "store_id": StoreId(one.store_id),
        "process": one.process,
        "stream": stream(one),
        "attempts": one.attempts,
        "due_at": one.due_at,
        "last_error": one.last_error,
    });
    row.to_string()
}

fn describe(one: &StuckProcess) -> String {
    format!(
        "{:<8} {}  store {}\n  failed {} times, tried again at {}\n  {}",
        one.process,
        stream(one),
        StoreId(one.store_id),
        one.attempts,
        one.due_at.format("%Y-%m-%d %H:%M:%S"),
        one.last_error.as_deref().unwrap_or("it did not say why")
    )
}

fn stream(one: &StuckProcess) -> String {
    match one.process.as_str() {
        "order" => OrderId(one.id).to_string(),
        "payment" => PaymentId(one.id).to_string(),
        _ => CheckoutId(one.id).to_string(),
    }
}
