//! One measurement: a load, warmed up, and what it used while it was watched.

use std::{future::Future, time::Duration};

use serde::Serialize;

use crate::{
    figures::{Latency, count, rounded},
    load::Closed,
    place::{Counters, Place},
};

/// How long to measure, and how long to wait before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spans {
    pub(super) warm_up: Duration,
    pub(super) span: Duration,
}

/// What a load came to.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    /// Commands answered per second.
    pub(super) commands: f64,
    /// Of one call: a command, or an append of many.
    pub(super) latency: Latency,
    /// Appends per second; 0 for who does not write to our log.
    pub(super) appends: f64,
    pub(super) events_per_append: f64,
    /// Processor seconds per 1,000 commands, of this process and of PostgreSQL.
    pub(super) own_cpu: f64,
    pub(super) postgres_cpu: f64,
    /// Share of the time of all cores in which they worked.
    pub(super) busy: f64,
    /// Flushes of the write-ahead log per second, and share of the time in which one ran. Above 1
    /// if several sessions wait for one.
    pub(super) flushes: f64,
    pub(super) flushing: f64,
}

/// Clients in a closed loop, each warm after `warm_turns`; see [`Closed`].
pub(super) async fn closed<F>(
    place: &mut Place,
    spans: Spans,
    (clients, warm_turns): (usize, u64),
    act: impl Fn(usize, u64) -> F + Clone + Send + 'static,
) -> anyhow::Result<Figures>
where
    F: Future<Output = anyhow::Result<u32>> + Send + 'static,
{
    let mut load = Closed::start(clients, warm_turns, act);
    load.warm(spans.warm_up).await?;
    let before = place.counters().await?;
    let from = load.go_on(Duration::ZERO).await?;
    let through = load.go_on(spans.span).await?;
    let after = place.counters().await?;
    let (samples, _) = load.finish().await?;
    let (events, appends) = place.appended(before.head, after.head).await?;
    let within = samples.iter().filter(|sample| from < sample.ended && sample.ended <= through);
    let (mut commands, mut latencies) = (0, Vec::new());
    for sample in within {
        commands += u64::from(sample.commands);
        latencies.push(sample.took);
    }
    let seconds = through.saturating_sub(from).as_secs_f64();
    Ok(Figures::of(commands, Latency::of(latencies), (events, appends), (before, after), seconds))
}

impl Figures {
    fn of(
        commands: u64,
        latency: Latency,
        (events, appends): (u64, u64),
        (before, after): (Counters, Counters),
        seconds: f64,
    ) -> Figures {
        let (cpu, cpu_before) = (after.cpu, before.cpu);
        let per_thousand = |used: f64| rounded(used / count(commands.max(1)) * 1e3);
        Figures {
            commands: rounded(count(commands) / seconds),
            latency,
            appends: rounded(count(appends) / seconds),
            events_per_append: rounded(count(events) / count(appends.max(1))),
            own_cpu: per_thousand(cpu.own - cpu_before.own),
            postgres_cpu: per_thousand(cpu.postgres - cpu_before.postgres),
            busy: rounded((cpu.busy - cpu_before.busy) / (cpu.total - cpu_before.total).max(0.01)),
            flushes: rounded((after.flushes - before.flushes) / seconds),
            flushing: rounded((after.flushing - before.flushing) / seconds),
        }
    }
}
