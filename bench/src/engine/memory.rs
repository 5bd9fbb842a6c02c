//! Whether memory stays flat: many commands over more streams than the cache holds.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use anyhow::Context as _;
use serde::Serialize;
use tokio::task::JoinSet;

use super::{closed::Bench, driver::Driver};
use crate::{
    figures::{count, rounded},
    usage::memory_mib,
};

/// Clients at once.
const CLIENTS: usize = 512;
/// Commands that each stream gets, shortly after each other, and then never again.
const COMMANDS_PER_STREAM: u64 = 4;
/// Times memory is looked at.
const LOOKS: u64 = 20;

#[derive(Clone, Debug, Serialize)]
pub(super) struct Memory {
    pub(super) commands: u64,
    pub(super) streams: u64,
    pub(super) commands_per_second: f64,
    /// Resident memory of this process in MiB: before, then after each twentieth of the commands.
    pub(super) mib: Vec<f64>,
}

impl Memory {
    /// After a part of the commands.
    pub(super) fn at_percent(&self, percent: usize) -> f64 {
        self.mib.get(self.mib.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
    }
}

impl Bench<'_> {
    /// Carries out `commands` commands with one engine.
    pub(super) async fn memory(&mut self, commands: u64) -> anyhow::Result<Memory> {
        let began = std::time::Instant::now();
        let driver = Driver::new(&self.place.database, self.texts).await?;
        let mut mib = vec![rounded(memory_mib("self")?)];
        let next = Arc::new(AtomicU64::new(0));
        for look in 1..=LOOKS {
            let through = commands * look / LOOKS;
            let mut clients: JoinSet<anyhow::Result<()>> = JoinSet::new();
            for _ in 0..CLIENTS {
                let (driver, next) = (driver.clone(), next.clone());
                clients.spawn(async move {
                    loop {
                        let turn = next.fetch_add(1, Relaxed);
                        if through <= turn {
                            return Ok(());
                        }
                        driver.deposit(stream(turn), turn).await?;
                    }
                });
            }
            while let Some(ended) = clients.join_next().await {
                ended.context("a client panicked")??;
            }
            next.store(through, Relaxed);
            self.place.maintain().await?;
            mib.push(rounded(memory_mib("self")?));
        }
        driver.close().await;
        self.place.quiet().await?;
        let commands_per_second = rounded(count(commands) / began.elapsed().as_secs_f64());
        Ok(Memory { commands, streams: commands / COMMANDS_PER_STREAM, commands_per_second, mib })
    }
}

/// The stream of a command, without keeping millions of ids.
fn stream(turn: u64) -> uuid::Uuid {
    uuid::Uuid::from_u64_pair(turn / COMMANDS_PER_STREAM + 1, 0)
}
