//! Writing a journal.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use chrono::{DateTime, Utc};

use crate::history::{Answer, Line, Sends};

/// The journal of one client.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Mutex<(File, u64)>,
}

impl Journal {
    pub(crate) fn create(folder: &Path, client: u32) -> anyhow::Result<Journal> {
        let path = folder.join(format!("client-{client:03}.ndjson"));
        let file = File::create_new(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Journal { file: Mutex::new((file, 0)) })
    }

    /// Notes a request that is going to be sent. Returns its number.
    pub(crate) fn sends(&self, sends: Sends) -> io::Result<u64> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.1 += 1;
        let number = file.1;
        write(&mut file.0, &Line::Sends(Sends { number, ..sends }))?;
        Ok(number)
    }

    /// Notes what became of it.
    pub(crate) fn ended(&self, number: u64, answer: Option<&Answer>) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        write(&mut file.0, &Line::Ended { number, ended_at: now(), answer: answer.cloned() })
    }
}

/// Returns when the line is on disk.
fn write(file: &mut File, line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    file.write_all(&text)?;
    file.sync_data()
}

#[expect(clippy::disallowed_methods, reason = "a client has a clock of its own")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}
