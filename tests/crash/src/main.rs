//! `crash`: kills the program in every way there is, and asks whether anything was lost.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use conche::terminal::{announce, complain};
use crash::run::{Settings, run};
use tokio::signal::unix::{SignalKind, signal};

/// Kills processes of the program, its PostgreSQL and the wires between them under load, and
/// checks what must hold whatever happens. Exits with 1 if it does not.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long to make faults.
    #[arg(long, default_value_t = 2)]
    minutes: u64,

    /// From which loads and faults follow.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// End after so many rounds.
    #[arg(long)]
    rounds: Option<u64>,

    /// Clients at once.
    #[arg(long, default_value_t = 12)]
    clients: usize,

    /// Rounds between two checks; there is one at the end.
    #[arg(long, default_value_t = 30)]
    check_every: u64,

    /// The program with its fail points; else `conche-crash` beside this one.
    #[arg(long)]
    conche: Option<PathBuf>,

    /// Keep what the run leaves behind, also when nothing is wrong.
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match made(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("crash: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn made(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { minutes, seed, rounds, clients, check_every, conche, keep } = arguments;
    let conche = match conche {
        Some(conche) => conche,
        None => std::env::current_exe()?.with_file_name("conche-crash"),
    };
    let conche = conche.canonicalize().with_context(|| {
        format!("{} is not built: cargo build -p crash --features failpoints", conche.display())
    })?;
    let folder = tempfile::Builder::new().prefix("conche-crash.").tempdir()?;
    let folder_path = folder.path().to_owned();
    let span = Duration::from_secs(minutes * 60);
    announce(&format!("crash: seed {seed}, {minutes} min, in {}", folder_path.display()));
    let folder_of_run = folder_path.clone();
    let settings =
        Settings { conche, seed, span, rounds, clients, check_every, folder: folder_of_run };
    let mut terminate = signal(SignalKind::terminate())?;
    let report = tokio::select! {
        report = run(&settings) => report,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("told to stop")),
    };
    let good = report.as_ref().is_ok_and(|report| report.violations.is_empty());
    if !good || keep {
        let kept = folder.keep();
        complain(&format!(
            "crash: seed {seed}; journals, logs and data stay in {}",
            kept.display()
        ));
    }
    let report = report?;
    announce(&report.to_string());
    announce(&report.json()?);
    for violation in &report.violations {
        complain(&format!("crash: {violation}"));
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
