//! One process of the program: started, killed, paused, waited for.

use std::{
    fs::OpenOptions,
    io::{self, BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Sender},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{sync::watch, time::timeout};

/// What all processes of a run have in common.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// Built with its fail points.
    pub(crate) conche: PathBuf,
    /// Where its token key is.
    pub(crate) data: PathBuf,
    /// Where its complaints go.
    pub(crate) logs: PathBuf,
}

/// A running process, in a process group of its own. It is killed when this is dropped, and when
/// the harness dies.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    /// The line that says that it is ready; the channel's other end goes when the process does.
    greeting: watch::Receiver<Option<String>>,
    ended: watch::Receiver<Option<ExitStatus>>,
}

impl Program {
    /// The program with `arguments`, about the database at `url`.
    pub(crate) fn command(&self, url: &str, arguments: &[&str]) -> Command {
        let mut command = if setpriv() {
            let mut command = Command::new(SETPRIV);
            command.args(["--pdeathsig", "KILL", "--"]).arg(&self.conche);
            command
        } else {
            Command::new(&self.conche)
        };
        command.args(arguments).arg("--data-dir").arg(&self.data).env("DATABASE_URL", url);
        command.env_remove("CRASH_AT").env_remove("CONCHE_LOG").process_group(0);
        command
    }

    /// Starts it as a role. `name` is that of its log.
    pub(crate) fn start(&self, name: &str, mut command: Command) -> anyhow::Result<Process> {
        let log = self.logs.join(format!("{name}.log"));
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        Process::keep(command).with_context(|| format!("starting {}", self.conche.display()))
    }
}

const SETPRIV: &str = "/usr/bin/setpriv";

/// Whether util-linux can tie a child's life to ours.
fn setpriv() -> bool {
    cfg!(target_os = "linux") && Path::new(SETPRIV).exists()
}

impl Process {
    /// Starts a child from a thread that lives as long as it: the parent-death signal comes when
    /// the *thread* that started it ends.
    fn keep(command: Command) -> io::Result<Process> {
        let (greet, greeting) = watch::channel(None);
        let (end, ended) = watch::channel(None);
        let (started, start) = mpsc::channel();
        thread::Builder::new().name("child".to_owned()).spawn(move || {
            let status = mind(command, &started, &greet);
            drop(greet);
            end.send_replace(status);
        })?;
        let pid = start.recv().map_err(io::Error::other)??;
        Ok(Process { pid, greeting, ended })
    }

    /// What it says once it is ready; `None` if it ends before, or does not come to it in time.
    pub(crate) async fn ready(&mut self, patience: Duration) -> Option<String> {
        let said = timeout(patience, self.greeting.wait_for(Option::is_some)).await;
        said.ok()?.ok()?.clone()
    }

    /// Whether it has ended by itself within that time.
    pub(crate) async fn ends_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let ended = timeout(patience, self.ended.wait_for(Option::is_some)).await;
        *ended.ok()?.ok()?
    }

    /// As `kill -9`; returns when it is gone.
    pub(crate) async fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.ended.wait_for(Option::is_some).await;
    }

    /// Sends a signal, unless it has ended: its number may be another's by now.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.ended.borrow().is_none() {
            // Gone in this very moment: as good as signalled.
            let _ = killpg(self.pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// Starts a child, passes its greeting on and waits for its end.
fn mind(
    mut command: Command,
    started: &Sender<io::Result<Pid>>,
    greet: &watch::Sender<Option<String>>,
) -> Option<ExitStatus> {
    let mut child: Child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let _ = started.send(Err(error));
            return None;
        }
    };
    let pid = i32::try_from(child.id()).expect("a process id is an i32");
    let _ = started.send(Ok(Pid::from_raw(pid)));
    let output = child.stdout.take().expect("standard output is piped");
    let mut lines = BufReader::new(output).lines();
    if let Some(Ok(line)) = lines.next() {
        greet.send_replace(Some(line));
    }
    // A reader must stay, or the next line would end the process.
    lines.by_ref().for_each(drop);
    child.wait().ok()
}
