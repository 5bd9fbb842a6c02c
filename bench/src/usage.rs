//! What a measurement used: processor time of both sides, memory, flushes of the disk.

use std::fs;

use anyhow::{Context as _, ensure};

use crate::figures::count;

/// Parts of a second in which Linux tells processor time, on every machine Conche runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time so far, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    /// Of this process.
    pub(crate) own: f64,
    /// Of PostgreSQL, all its processes, those that have ended too.
    pub(crate) postgres: f64,
    /// Of the machine: time in which a core worked, and time in all.
    pub(crate) busy: f64,
    pub(crate) total: f64,
}

impl Cpu {
    /// `postmaster` is the parent of all processes of PostgreSQL.
    pub(crate) fn now(postmaster: u32) -> anyhow::Result<Cpu> {
        let own = Process::read("self").context("no /proc/self/stat")?;
        let parent = Process::read(&postmaster.to_string()).context("PostgreSQL is gone")?;
        // A child that ended was waited for, which adds its time to its parent's.
        let mut postgres = parent.ticks + parent.ticks_of_ended;
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(name) = name.to_str().filter(|name| name.parse::<u32>().is_ok()) else {
                continue;
            };
            // Processes come and go while we look.
            if let Some(child) = Process::read(name).filter(|it| it.parent == postmaster) {
                postgres += child.ticks;
            }
        }
        let (busy, total) = machine()?;
        let seconds = |ticks| count(ticks) / TICKS_PER_SECOND;
        Ok(Cpu {
            own: seconds(own.ticks),
            postgres: seconds(postgres),
            busy: seconds(busy),
            total: seconds(total),
        })
    }
}

/// `/proc/<pid>/stat`, times in ticks.
struct Process {
    parent: u32,
    ticks: u64,
    ticks_of_ended: u64,
}

impl Process {
    fn read(pid: &str) -> Option<Process> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before the last parenthesis may hold anything.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Process {
            parent: fields.get(1)?.parse().ok()?,
            ticks: ticks(11)? + ticks(12)?,
            ticks_of_ended: ticks(13)? + ticks(14)?,
        })
    }
}

/// Ticks of all cores: at work, and in all.
fn machine() -> anyhow::Result<(u64, u64)> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    let ticks = line.split_whitespace().skip(1).map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    ensure!(5 <= ticks.len(), "/proc/stat is short");
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are within user.
    let total: u64 = ticks.iter().take(8).sum();
    Ok((total - ticks[3] - ticks[4], total))
}

/// Resident memory of a process (`self` or its number), in MiB.
pub(crate) fn memory_mib(pid: &str) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)).context("no VmRSS")?;
    Ok(count(kib.parse()?) / 1024.0)
}
