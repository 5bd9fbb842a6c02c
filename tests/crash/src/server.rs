//! The PostgreSQL of a run: made, killed with all its children, started again.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use conche::embedded::{self, Cluster, Settings};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::postgres::PgConnectOptions;
use tokio::sync::Mutex;

/// A private server.
pub(crate) struct Server {
    settings: Settings,
    /// Absent while it is dead.
    cluster: Mutex<Option<Cluster>>,
    options: PgConnectOptions,
    url: String,
}

impl Server {
    /// Makes a cluster and starts it.
    pub(crate) async fn start(data_dir: &Path) -> anyhow::Result<Server> {
        #[expect(clippy::disallowed_methods, reason = "a harness has no other settings than these")]
        let setting = |name| std::env::var(name).ok();
        let settings = Settings {
            data_dir: data_dir.to_owned(),
            pg_bindir: setting("PG_BINDIR").map(PathBuf::from),
            path: setting("PATH").map(Into::into),
        };
        let cluster = embedded::start(&settings).await?;
        Ok(Server {
            options: cluster.connect_options(embedded::DATABASE),
            url: cluster.url(embedded::DATABASE),
            cluster: Mutex::new(Some(cluster)),
            settings,
        })
    }

    /// As superuser, in the program's database.
    pub(crate) fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// As a `DATABASE_URL`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its unix socket.
    pub(crate) fn socket(&self) -> anyhow::Result<PathBuf> {
        let folder = self.options.get_socket().context("a private server listens on a socket")?;
        Ok(folder.join(format!(".s.PGSQL.{}", self.options.get_port())))
    }

    /// Kills the server and all its children at once, and starts it again. Gives how long it took
    /// from the kill until it answered.
    pub(crate) async fn kill_and_restart(&self) -> anyhow::Result<Duration> {
        let mut cluster = self.cluster.lock().await;
        let killed = Instant::now();
        self.kill_all()?;
        if let Some(mut dead) = cluster.take() {
            dead.exited().await;
        }
        *cluster = Some(embedded::start(&self.settings).await?);
        Ok(killed.elapsed())
    }

    fn kill_all(&self) -> anyhow::Result<()> {
        let recorded = fs::read_to_string(self.settings.data_dir.join("postgres/postmaster.pid"))?;
        let postmaster = recorded.lines().next().and_then(|line| line.trim().parse().ok());
        let postmaster: i32 = postmaster.context("postmaster.pid names a process")?;
        // Before it dies: its children are nobody's afterwards.
        let children = children(postmaster);
        for pid in std::iter::once(postmaster).chain(children) {
            // A child may have ended in between.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        Ok(())
    }

    /// Writes a checkpoint and ends.
    pub(crate) async fn stop(&self) -> anyhow::Result<()> {
        if let Some(cluster) = self.cluster.lock().await.take() {
            cluster.stop().await?;
        }
        Ok(())
    }
}

/// Processes whose parent is `parent`. On systems without `/proc` none are found: then they notice
/// by themselves that the server is gone.
fn children(parent: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid: &i32| parent_of(pid) == Some(parent)).collect()
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; behind it stand the state and the parent.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
