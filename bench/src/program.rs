//! The program under measurement: a child process in a data directory of its own.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, ensure};
use conche::embedded;
use sqlx::{Connection as _, Executor as _, PgConnection, postgres::PgConnectOptions};
use tempfile::TempDir;

use crate::{place, usage};

/// A running program.
pub(crate) struct Program {
    conche: PathBuf,
    // Before its data goes.
    child: Running,
    data: Folder,
    address: String,
    token: String,
    start_seconds: f64,
}

/// A data directory.
pub(crate) enum Folder {
    /// Goes with the measurement.
    Temporary(TempDir),
    /// Stays.
    Kept(PathBuf),
}

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Folder::Temporary(folder) => folder.path(),
            Folder::Kept(path) => path,
        }
    }
}

/// What the log holds.
pub(crate) struct Counts {
    pub(crate) events: u64,
    pub(crate) commands: u64,
    pub(crate) payload_bytes: u64,
    pub(crate) metadata_bytes: u64,
}

impl Program {
    /// Starts it on an empty data directory and waits until it answers.
    pub(crate) async fn start(conche: &Path) -> anyhow::Result<Program> {
        let data = Folder::Temporary(place::data_dir()?);
        // The first start makes the cluster; the second is the start people know.
        stop(Program::launch(conche, data.path(), &[])?.0)?;
        let started = Instant::now();
        let (child, address) = Program::launch(conche, data.path(), &[])?;
        let program = Program {
            token: command(conche, data.path(), &["token"])?.trim().to_owned(),
            conche: conche.to_owned(),
            data,
            child,
            address,
            start_seconds: 0.0,
        };
        let answer = reqwest::Client::new()
            .get(format!("{}/api/v1/products", program.address))
            .bearer_auth(&program.token)
            .send();
        ensure!(answer.await?.status().is_success(), "the first query failed");
        let start_seconds = started.elapsed().as_secs_f64();
        let mut conn = PgConnection::connect_with(&program.connect_options().await?).await?;
        conn.execute("CREATE DATABASE baseline").await?;
        Ok(Program { start_seconds, ..program })
    }

    fn launch(conche: &Path, data: &Path, options: &[&str]) -> anyhow::Result<(Running, String)> {
        let child = Command::new(conche)
            .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .args(options)
            .env_remove("DATABASE_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", conche.display()))?;
        let mut child = Running(child);
        let greeting = child.0.stdout.as_mut().context("standard output is piped")?;
        for line in BufReader::new(greeting).lines() {
            let line = line?;
            if let Some((_, address)) = line.split_once("http://").filter(|_| line.contains("API"))
            {
                let address = format!("http://{}", address.trim_end_matches("/api/v1"));
                return Ok((child, address));
            }
        }
        anyhow::bail!("the program ended without a greeting")
    }

    /// Starts it on what is there, for a store, with further options of `up`.
    pub(crate) fn resume(
        conche: &Path,
        data: Folder,
        store: &str,
        options: &[&str],
    ) -> anyhow::Result<Program> {
        let (child, address) = Program::launch(conche, data.path(), options)?;
        let token = command(conche, data.path(), &["token", "--store", store])?.trim().to_owned();
        Ok(Program { conche: conche.to_owned(), data, child, address, token, start_seconds: 0.0 })
    }

    /// Stops it and gives its data directory back.
    pub(crate) fn leave(self) -> anyhow::Result<Folder> {
        stop(self.child)?;
        Ok(self.data)
    }

    /// From the start of the process to its first answered query, on an existing data directory.
    pub(crate) fn start_seconds(&self) -> f64 {
        self.start_seconds
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// As superuser, in the program's own database.
    pub(crate) async fn connect_options(&self) -> anyhow::Result<PgConnectOptions> {
        let options = embedded::running(self.data.path()).await?;
        options.context("the program's PostgreSQL runs")
    }

    /// A second database on the same server, for the baseline.
    pub(crate) async fn baseline_url(&self) -> anyhow::Result<String> {
        place::baseline_url(&self.connect_options().await?)
    }

    pub(crate) async fn counts(&self) -> anyhow::Result<Counts> {
        let mut conn = PgConnection::connect_with(&self.connect_options().await?).await?;
        let query = "SELECT count(*), (SELECT count(*) FROM log.commands),
                            coalesce(sum(octet_length(payload)), 0)::bigint,
                            coalesce(sum(octet_length(metadata)), 0)::bigint
                       FROM log.events";
        let row: (i64, i64, i64, i64) = sqlx::query_as(query).fetch_one(&mut conn).await?;
        Ok(Counts {
            events: u64::try_from(row.0)?,
            commands: u64::try_from(row.1)?,
            payload_bytes: u64::try_from(row.2)?,
            metadata_bytes: u64::try_from(row.3)?,
        })
    }

    /// Resident memory of the program itself, without PostgreSQL, in MiB.
    pub(crate) fn memory_mib(&self) -> anyhow::Result<f64> {
        usage::memory_mib(&self.child.0.id().to_string())
    }

    /// Seconds to import the file into a store of its own; `None` if there is no file.
    pub(crate) fn time_import(&self, file: &Path) -> anyhow::Result<Option<f64>> {
        let Some(file) = file.to_str().filter(|_| file.exists()) else { return Ok(None) };
        let started = Instant::now();
        let arguments = ["import", "orders", file, "--store", "import", "--progress", "never"];
        command(&self.conche, self.data.path(), &arguments)?;
        Ok(Some(started.elapsed().as_secs_f64()))
    }

    /// Stops it for as long as `meanwhile` works in its data directory, then starts it again, on
    /// another address.
    pub(crate) async fn pause<T>(
        self,
        meanwhile: impl AsyncFnOnce(&Path) -> anyhow::Result<T>,
    ) -> anyhow::Result<(Program, T)> {
        stop(self.child)?;
        let result = meanwhile(self.data.path()).await?;
        let (child, address) = Program::launch(&self.conche, self.data.path(), &[])?;
        Ok((Program { child, address, ..self }, result))
    }

    /// Asks the program to stop and waits for it.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        stop(self.child)
    }
}

/// A child that ends with its owner, also when a measurement fails.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Asks it to stop and waits for it.
    fn end(&mut self) -> anyhow::Result<()> {
        if self.0.try_wait()?.is_none() {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id())?);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        }
        let status = self.0.wait()?;
        ensure!(status.success(), "the program ended with {status}");
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After `stop` there is nothing left to do.
        let _ = self.end();
    }
}

pub(crate) fn stop(mut child: Running) -> anyhow::Result<()> {
    child.end()
}

/// Runs the program once and gives what it printed.
pub(crate) fn command(conche: &Path, data: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(conche);
    command.args(arguments).arg("--data-dir").arg(data).env_remove("DATABASE_URL");
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{arguments:?} failed: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
