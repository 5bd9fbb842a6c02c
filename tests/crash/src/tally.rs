//! What was done to the program, and how long it took to come back.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::sync::watch;

use crate::proxy::Cut;

/// Counts of a run. Every lane adds to it.
#[derive(Debug)]
pub(crate) struct Tally {
    counts: Mutex<Counts>,
    /// Requests that were answered with success.
    answered: watch::Sender<u64>,
}

/// How often each thing was done.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Counts {
    /// Deaths at a fail point, by its name.
    pub(crate) kills_at: BTreeMap<&'static str, u64>,
    /// Processes that did not come to their fail point in time, by its name.
    pub(crate) not_reached: BTreeMap<&'static str, u64>,
    /// Deaths by `kill -9` from outside, at no point in particular.
    pub(crate) kills_anywhere: u64,
    /// Deaths of PostgreSQL with all its children.
    pub(crate) server_kills: u64,
    /// Appends whose wire was cut, by where.
    pub(crate) cuts: BTreeMap<&'static str, u64>,
    /// Cuts for which no append came.
    pub(crate) cuts_not_reached: u64,
    /// Processes that stood still for a while.
    pub(crate) pauses: u64,
    /// Projections that were built anew, and those whose builder was killed.
    pub(crate) rebuilds: u64,
    pub(crate) rebuilds_killed: u64,
    /// Milliseconds from the start of a process until it served.
    #[serde(skip)]
    pub(crate) ready_ms: Vec<u64>,
    /// Milliseconds from the death of PostgreSQL until it answered again.
    #[serde(skip)]
    pub(crate) server_ready_ms: Vec<u64>,
    /// Milliseconds from the death of PostgreSQL until a command was answered with success.
    #[serde(skip)]
    pub(crate) writes_back_ms: Vec<u64>,
}

impl Tally {
    pub(crate) fn new() -> Tally {
        Tally { counts: Mutex::default(), answered: watch::Sender::new(0) }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client was answered with success.
    pub(crate) fn answered(&self) {
        self.answered.send_modify(|answered| *answered += 1);
    }

    /// Changes with every answer that is a success.
    pub(crate) fn answers(&self) -> watch::Receiver<u64> {
        self.answered.subscribe()
    }

    pub(crate) fn crash(&self, point: &'static str, reached: bool) {
        let mut counts = self.counts();
        let of = if reached { &mut counts.kills_at } else { &mut counts.not_reached };
        *of.entry(point).or_default() += 1;
    }

    pub(crate) fn kill(&self) {
        self.counts().kills_anywhere += 1;
    }

    pub(crate) fn server_kill(&self, ready: Duration) {
        let mut counts = self.counts();
        counts.server_kills += 1;
        counts.server_ready_ms.push(millis(ready));
    }

    pub(crate) fn writes_back(&self, after: Duration) {
        self.counts().writes_back_ms.push(millis(after));
    }

    pub(crate) fn cut(&self, cut: Cut, reached: bool) {
        let mut counts = self.counts();
        if reached {
            *counts.cuts.entry(cut.name()).or_default() += 1;
        } else {
            counts.cuts_not_reached += 1;
        }
    }

    pub(crate) fn rebuild(&self, done: bool) {
        let mut counts = self.counts();
        let of = if done { &mut counts.rebuilds } else { &mut counts.rebuilds_killed };
        *of += 1;
    }

    pub(crate) fn pause(&self) {
        self.counts().pauses += 1;
    }

    pub(crate) fn ready(&self, after: Duration) {
        self.counts().ready_ms.push(millis(after));
    }

    /// Forgets the times so far: of the first starts, which follow no crash.
    pub(crate) fn forget_times(&self) {
        self.counts().ready_ms.clear();
    }

    pub(crate) fn so_far(&self) -> Counts {
        self.counts().clone()
    }
}

impl Counts {
    /// Deaths of processes of the program, wherever they came.
    pub(crate) fn kills(&self) -> u64 {
        self.kills_at.values().sum::<u64>() + self.kills_anywhere + self.rebuilds_killed
    }
}

/// Median, 99th percentile and maximum of some times in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Spread {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

impl Spread {
    pub(crate) fn of(times: &[u64]) -> Spread {
        let mut times = times.to_vec();
        times.sort_unstable();
        let at =
            |percent: usize| times.get((times.len().saturating_sub(1) * percent).div_ceil(100));
        let at = |percent| at(percent).copied().unwrap_or_default();
        Spread { p50: at(50), p99: at(99), max: at(100) }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_what_was_measured() {
        let times: Vec<u64> = (1..=200).rev().collect();
        let Spread { p50, p99, max } = Spread::of(&times);
        assert_eq!((p50, p99, max), (101, 199, 200));
        assert_eq!(Spread::of(&[]).max, 0);
    }
}
