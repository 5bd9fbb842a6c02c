//! Rebuilding read models beside the live ones.

use std::{io::IsTerminal as _, process::ExitCode, sync::Mutex, time::Duration};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use projections::{ALL, Comparison, Projection, TableDifference};
use serde_json::json;
use sqlx::PgPool;
use tokio::{task::JoinSet, time::Instant};

use super::projections::find;
use crate::{
    config::{Progress, Rebuild},
    terminal::{complain, say},
};

/// Read models that are rebuilt at a time. Each keeps two connections of the server busy and a part
/// of this process.
const AT_A_TIME: usize = 2;

/// Between two lines about the same read model where there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Rows per table and kind that people are shown; `--json` has more.
const ROWS_SHOWN: usize = 3;

/// Builds read models anew, says how they differ, and swaps them in; or brings back what the last
/// rebuild replaced. With `--check` nothing is swapped, and a difference is a failure.
pub async fn rebuild(owner: &PgPool, ask: &Rebuild) -> anyhow::Result<ExitCode> {
    let chosen = match &ask.name {
        Some(name) => vec![find(name)?],
        None => ALL.to_vec(),
    };
    if ask.rollback {
        for projection in chosen {
            roll_back(owner, projection, ask.json).await?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let bars = MultiProgress::new();
    let rebuilding = stream::iter(chosen).map(|projection| {
        let report = Report::new(projection.name, ask, &bars);
        let (owner, check) = (owner.clone(), ask.check);
        async move {
            // A thread each: decoding events is half of the work.
            let mut task = JoinSet::new();
            task.spawn(async move { one(&owner, projection, check, &report).await });
            task.join_next().await.context("one task was spawned")?.context("a task panicked")?
        }
    });
    let differing: Vec<i64> = rebuilding.buffer_unordered(AT_A_TIME).try_collect().await?;
    let differs = differing.into_iter().any(|rows| rows > 0);
    Ok(if ask.check && differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Returns how many rows differ.
async fn one(
    owner: &PgPool,
    projection: &'static Projection,
    check: bool,
    report: &Report,
) -> anyhow::Result<i64> {
    let progress = |done, of| report.progress(done, of);
    let began = Instant::now();
    let mut rebuild = projections::Rebuild::begin(owner, projection).await?;
    let outcome = async {
        let comparison = rebuild.compare(&progress).await?;
        report.differences(&comparison)?;
        if !check {
            let position = rebuild.swap(&progress).await?;
            report.swapped(position, began.elapsed())?;
        }
        anyhow::Ok(comparison.rows())
    };
    let outcome = outcome.await;
    rebuild.end().await;
    report.bar.finish_and_clear();
    outcome
}

async fn roll_back(
    owner: &PgPool,
    projection: &'static Projection,
    as_json: bool,
) -> anyhow::Result<()> {
    let name = projection.name;
    let position = projections::roll_back(owner, projection).await?;
    if as_json {
        say(&json!({ "projection": name, "rolled_back_to": position }).to_string())?;
    } else {
        say(&format!(
            "{name}: the former tables serve again, from position {position}; the projector \
             catches up from there"
        ))?;
    }
    Ok(())
}

/// What people and programs hear of one rebuild.
struct Report {
    name: &'static str,
    json: bool,
    bars: MultiProgress,
    bar: ProgressBar,
    /// Where there is no bar: when the last line was written.
    lines: Option<Mutex<Instant>>,
    began: Instant,
}

impl Report {
    fn new(name: &'static str, ask: &Rebuild, bars: &MultiProgress) -> Report {
        let style = "{msg:<10} {wide_bar} {pos}/{len} events, {per_sec}, {eta} left";
        let style = ProgressStyle::with_template(style).expect("the template is constant");
        let drawn = ask.progress == Progress::Auto && std::io::stderr().is_terminal();
        let bar = if drawn { bars.add(ProgressBar::new(0)) } else { ProgressBar::hidden() };
        let bar = bar.with_style(style).with_message(name);
        let lines = (ask.progress == Progress::Auto && !drawn).then(|| Mutex::new(Instant::now()));
        Report { name, json: ask.json, bars: bars.clone(), bar, lines, began: Instant::now() }
    }

    fn progress(&self, done: u64, of: u64) {
        self.bar.set_length(of);
        self.bar.set_position(done);
        let Some(Ok(mut last)) = self.lines.as_ref().map(|lines| lines.lock()) else { return };
        if last.elapsed() < LINE_EVERY {
            return;
        }
        *last = Instant::now();
        let seconds = self.began.elapsed().as_secs().max(1);
        let rate = (done / seconds).max(1);
        let left = of.saturating_sub(done) / rate;
        complain(&format!("{}: {done} of {of} events, {rate}/s, {left} s left", self.name));
    }

    /// Prints without tearing a bar.
    fn say(&self, lines: &str) -> std::io::Result<()> {
        self.bars.suspend(|| say(lines))
    }

    fn differences(&self, comparison: &Comparison) -> anyhow::Result<()> {
        if self.json {
            let Comparison { position, tables } = comparison;
            let line = json!({ "projection": self.name, "position": position, "tables": tables });
            return Ok(self.say(&line.to_string())?);
        }
        let rows = comparison.rows();
        let mut lines =
            vec![format!("{}, at position {}: {rows} rows differ", self.name, comparison.position)];
        lines.extend(comparison.tables.iter().flat_map(described));
        Ok(self.say(&lines.join("\n"))?)
    }

    fn swapped(&self, position: i64, took: Duration) -> anyhow::Result<()> {
        if self.json {
            let seconds = took.as_secs_f64();
            let line =
                json!({ "projection": self.name, "swapped_at": position, "seconds": seconds });
            return Ok(self.say(&line.to_string())?);
        }
        let (name, seconds) = (self.name, took.as_secs_f64());
        Ok(self.say(&format!("{name}: swapped at position {position} after {seconds:.1} s"))?)
    }
}

/// Lines about a table, none if no row differs.
fn described(table: &TableDifference) -> Vec<String> {
    let TableDifference { table, live_only, rebuilt_only, changed, examples } = table;
    if examples.is_empty() {
        return Vec::new();
    }
    let counts = format!("{changed} rows change, {live_only} go away, {rebuilt_only} are new");
    let mut lines = vec![format!("  {table}: {counts}")];
    for kind in [(true, true), (true, false), (false, true)] {
        let of_kind = examples
            .iter()
            .filter(|example| (example.live.is_some(), example.rebuilt.is_some()) == kind);
        for example in of_kind.take(ROWS_SHOWN) {
            let sides = [('-', &example.live), ('+', &example.rebuilt)];
            let rows = sides.into_iter().filter_map(|(sign, row)| Some((sign, row.as_ref()?)));
            lines.extend(rows.map(|(sign, row)| format!("    {sign} {row}")));
        }
    }
    lines
}
