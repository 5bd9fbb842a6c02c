//! PostgreSQL's programs as children of this one: `initdb` once, then the server.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, mkdtemp},
};
use tokio::{sync::watch, time::sleep};

use super::{
    EmbeddedError, POLL,
    binaries::Binaries,
    place::{PORT, Place},
};

/// The server's log is put aside at a start when it has grown beyond this, in bytes.
const LOG_MAX: u64 = 10_000_000;
/// What the names of unfinished clusters begin with.
const DRAFT: &str = "postgres.new.";

/// What the program asks of its server. On the command line and not in the cluster's files, so
/// that a newer conche brings its own. The first group is what an event log rests on.
const SERVER_SETTINGS: [&str; 20] = [
    "fsync=on",
    "full_page_writes=on",
    "synchronous_commit=on",
    // Only the socket: who may use it is a matter of file permissions.
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "max_connections=100",
    "shared_buffers=128MB",
    "work_mem=8MB",
    "maintenance_work_mem=64MB",
    // Solid-state disks.
    "random_page_cost=1.1",
    // Statements are short: compiling them costs more than it brings.
    "jit=off",
    // Containers have 64 MB of shared memory, too little for parallel hash joins.
    "max_parallel_workers_per_gather=0",
    // Fewer full pages in the log; what a crash has to replay stays below 1 GB.
    "checkpoint_timeout=10min",
    "max_wal_size=1GB",
    // Under the lock of the log time is dearer than space: what every server can do (`pglz`) halves
    // the appends after each checkpoint and saves a twentieth of the log.
    "wal_compression=off",
    "log_checkpoints=off",
    "log_line_prefix=%m [%p] ",
    "log_timezone=UTC",
    "timezone=UTC",
    "cluster_name=conche",
];

/// A server this program answers for.
#[derive(Debug)]
pub(super) struct Server {
    pid: Pid,
    /// Turns true when a child of ours has ended; absent for a server that was taken over.
    ended: Option<watch::Receiver<bool>>,
}

impl Server {
    /// Starts `postgres`. It may need a while before it answers.
    pub(super) fn spawn(place: &Place, binaries: &Binaries) -> Result<Self, EmbeddedError> {
        let program = binaries.bindir.join("postgres");
        let mut command = command(place, &program, "INT");
        command.arg("-D").arg(place.as_seen_by_server(&place.cluster()));
        let port = format!("port={PORT}");
        for setting in SERVER_SETTINGS.iter().copied().chain([port.as_str()]) {
            command.args(["-c", setting]);
        }
        let mut sockets = std::ffi::OsString::from("unix_socket_directories=\"");
        sockets.push(place.as_seen_by_server(&place.socket_dir()));
        sockets.push("\"");
        command.arg("-c").arg(sockets);
        let log = open_log(place)?;
        let clone = log.try_clone().map_err(EmbeddedError::io("open", &place.log()))?;
        command.stdin(Stdio::null()).stdout(clone).stderr(log);

        let (pid, ended) = keep(command).map_err(EmbeddedError::io("run", &program))?;
        tracing::debug!(%pid, program = %program.display(), "started PostgreSQL");
        Ok(Self { pid, ended: Some(ended) })
    }

    /// A server whose parent is gone.
    pub(super) fn taken_over(pid: Pid) -> Self {
        Self { pid, ended: None }
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Fast shutdown: sessions are ended, a checkpoint is written.
    pub(super) fn ask_to_stop(&self) {
        self.send(Signal::SIGINT);
    }

    /// Immediate shutdown: the next start replays the log.
    pub(super) fn ask_to_quit(&self) {
        self.send(Signal::SIGQUIT);
    }

    /// Completes when the server has ended.
    pub(super) async fn gone(&mut self, place: &Place) {
        match &mut self.ended {
            // An error means that the keeping thread is gone, which it only is after its child.
            Some(ended) => drop(ended.wait_for(|ended| *ended).await),
            None => {
                while place.postmaster().is_ok_and(|pid| pid == Some(self.pid)) {
                    sleep(POLL).await;
                }
            }
        }
    }

    fn send(&self, signal: Signal) {
        if self.ended.as_ref().is_some_and(|it| *it.borrow()) {
            return; // The number may be another program's by now.
        }
        if let Err(error) = kill(self.pid, signal) {
            tracing::debug!(pid = %self.pid, %signal, %error, "PostgreSQL is gone already");
        }
    }
}

/// Makes the cluster. It gets its name only when it is complete and on disk: whoever is killed in
/// between leaves a draft that the next start throws away.
pub(super) fn initdb(place: &Place, binaries: &Binaries) -> Result<(), EmbeddedError> {
    // A name of its own: an orphaned `initdb` may still be writing to an earlier draft, and in a
    // container every start has the same process number.
    let template = place.data_dir.join(format!("{DRAFT}XXXXXX"));
    let fresh = mkdtemp(&template)
        .map_err(|error| EmbeddedError::io("make", &template)(io::Error::from(error)))?;
    place.make_private(&fresh)?;
    // `C.UTF-8` orders by code point and knows upper and lower case; not every system has it.
    let output = match run_initdb(place, binaries, &fresh, "C.UTF-8")? {
        Err(output) if output.contains("locale") => run_initdb(place, binaries, &fresh, "C")?,
        result => result,
    };
    output.map_err(EmbeddedError::Initdb)?;
    fs::rename(&fresh, place.cluster()).map_err(EmbeddedError::io("rename", &fresh))?;
    File::open(&place.data_dir)
        .and_then(|it| it.sync_all())
        .map_err(EmbeddedError::io("write to disk", &place.data_dir))
}

/// The inner error is what `initdb` said.
fn run_initdb(
    place: &Place,
    binaries: &Binaries,
    directory: &Path,
    locale: &str,
) -> Result<Result<(), String>, EmbeddedError> {
    let program = binaries.bindir.join("initdb");
    let output = command(place, &program, "KILL")
        .args(["--username=postgres", "--auth=trust", "--data-checksums", "--encoding=UTF8"])
        .arg(format!("--locale={locale}"))
        .arg("-D")
        .arg(place.as_seen_by_server(directory))
        .stdin(Stdio::null())
        .output()
        .map_err(EmbeddedError::io("run", &program))?;
    if output.status.success() {
        return Ok(Ok(()));
    }
    let said = [output.stdout, output.stderr].concat();
    Ok(Err(String::from_utf8_lossy(&said).trim_end().to_owned()))
}

/// Throws away what killed starts left. The children of a killed `initdb` may go on writing for a
/// moment and make the removal fail: that is no reason not to start, a later one removes the rest.
pub(super) fn remove_drafts(place: &Place) {
    let Ok(entries) = fs::read_dir(&place.data_dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_name().as_bytes().starts_with(DRAFT.as_bytes())
            && let Err(error) = fs::remove_dir_all(&path)
        {
            tracing::info!(draft = %path.display(), %error, "the next start removes it");
        }
    }
}

/// A program of PostgreSQL's as a child: as the right user, out of reach of the terminal's Ctrl-C
/// (conche stops it in its own order) and, on Linux, not outliving conche.
fn command(place: &Place, program: &Path, signal_at_our_death: &str) -> Command {
    let mut command = match setpriv() {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", signal_at_our_death, "--"]).arg(program);
            command
        }
        None => Command::new(program),
    };
    // A user's PGDATA, PGPORT or PGOPTIONS must not change what this cluster is.
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
    command.current_dir("/").process_group(0);
    if let Some(account) = &place.account {
        command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
    }
    command
}

/// util-linux's program that sets the parent-death signal; the call itself would need `unsafe`.
/// Without it an orphaned server is taken over at the next start.
fn setpriv() -> Option<&'static str> {
    ["/usr/bin/setpriv", "/bin/setpriv"].into_iter().find(|program| {
        let help = Command::new(program).arg("--help").output();
        help.is_ok_and(|it| String::from_utf8_lossy(&it.stdout).contains("--pdeathsig"))
    })
}

/// Starts a child from a thread that lives as long as it: the parent-death signal comes when the
/// *thread* that started it ends, and a runtime's threads come and go.
fn keep(mut command: Command) -> io::Result<(Pid, watch::Receiver<bool>)> {
    let (started, start) = mpsc::channel();
    let (ended, end) = watch::channel(false);
    thread::Builder::new().name("postgres".to_owned()).spawn(move || {
        let mut child: Child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return drop(started.send(Err(error))),
        };
        let pid = i32::try_from(child.id()).expect("a process id is an i32");
        drop(started.send(Ok(Pid::from_raw(pid))));
        match child.wait() {
            Ok(status) => tracing::debug!(%status, "PostgreSQL ended"),
            Err(error) => tracing::warn!(%error, "waiting for PostgreSQL"),
        }
        ended.send_replace(true);
    })?;
    let pid = start.recv().map_err(io::Error::other)??;
    Ok((pid, end))
}

fn open_log(place: &Place) -> Result<File, EmbeddedError> {
    let path = place.log();
    if place.log_length() > LOG_MAX {
        let old = path.with_extension("log.old");
        fs::rename(&path, old).map_err(EmbeddedError::io("put aside", &path))?;
    }
    // It quotes statements, and those may hold names and addresses of customers.
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    file.map_err(EmbeddedError::io("open", &path))
}
