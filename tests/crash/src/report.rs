//! What came of a run, for people and as one line of JSON.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    time::Duration,
};

use serde::Serialize;

use crate::{
    History, Outcome, Violation,
    points::POINTS,
    tally::{Counts, Spread},
};

/// The invariant that no acknowledged command is lost and none takes effect twice.
const LOST_OR_DOUBLED: &str = "INV-4";

/// What came of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    seed: u64,
    rounds: u64,
    seconds: u64,
    /// Processes of the program that were killed.
    kills: u64,
    #[serde(flatten)]
    counts: Counts,
    /// Milliseconds from the start of a killed process until it served again.
    ready_ms: Spread,
    /// Milliseconds from the death of PostgreSQL until it answered.
    server_ready_ms: Spread,
    /// Milliseconds from the death of PostgreSQL until a command succeeded.
    writes_back_ms: Spread,
    commands: usize,
    requests: usize,
    /// Commands whose outcome no client knows.
    unknown: usize,
    /// Requests by status; 0 are those without an answer.
    answers: BTreeMap<u16, usize>,
    #[serde(serialize_with = "as_texts")]
    pub violations: Vec<Violation>,
}

fn as_texts<S: serde::Serializer>(all: &[Violation], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(all.iter().map(ToString::to_string))
}

impl Report {
    pub(crate) fn new(seed: u64) -> Report {
        Report {
            seed,
            rounds: 0,
            seconds: 0,
            kills: 0,
            counts: Counts::default(),
            ready_ms: Spread::default(),
            server_ready_ms: Spread::default(),
            writes_back_ms: Spread::default(),
            commands: 0,
            requests: 0,
            unknown: 0,
            answers: BTreeMap::new(),
            violations: Vec::new(),
        }
    }

    /// How it stands after some rounds.
    pub(crate) fn note(&mut self, rounds: u64, since: Duration, history: &History, counts: Counts) {
        self.rounds = rounds;
        self.seconds = since.as_secs();
        self.kills = counts.kills();
        self.ready_ms = Spread::of(&counts.ready_ms);
        self.server_ready_ms = Spread::of(&counts.server_ready_ms);
        self.writes_back_ms = Spread::of(&counts.writes_back_ms);
        self.counts = counts;
        self.commands = history.entries.len();
        self.requests = 0;
        self.answers.clear();
        self.unknown = 0;
        for entry in &history.entries {
            self.requests += entry.attempts.len();
            for attempt in &entry.attempts {
                let status = attempt.answer().map_or(0, |answer| answer.status);
                *self.answers.entry(status).or_default() += 1;
            }
            let unknown = |attempt: &crate::Attempt| attempt.outcome == Outcome::Unknown;
            if entry.attempts.iter().all(unknown) {
                self.unknown += 1;
            }
        }
    }

    /// As one line.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { seed, rounds, seconds, kills, counts, .. } = self;
        writeln!(f, "seed {seed}: {rounds} rounds in {seconds} s")?;
        writeln!(f, "\n{:<28} {:>7} {:>12}", "killed at", "times", "not reached")?;
        for point in POINTS {
            let of = |counts: &BTreeMap<&str, u64>| counts.get(point).copied().unwrap_or_default();
            let (killed, missed) = (of(&counts.kills_at), of(&counts.not_reached));
            writeln!(f, "{point:<28} {killed:>7} {missed:>12}")?;
        }
        writeln!(f, "{:<28} {:>7}", "anywhere", counts.kills_anywhere)?;
        writeln!(f, "{:<28} {:>7}", "rebuilding", counts.rebuilds_killed)?;
        writeln!(f, "{:<28} {kills:>7}", "together")?;
        writeln!(f, "\nPostgreSQL killed: {}", counts.server_kills)?;
        let mut cuts = String::new();
        for (place, times) in &counts.cuts {
            write!(cuts, " {place} the server has it {times},")?;
        }
        writeln!(f, "appends cut:{cuts} none came {}", counts.cuts_not_reached)?;
        writeln!(f, "processes paused: {}", counts.pauses)?;
        writeln!(f, "projections built anew: {}", counts.rebuilds)?;
        writeln!(f, "ready again after {}", spread(self.ready_ms))?;
        writeln!(f, "PostgreSQL again after {}", spread(self.server_ready_ms))?;
        writeln!(f, "commands succeed again after {}", spread(self.writes_back_ms))?;
        let Report { commands, requests, unknown, .. } = self;
        writeln!(f, "{commands} commands in {requests} requests, {unknown} of unknown outcome")?;
        writeln!(f, "answers by status (0 is none): {:?}", self.answers)?;
        let lost = self.violations.iter().filter(|it| it.invariant == LOST_OR_DOUBLED).count();
        write!(f, "lost or doubled: {lost}, violations in all: {}", self.violations.len())
    }
}

fn spread(Spread { p50, p99, max }: Spread) -> String {
    format!("{p50} ms (p50), {p99} ms (p99), {max} ms (most)")
}
