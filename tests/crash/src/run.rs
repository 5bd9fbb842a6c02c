//! A whole run: rounds of faults under load, and the questions in between.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use conche::terminal::announce;
use fastrand::Rng;

use crate::{
    Attempt, Evidence, History, Violation, checks, faults,
    fleet::Fleet,
    load::{Load, Working},
    plan::Plan,
    process::Program,
    quiet,
    report::Report,
    server::Server,
};

/// What is asked of a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program, built with its fail points.
    pub conche: PathBuf,
    pub seed: u64,
    /// How long faults are made.
    pub span: Duration,
    /// How many rounds at most.
    pub rounds: Option<u64>,
    /// Clients at once.
    pub clients: usize,
    /// Rounds between two times of asking.
    pub check_every: u64,
    /// New folder for everything that the run leaves behind.
    pub folder: PathBuf,
}

/// Rounds between two lines that say how far it is.
const SAY_EVERY: u64 = 10;

/// Makes a run from beginning to end. The folder stays.
pub async fn run(settings: &Settings) -> anyhow::Result<Report> {
    let (journals, logs) = (settings.folder.join("journals"), settings.folder.join("logs"));
    let data = settings.folder.join("data");
    for folder in [&settings.folder, &journals, &logs, &data] {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        // PostgreSQL runs under another account if we are root.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    }
    let server = Server::start(&data).await?;
    let program = Program { conche: settings.conche.clone(), data, logs };
    let fleet = Arc::new(Fleet::new(server, program).await?);
    let outcome = rounds(settings, &fleet, &journals).await;
    fleet.stop().await;
    let stopped = fleet.server.stop().await;
    let report = outcome?;
    stopped?;
    Ok(report)
}

async fn rounds(
    settings: &Settings,
    fleet: &Arc<Fleet>,
    journals: &Path,
) -> anyhow::Result<Report> {
    let mut rng = Rng::with_seed(settings.seed);
    let mut plan = Plan::new(rng.u64(..));
    fleet.heal().await?;
    fleet.tally.forget_times();
    let mut load = Load::prepare(fleet, journals, settings.clients, &mut rng).await?;
    let (began, mut done) = (Instant::now(), 0);
    let mut report = Report::new(settings.seed);
    let over = |done| {
        settings.rounds.is_some_and(|rounds| rounds <= done) || settings.span <= began.elapsed()
    };
    while !over(done) {
        let mut working = load.start();
        loop {
            one_round(fleet, &mut plan, &mut working).await?;
            done += 1;
            if done.is_multiple_of(SAY_EVERY) {
                announce(&progress(fleet, done, began.elapsed()));
            }
            if done.is_multiple_of(settings.check_every) || over(done) {
                break;
            }
        }
        // Everything runs again: whoever still repeats a command is answered now.
        load = working.stop().await?;
        let (history, violations) = look(fleet, journals).await?;
        report.note(done, began.elapsed(), &history, fleet.tally.so_far());
        if !violations.is_empty() {
            report.violations = violations;
            return Ok(report);
        }
    }
    Ok(report)
}

async fn one_round(fleet: &Fleet, plan: &mut Plan, working: &mut Working) -> anyhow::Result<()> {
    let lanes = plan.round();
    tokio::select! {
        done = faults::round(fleet, &lanes) => done.with_context(|| format!("in {lanes:?}")),
        error = working.failed() => Err(error.context("a client failed")),
    }
}

/// Waits until all is quiet and asks everything there is to ask.
async fn look(fleet: &Fleet, journals: &Path) -> anyhow::Result<(History, Vec<Violation>)> {
    let pg = fleet.server.options();
    let undone = quiet::wait(&pg).await?;
    let quiet = undone.is_empty();
    let late = undone.into_iter().map(|what| Violation { invariant: "INV-14", what });
    let mut violations: Vec<Violation> = late.collect();
    let evidence = Evidence { pg, history: History::read(journals)?, quiet };
    violations.extend(our_fault(&evidence.history));
    violations.extend(checks::all(&evidence).await?);
    Ok((evidence.history, violations))
}

/// Whatever happens to the program, it has an answer for it.
fn our_fault(history: &History) -> impl Iterator<Item = Violation> {
    let attempts = history.entries.iter().flat_map(|entry| {
        let answers = entry.attempts.iter().filter_map(Attempt::answer);
        answers.map(move |answer| (entry, answer))
    });
    attempts.filter(|(_, answer)| answer.status == 500).map(|(entry, answer)| {
        let what = format!("{} {} was answered 500, {:?}", entry.key, entry.path, answer.code);
        Violation { invariant: "INV-10", what }
    })
}

fn progress(fleet: &Fleet, round: u64, since: Duration) -> String {
    let counts = fleet.tally.so_far();
    format!(
        "{:>5} s, round {round}: {} processes and {} servers killed, {} points not reached",
        since.as_secs(),
        counts.kills(),
        counts.server_kills,
        counts.not_reached.values().sum::<u64>(),
    )
}
