//! Asking about read models.

use std::process::ExitCode;

use anyhow::Context as _;
use projections::{ALL, Difference, Projection, parked::Counts};
use sqlx::PgPool;

use crate::terminal::say;

/// Finds a read model by name, or says which there are.
pub fn find(name: &str) -> anyhow::Result<&'static Projection> {
    projections::find(name).with_context(|| {
        let names: Vec<_> = ALL.iter().map(|projection| projection.name).collect();
        format!("no read model `{name}`; there are: {}", names.join(", "))
    })
}

/// Prints every read model's position and how far it is behind the log.
pub async fn status(owner: &PgPool) -> anyhow::Result<()> {
    for lag in projections::lag(owner).await? {
        say(&format!(
            "{:<12} position {:>9}  behind {:>9} events, {:>8.1} s",
            lag.name, lag.position, lag.events, lag.seconds
        ))?;
        let Counts { streams, events } = lag.parked;
        if streams > 0 {
            say(&format!(
                "  {streams} streams PARKED with {events} events: see `conche projections parked list`"
            ))?;
        }
    }
    Ok(())
}

/// Replays the log into a scratch schema and compares with the live tables. Failure if any row
/// differs.
pub async fn verify(owner: &PgPool, name: Option<&str>) -> anyhow::Result<ExitCode> {
    let chosen = match name {
        Some(name) => vec![find(name)?],
        None => ALL.to_vec(),
    };
    let mut clean = true;
    for projection in chosen {
        let differences = projections::verify(owner, projection).await?;
        for Difference { table, side, row } in &differences {
            say(&format!("{table}, only in what is {side}: {row}"))?;
        }
        let name = projection.name;
        if differences.is_empty() {
            let position = projections::position(owner, name).await?;
            say(&format!("{name}: equals a replay of {position} events"))?;
        } else {
            clean = false;
            say(&format!("{name}: DIFFERS from a replay"))?;
        }
    }
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
