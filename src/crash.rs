//! Killing this very process at a chosen moment: for the crash tests, in no build that ships.

use std::{
    str::FromStr,
    sync::atomic::{AtomicU32, Ordering},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A fail point and how often it is passed by before the process dies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashAt {
    point: String,
    /// 1 dies at the first time.
    nth: u32,
}

impl FromStr for CrashAt {
    type Err = String;

    fn from_str(text: &str) -> Result<CrashAt, String> {
        let parts = text.rsplit_once(':').map(|(point, nth)| (point, nth.parse()));
        match parts {
            Some((point, Ok(nth))) if nth > 0 => Ok(CrashAt { point: point.to_owned(), nth }),
            _ => Err("name a point and a number from 1, as in `saga::after-call:3`".to_owned()),
        }
    }
}

/// Sees to it that this process is killed there, as by `kill -9`.
pub fn arm(at: &CrashAt) -> anyhow::Result<()> {
    let (nth, passed) = (at.nth, AtomicU32::new(0));
    let die = move || {
        if passed.fetch_add(1, Ordering::SeqCst) + 1 == nth {
            // Nothing could be done about a failure, and the harness would see the survivor.
            let _ = kill(Pid::this(), Signal::SIGKILL);
        }
    };
    fail::cfg_callback(at.point.as_str(), die).map_err(anyhow::Error::msg)
}
