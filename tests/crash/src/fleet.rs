//! The processes of the program, each in its slot: started, armed, killed, started again.

use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt as _,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::Signal;
use reqwest::Client;
use tokio::{sync::Mutex as Turn, time::sleep};

use crate::{
    points::{Slot, TWINS},
    process::{Process, Program},
    proxy::Proxy,
    server::Server,
    tally::Tally,
};

/// How long a process may take until it serves. PostgreSQL may be recovering meanwhile.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Between two tries to start a process or to reach it.
const RETRY: Duration = Duration::from_millis(20);

/// Where it may die, as in `CRASH_AT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashAt {
    pub point: &'static str,
    /// 1 dies at the first time.
    pub nth: u32,
}

/// All processes and what they stand on.
pub(crate) struct Fleet {
    pub(crate) server: Server,
    pub(crate) program: Program,
    pub(crate) tally: Tally,
    /// Of those that write: their wires can be cut.
    proxies: BTreeMap<Slot, Proxy>,
    running: BTreeMap<Slot, Turn<Option<Process>>>,
    /// Where each process of the command API was last seen.
    addresses: [Mutex<String>; TWINS],
    probe: Client,
}

impl Fleet {
    /// Migrates the database of `server`; starts nothing.
    pub(crate) async fn new(server: Server, program: Program) -> anyhow::Result<Fleet> {
        let migrated = program.command(server.url(), &["migrate"]).output()?;
        let said = String::from_utf8_lossy(&migrated.stderr);
        ensure!(migrated.status.success(), "`conche migrate` failed: {said}");
        let mut proxies = BTreeMap::new();
        for slot in Slot::all() {
            if matches!(slot, Slot::Write(_) | Slot::Saga(_)) {
                proxies.insert(slot, Proxy::start(server.socket()?).await?);
            }
        }
        Ok(Fleet {
            server,
            program,
            tally: Tally::new(),
            proxies,
            running: Slot::all().into_iter().map(|slot| (slot, Turn::new(None))).collect(),
            addresses: [const { Mutex::new(String::new()) }; TWINS],
            probe: Client::builder().timeout(Duration::from_secs(1)).build()?,
        })
    }

    /// Starts whatever does not run.
    pub(crate) async fn heal(&self) -> anyhow::Result<()> {
        for slot in Slot::all() {
            let mut running = self.running[&slot].lock().await;
            let dead = match &mut *running {
                Some(process) => process.ends_within(Duration::ZERO).await.is_some(),
                None => true,
            };
            if dead {
                *running = Some(self.start(slot).await?);
            }
        }
        Ok(())
    }

    /// Starts a process again, armed, and waits until it has died of it. Gives whether it has; if
    /// the point is not reached in time, the process goes on, armed.
    pub(crate) async fn crash(
        &self,
        slot: Slot,
        at: CrashAt,
        patience: Duration,
    ) -> anyhow::Result<bool> {
        let mut running = self.running[&slot].lock().await;
        if let Some(mut old) = running.take() {
            old.kill().await;
        }
        let began = Instant::now();
        let mut process = self.launch(slot, Some(at))?;
        let ready = self.until_it_serves(slot, &mut process, START_PATIENCE).await;
        if ready {
            self.tally.ready(began.elapsed());
        }
        let ended = process.ends_within(patience).await;
        let Some(status) = ended else {
            *running = Some(process);
            return Ok(false);
        };
        let killed = status.signal() == Some(Signal::SIGKILL as i32);
        ensure!(killed, "{} ended with {status} on the way to {}", slot.name(), at.point);
        Ok(true)
    }

    /// Kills a process as it is; does not start it again. Gives whether there was one.
    pub(crate) async fn kill(&self, slot: Slot) -> bool {
        let Some(mut process) = self.running[&slot].lock().await.take() else { return false };
        process.kill().await;
        true
    }

    /// Starts a process in its empty slot.
    pub(crate) async fn restart(&self, slot: Slot) -> anyhow::Result<()> {
        let mut running = self.running[&slot].lock().await;
        if running.is_none() {
            *running = Some(self.start(slot).await?);
        }
        Ok(())
    }

    /// Stops a process for a while, as if its machine had.
    pub(crate) async fn pause(&self, slot: Slot, span: Duration) {
        let running = self.running[&slot].lock().await;
        let Some(process) = &*running else { return };
        process.signal(Signal::SIGSTOP);
        sleep(span).await;
        process.signal(Signal::SIGCONT);
    }

    /// Builds a projection anew. Gives whether it came to its end before it was killed.
    pub(crate) async fn rebuild(&self, number: usize, patience: Duration) -> anyhow::Result<bool> {
        let name = projections::ALL[number].name;
        let command = self.program.command(self.server.url(), &["rebuild", name]);
        let mut process = self.program.start("rebuild", command)?;
        let ended = process.ends_within(patience).await;
        process.kill().await;
        let Some(status) = ended else { return Ok(false) };
        ensure!(status.success(), "`conche rebuild {name}` ended with {status}");
        Ok(true)
    }

    /// The wire of a process that writes.
    pub(crate) fn proxy(&self, slot: Slot) -> Option<&Proxy> {
        self.proxies.get(&slot)
    }

    /// Where a process of the command API was last seen: it may be dead.
    pub(crate) fn address(&self, number: usize) -> String {
        self.addresses[number].lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Kills everything; PostgreSQL stays.
    pub(crate) async fn stop(&self) {
        for slot in Slot::all() {
            self.kill(slot).await;
        }
    }

    /// Starts a process that is to stay.
    async fn start(&self, slot: Slot) -> anyhow::Result<Process> {
        let began = Instant::now();
        while began.elapsed() < START_PATIENCE {
            let this_time = Instant::now();
            let mut process = self.launch(slot, None)?;
            if self.until_it_serves(slot, &mut process, START_PATIENCE).await {
                self.tally.ready(this_time.elapsed());
                return Ok(process);
            }
            process.kill().await;
            sleep(RETRY).await;
        }
        bail!("{} does not start; see its log in {}", slot.name(), self.program.logs.display())
    }

    fn launch(&self, slot: Slot, at: Option<CrashAt>) -> anyhow::Result<Process> {
        let url = match self.proxies.get(&slot) {
            Some(proxy) => proxy.url(conche::embedded::DATABASE),
            None => self.server.url().to_owned(),
        };
        let any_port = ["--listen", "127.0.0.1:0"];
        let mut arguments: Vec<&str> = Vec::new();
        match slot {
            Slot::Write(_) => arguments.extend(["write-api"].into_iter().chain(any_port)),
            Slot::Read => arguments.extend(["read-api"].into_iter().chain(any_port)),
            Slot::Saga(_) => arguments.push("saga"),
            Slot::Projector(number) => {
                arguments.extend(["projector", projections::ALL[number].name]);
            }
        }
        let mut command = self.program.command(&url, &arguments);
        if let Some(CrashAt { point, nth }) = at {
            command.env("CRASH_AT", format!("{point}:{nth}"));
        }
        self.program.start(&slot.name(), command).context(slot.name())
    }

    /// Waits until it says that it is ready and, if it serves HTTP, does. False if it ended before.
    async fn until_it_serves(&self, slot: Slot, process: &mut Process, patience: Duration) -> bool {
        let began = Instant::now();
        let Some(greeting) = process.ready(patience).await else { return false };
        let Some((_, address)) = greeting.split_once("http://") else { return true };
        let address = format!("http://{}", address.trim());
        if let Slot::Write(number) = slot {
            let mut known = self.addresses[number].lock().unwrap_or_else(PoisonError::into_inner);
            known.clone_from(&address);
        }
        while began.elapsed() < patience {
            let answer = self.probe.get(format!("{address}/health/live")).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return true;
            }
            if process.ends_within(Duration::ZERO).await.is_some() {
                return false;
            }
            sleep(RETRY).await;
        }
        false
    }
}
