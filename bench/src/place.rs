//! A private PostgreSQL as the program has it, with the program's settings and tables, and without
//! the program: what is measured runs in this process.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use clap::Parser as _;
use conche::{config::Config, database::Database, embedded};
use serde::Serialize;
use sqlx::{Connection as _, Executor as _, PgConnection, postgres::PgConnectOptions};
use tokio::time::{Instant, sleep};

use crate::{figures::count, usage::Cpu};

/// How long backends may take to end after their clients have hung up.
const QUIET_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// A cluster and a connection to look at it.
pub(crate) struct Place {
    pub(crate) database: Database,
    options: PgConnectOptions,
    monitor: PgConnection,
    postmaster: u32,
}

/// Counters that only grow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    pub(crate) cpu: Cpu,
    /// Position of the last event.
    pub(crate) head: i64,
    /// Times the write-ahead log was flushed, and seconds it took. Backends report about once a
    /// second, so this lags by that much.
    pub(crate) flushes: f64,
    pub(crate) flushing: f64,
}

/// The machine, for whoever reads the results.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) kernel: String,
    pub(crate) postgresql: String,
}

impl Place {
    /// Opens the cluster of a data directory, makes it if missing.
    pub(crate) async fn open(data_dir: &Path) -> anyhow::Result<Place> {
        let dir = data_dir.to_str().context("the data directory's name is text")?;
        let mut place = Config::try_parse_from(["conche", "migrate", "--data-dir", dir])?.place;
        // Never the server that the shell has in mind.
        place.database_url = None;
        let database = Database::open(&place).await?;
        database.migrate().await?;
        let options = embedded::running(data_dir).await?.context("its PostgreSQL runs")?;
        let mut monitor = PgConnection::connect_with(&options).await?;
        let baseline = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'baseline')";
        if !sqlx::query_scalar::<_, bool>(baseline).fetch_one(&mut monitor).await? {
            monitor.execute("CREATE DATABASE baseline").await?;
        }
        // Reads the clock twice per flush, which no flush notices.
        monitor.execute("ALTER SYSTEM SET track_wal_io_timing = on").await?;
        monitor.execute("SELECT pg_reload_conf()").await?;
        let pid = fs::read_to_string(data_dir.join("postgres/postmaster.pid"))?;
        let postmaster = pid.lines().next().context("an empty postmaster.pid")?.trim().parse()?;
        Ok(Place { database, options, monitor, postmaster })
    }

    /// As superuser, in the database of the log.
    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// The database of the baseline, as superuser.
    pub(crate) fn baseline_url(&self) -> anyhow::Result<String> {
        baseline_url(&self.options)
    }

    pub(crate) async fn counters(&mut self) -> anyhow::Result<Counters> {
        let head = sqlx::query_scalar("SELECT position FROM log.head");
        let head = head.fetch_one(&mut self.monitor).await?;
        let (flushes, millis): (i64, f64) =
            sqlx::query_as(self.flushes().await?).fetch_one(&mut self.monitor).await?;
        let cpu = Cpu::now(self.postmaster)?;
        let flushes = count(u64::try_from(flushes)?);
        Ok(Counters { cpu, head, flushes, flushing: millis / 1e3 })
    }

    /// Where this version of PostgreSQL counts its flushes.
    async fn flushes(&mut self) -> anyhow::Result<&'static str> {
        let version = "SELECT current_setting('server_version_num')::int";
        let version: i32 = sqlx::query_scalar(version).fetch_one(&mut self.monitor).await?;
        Ok(if version < 180_000 {
            "SELECT wal_sync, wal_sync_time FROM pg_stat_wal"
        } else {
            "SELECT coalesce(sum(fsyncs), 0)::bigint, coalesce(sum(fsync_time), 0)::float8
               FROM pg_stat_io WHERE object = 'wal'"
        })
    }

    /// Events after one position and up to another, and the appends that carried them: each append
    /// gives its events one time of its own.
    pub(crate) async fn appended(
        &mut self,
        after: i64,
        through: i64,
    ) -> anyhow::Result<(u64, u64)> {
        let query = "SELECT count(*), count(DISTINCT recorded_at) FROM log.events
                      WHERE position > $1 AND position <= $2";
        let query = sqlx::query_as(query).bind(after).bind(through);
        let (events, appends): (i64, i64) = query.fetch_one(&mut self.monitor).await?;
        Ok((u64::try_from(events)?, u64::try_from(appends)?))
    }

    /// Waits until only we are connected, so that what was measured last is over.
    pub(crate) async fn quiet(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        let others = "SELECT count(*) FROM pg_stat_activity
                       WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        while 0 < sqlx::query_scalar::<_, i64>(others).fetch_one(&mut self.monitor).await? {
            ensure!(began.elapsed() < QUIET_MAX, "somebody stays connected");
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Writes out what the server holds in memory, so that what comes next does not pay for it.
    pub(crate) async fn checkpoint(&mut self) -> anyhow::Result<()> {
        self.monitor.execute("CHECKPOINT").await?;
        Ok(())
    }

    /// Makes partitions ahead of need, which the program does every minute.
    pub(crate) async fn maintain(&self) -> anyhow::Result<()> {
        let owner = self.database.owner().await?;
        let result = conche::database::maintain(&owner).await;
        owner.close().await;
        result
    }

    pub(crate) async fn machine(&mut self) -> anyhow::Result<Machine> {
        let version = sqlx::query_scalar("SELECT current_setting('server_version')");
        let postgresql = version.fetch_one(&mut self.monitor).await?;
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let named = processors.lines().find(|line| line.starts_with("model name"));
        let processor = named.and_then(|line| line.split_once(':')).map_or("unknown", |it| it.1);
        Ok(Machine {
            cores: std::thread::available_parallelism()?.get(),
            processor: processor.trim().to_owned(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            postgresql,
        })
    }

    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.monitor.close().await?;
        self.database.close().await
    }
}

/// Address of the database `baseline` on a private server.
pub(crate) fn baseline_url(options: &PgConnectOptions) -> anyhow::Result<String> {
    let socket = options.get_socket().context("a private server listens on a socket")?;
    let host = socket.display().to_string().replace('/', "%2F");
    Ok(format!("postgres://postgres@{host}/baseline"))
}

/// A temporary directory that the user PostgreSQL runs as can reach.
pub(crate) fn data_dir() -> anyhow::Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt as _;
    let data = tempfile::Builder::new().prefix("conche-bench").tempdir()?;
    fs::set_permissions(data.path(), fs::Permissions::from_mode(0o755))?;
    Ok(data)
}
