//! A private PostgreSQL cluster below the data directory, for `conche up` without `DATABASE_URL`.
//!
//! ```text
//! <data dir>/postgres/      the cluster (0700)
//! <data dir>/run/           its unix socket (0700); the server does not listen on TCP
//! <data dir>/postgres.log   what the server says; the log before it as postgres.log.old
//! <data dir>/conche.lock    held by the program that started the server
//! ```
//!
//! Who may connect is decided by the file system: only the owner of the directory, and root.
//! A `kill -9` at any moment is recovered at the next start: a half-made cluster is made anew,
//! an orphaned server is taken over, a crashed one replays its write-ahead log.

mod binaries;
mod place;
mod server;

use std::{
    ffi::OsString,
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::unistd::Uid;
use sqlx::{
    Connection as _, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::time::{Instant, sleep, timeout};

use self::{place::Place, server::Server};

/// The database of the program in its own cluster.
pub const DATABASE: &str = "conche";

/// How long a server may take to answer. Replaying 1 GB of write-ahead log (`max_wal_size`) on a
/// slow disk is the longest honest start.
const START_DEADLINE: Duration = Duration::from_mins(2);
/// How long the last shut-down checkpoint may take before the server is stopped without one.
const STOP_DEADLINE: Duration = Duration::from_mins(1);
/// How long a server may take to quit without a checkpoint.
const QUIT_DEADLINE: Duration = Duration::from_secs(10);
/// How long backends of a killed server may keep its shared memory.
const ORPHAN_DEADLINE: Duration = Duration::from_secs(10);
/// One attempt to connect: the socket is local, so a slow answer means a busy start.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two looks at a server that is starting or stopping.
const POLL: Duration = Duration::from_millis(50);
/// Between two looks at a server that another program answers for.
const ADOPTED_POLL: Duration = Duration::from_millis(500);

/// Where the cluster lives and where to look for PostgreSQL's programs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Made if missing.
    pub data_dir: PathBuf,
    /// `PG_BINDIR`: the only folder to look in, when given.
    pub pg_bindir: Option<PathBuf>,
    /// `PATH`: looked through after the usual places.
    pub path: Option<OsString>,
}

/// Why there is no cluster to work with. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error(
        "no PostgreSQL 15 or newer found{}; install it (Debian, Ubuntu: `apt-get install postgresql`; \
         macOS: `brew install postgresql@17`), name its folder in PG_BINDIR, or name a running server \
         in DATABASE_URL",
        .found.as_deref().map(|it| format!(" (only {it})")).unwrap_or_default()
    )]
    NotInstalled { found: Option<String> },

    #[error("PG_BINDIR is {}, but there is no `postgres` and `initdb` of version 15 or newer", .0.display())]
    Bindir(PathBuf),

    #[error(
        "{} was made by PostgreSQL {cluster}, but this machine has {installed}; install PostgreSQL \
         {cluster} beside it (Debian, Ubuntu: `apt-get install postgresql-{cluster}`), move the \
         cluster with `pg_upgrade`, or use another data directory",
        .directory.display()
    )]
    OtherVersion { directory: PathBuf, cluster: String, installed: String },

    #[error(
        "{} belongs to another user; run conche as that user or as root, or use another data directory",
        .0.display()
    )]
    OtherOwner(PathBuf),

    #[error(
        "{} belongs to root, but PostgreSQL refuses to run as root; give it away: \
         `chown -R {user} {}`",
        .directory.display(), .directory.display()
    )]
    OwnedByRoot { directory: PathBuf, user: String },

    #[error(
        "PostgreSQL refuses to run as root, and neither user `postgres` nor `nobody` exists; make \
         one (`useradd --system postgres`) or run conche as an ordinary user"
    )]
    NoAccount,

    #[error(
        "user `{user}`, as whom PostgreSQL has to run, cannot enter {}; use a data directory \
         elsewhere, for example /var/lib/conche, or open the folder: `chmod o+x {}`",
        .directory.display(), .directory.display()
    )]
    Unreachable { directory: PathBuf, user: String },

    #[error(
        "another conche holds {}, but its PostgreSQL does not answer; wait for it or stop it",
        .0.display()
    )]
    Busy(PathBuf),

    #[error("initdb failed:\n{0}")]
    Initdb(String),

    #[error("PostgreSQL did not start; the end of {}:\n{tail}", .log.display())]
    DidNotStart { log: PathBuf, tail: String },

    #[error("PostgreSQL did not answer within {} s; see {}", START_DEADLINE.as_secs(), .log.display())]
    NoAnswer { log: PathBuf },

    #[error("PostgreSQL (process {pid}) did not stop; see {}", .log.display())]
    DidNotStop { pid: i32, log: PathBuf },

    #[error("cannot {action} {}", .path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },

    #[error("PostgreSQL refused to {action}")]
    Database { action: &'static str, source: sqlx::Error },
}

impl EmbeddedError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// How this program came by its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Started by this program, which stops it at its end.
    Started,
    /// Left behind by a program that was killed. This program has taken its place and stops it.
    TakenOver,
    /// Another running program started it, and will stop it.
    Adopted,
}

/// A server that answers, with database `conche`.
///
/// Call [`Cluster::stop`] at the end. Dropping it only asks the server to stop, without waiting.
#[derive(Debug)]
pub struct Cluster {
    place: Place,
    origin: Origin,
    /// Absent once stopped, and for a server that is another program's to stop.
    server: Option<Server>,
    /// Held as long as this program answers for the server; the kernel lets go of it when we die.
    _lock: Option<File>,
}

impl Cluster {
    /// How this program came by the server.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Where the data is.
    pub fn data_dir(&self) -> &Path {
        &self.place.data_dir
    }

    /// As superuser `postgres`; the pools take a lesser role after connecting.
    pub fn connect_options(&self, database: &str) -> PgConnectOptions {
        connect_options(&self.place.socket_dir(), database)
    }

    /// The same as a `DATABASE_URL`, which sqlx and `psql` understand.
    pub fn url(&self, database: &str) -> String {
        let dir = self.place.socket_dir();
        format!("postgres://postgres@localhost/{database}?host={}", percent_encoded(&dir))
    }

    /// Completes when the server has ended by itself, or an adopted one with its own program.
    pub async fn exited(&mut self) {
        match &mut self.server {
            Some(server) => server.gone(&self.place).await,
            None => {
                // Nobody tells us of another program's child.
                while self.place.postmaster().is_ok_and(|pid| pid.is_some()) {
                    sleep(ADOPTED_POLL).await;
                }
            }
        }
    }

    /// Disconnects everyone, writes a checkpoint and waits for the server to end. An adopted server
    /// is left alone.
    pub async fn stop(mut self) -> Result<(), EmbeddedError> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        server.ask_to_stop();
        if timeout(STOP_DEADLINE, server.gone(&self.place)).await.is_err() {
            tracing::warn!("PostgreSQL is slow to stop; the next start will replay its log");
            server.ask_to_quit();
            timeout(QUIT_DEADLINE, server.gone(&self.place)).await.map_err(|_| {
                EmbeddedError::DidNotStop { pid: server.pid().as_raw(), log: self.place.log() }
            })?;
        }
        self.place.leave_no_socket_folder();
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.ask_to_stop();
        }
    }
}

/// The data directory when none is named: `/var/lib/conche` for root, else below the user's own
/// data folder (`XDG_DATA_HOME`, `HOME`), else below the current one.
pub fn default_data_dir(xdg_data_home: Option<PathBuf>, home: Option<PathBuf>) -> PathBuf {
    if Uid::effective().is_root() {
        return PathBuf::from("/var/lib/conche");
    }
    let in_home = || home.filter(|it| it.is_absolute()).map(|it| it.join(".local/share"));
    let base = xdg_data_home.filter(|it| it.is_absolute()).or_else(in_home);
    base.map_or_else(|| PathBuf::from(".conche"), |it| it.join("conche"))
}

/// Brings up the cluster of a data directory: makes it if missing, starts it, or finds the server
/// that is running there already. Returns when database `conche` answers; needs up to
/// [`START_DEADLINE`] after a crash.
pub async fn start(settings: &Settings) -> Result<Cluster, EmbeddedError> {
    let place = Place::prepare(&settings.data_dir)?;
    let deadline = Instant::now() + START_DEADLINE;
    loop {
        if let Some(lock) = place.try_lock()? {
            return own(settings, place, lock).await;
        }
        if let Answer::Yes = answer(&place).await? {
            create_database(&place.socket_dir()).await?;
            return Ok(Cluster { place, origin: Origin::Adopted, server: None, _lock: None });
        }
        if Instant::now() > deadline {
            return Err(EmbeddedError::Busy(place.data_dir.clone()));
        }
        sleep(POLL).await;
    }
}

/// The running cluster of a data directory, for a command that only wants to talk to it; waits for
/// one that is just starting. `None` if there is none.
pub async fn running(data_dir: &Path) -> Result<Option<PgConnectOptions>, EmbeddedError> {
    let Some(place) = Place::find(data_dir)? else { return Ok(None) };
    if let Answer::NoServer = answer(&place).await? {
        return Ok(None);
    }
    // Its own program may not have come to that yet.
    create_database(&place.socket_dir()).await?;
    Ok(Some(connect_options(&place.socket_dir(), DATABASE)))
}

/// As the holder of the lock: no other conche starts or stops a server here.
async fn own(settings: &Settings, mut place: Place, lock: File) -> Result<Cluster, EmbeddedError> {
    let mut origin = Origin::Started;
    let server = match (answer(&place).await?, place.postmaster()?) {
        (Answer::Yes, Some(pid)) => {
            origin = Origin::TakenOver;
            Server::taken_over(pid)
        }
        (Answer::Yes | Answer::NoServer, _) => launch(settings, &place).await?,
    };
    place.close_door();
    let cluster = Cluster { place, origin, server: Some(server), _lock: Some(lock) };
    create_database(&cluster.place.socket_dir()).await?;
    Ok(cluster)
}

/// Makes the cluster if there is none, starts the server and waits until it answers.
async fn launch(settings: &Settings, place: &Place) -> Result<Server, EmbeddedError> {
    let binaries = binaries::find(settings, place.version()?.as_deref(), &place.cluster())?;
    server::remove_drafts(place);
    if place.version()?.is_none() {
        tracing::info!(directory = %place.cluster().display(), "making a PostgreSQL cluster");
        server::initdb(place, &binaries)?;
        // Whoever was still writing to an earlier draft has ended by now.
        server::remove_drafts(place);
    }
    place.forget_recycled_pid()?;
    let first_try = Instant::now();
    loop {
        let said_before = place.log_length();
        let mut server = Server::spawn(place, &binaries)?;
        let ended = tokio::select! {
            () = server.gone(place) => true,
            answered = until_answered(place) => {
                answered?;
                false
            }
        };
        if !ended {
            return Ok(server);
        }
        let tail = place.log_after(said_before);
        // The sessions of a server that was killed need a moment to notice and let go.
        let held = tail.contains("shared memory block") || tail.contains("postmaster.pid");
        if !held || first_try.elapsed() > ORPHAN_DEADLINE {
            return Err(EmbeddedError::DidNotStart { log: place.log(), tail });
        }
        sleep(POLL * 4).await;
    }
}

async fn until_answered(place: &Place) -> Result<(), EmbeddedError> {
    let deadline = Instant::now() + START_DEADLINE;
    while Instant::now() < deadline {
        if connect(&place.socket_dir(), "postgres").await.is_ok() {
            return Ok(());
        }
        sleep(POLL).await;
    }
    Err(EmbeddedError::NoAnswer { log: place.log() })
}

enum Answer {
    Yes,
    NoServer,
}

/// Asks the server that is recorded in the cluster, as long as it is alive and starting or ending.
async fn answer(place: &Place) -> Result<Answer, EmbeddedError> {
    let deadline = Instant::now() + START_DEADLINE;
    while place.postmaster()?.is_some() {
        if connect(&place.socket_dir(), "postgres").await.is_ok() {
            return Ok(Answer::Yes);
        }
        if Instant::now() > deadline {
            return Err(EmbeddedError::NoAnswer { log: place.log() });
        }
        sleep(POLL).await;
    }
    Ok(Answer::NoServer)
}

fn connect_options(socket_dir: &Path, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host("localhost")
        .socket(socket_dir)
        .port(place::PORT)
        .username("postgres")
        .database(database)
        .ssl_mode(PgSslMode::Disable)
}

async fn connect(socket_dir: &Path, database: &str) -> Result<PgConnection, sqlx::Error> {
    let options = connect_options(socket_dir, database);
    timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options))
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Makes database `conche` unless it is there; two programs may do so at once.
async fn create_database(socket_dir: &Path) -> Result<(), EmbeddedError> {
    let refused = |source| EmbeddedError::Database { action: "make database `conche`", source };
    let mut connection = connect(socket_dir, "postgres").await.map_err(refused)?;
    let found: Option<i32> =
        sqlx::query_scalar("SELECT 1 FROM pg_database WHERE datname = 'conche'")
            .fetch_optional(&mut connection)
            .await
            .map_err(refused)?;
    if found.is_none()
        && let Err(error) = sqlx::query("CREATE DATABASE conche").execute(&mut connection).await
        && !is_duplicate(&error)
    {
        return Err(refused(error));
    }
    connection.close().await.map_err(refused)
}

/// `duplicate_database`, or the unique violation that a race for the same name ends in.
fn is_duplicate(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("42P04" | "23505"))
}

/// For the value of a query parameter.
fn percent_encoded(path: &Path) -> String {
    use std::{fmt::Write as _, os::unix::ffi::OsStrExt as _};
    let mut text = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("writing to a String does not fail");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_url_survives_its_odd_characters() {
        let encoded = percent_encoded(Path::new("/srv/my shop & co/größe"));
        assert_eq!(encoded, "/srv/my%20shop%20%26%20co/gr%C3%B6%C3%9Fe");
    }
}
