//! What the clients sent and what they were answered, as it stands in their journals.
//!
//! A journal is a file of JSON lines, each on disk before its client goes on: one line before a
//! request is sent, one after it was answered. A request whose second line is missing may have
//! been carried out or not.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use event_schemas::ids::{ActorId, CommandId, StoreId};
use serde::{Deserialize, Serialize};

/// The commands of all clients, each client's in the order in which it sent them.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub entries: Vec<Entry>,
}

/// One command: everything that a client sent under one `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub client: u32,
    /// Slug of the store whose token was sent.
    pub store: String,
    /// The `Idempotency-Key`; of this client and command alone.
    pub key: String,
    /// Such as `POST`.
    pub method: String,
    /// With `/api/v1` and without a query.
    pub path: String,
    /// SHA-256 of the body in hex. An attempt with another body is one that must be refused.
    pub body_sha256: String,
    /// At least one, in the order in which they were sent. Two may overlap.
    pub attempts: Vec<Attempt>,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which of the processes of the command API it was sent to: 0 or 1.
    pub process: u32,
    /// SHA-256 of the body in hex.
    pub body_sha256: String,
    /// By the clock of the machine that all processes share.
    pub sent_at: DateTime<Utc>,
    /// Absent if the client was gone before it could write it down.
    pub ended_at: Option<DateTime<Utc>>,
    pub outcome: Outcome,
}

/// What became of a request, for all the client knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered, with whatever status.
    Answered(Answer),
    /// The connection broke, the client hung up or gave up waiting.
    Unknown,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub status: u16,
    /// SHA-256 of the body in hex. Of a problem it differs each time: there is a trace id in it.
    pub body_sha256: String,
    /// `X-Position`.
    pub position: Option<i64>,
    /// `Idempotent-Replayed: true`.
    pub replayed: bool,
    /// Field `id` of the body: what was changed.
    pub id: Option<String>,
    /// Field `status` of the body, such as `awaiting_payment`, where it is a text.
    pub state: Option<String>,
    /// Field `code` of a problem.
    pub code: Option<String>,
}

impl Entry {
    /// The store's id.
    pub fn store_id(&self) -> StoreId {
        StoreId::of_slug(&self.store)
    }

    /// The id under which the log knows the command.
    pub fn command_id(&self) -> CommandId {
        let actor = ActorId::derive(&[b"developer", self.store.as_bytes()]);
        CommandId::derive(&[
            self.store_id().0.as_bytes(),
            actor.0.as_bytes(),
            self.method.as_bytes(),
            self.path.as_bytes(),
            self.key.as_bytes(),
        ])
    }

    /// The attempts with the command's own body.
    pub fn honest(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(|attempt| attempt.body_sha256 == self.body_sha256)
    }

    /// The attempts under the command's key with another body.
    pub fn dishonest(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(|attempt| attempt.body_sha256 != self.body_sha256)
    }
}

impl Attempt {
    /// The answer, if there was one.
    pub fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Answered(answer) => Some(answer),
            Outcome::Unknown => None,
        }
    }
}

/// A line of a journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// Is going to be sent.
    Sends(Sends),
    /// Was answered, or given up: then `answer` is absent.
    Ended { number: u64, ended_at: DateTime<Utc>, answer: Option<Answer> },
}

/// A request that is going to be sent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sends {
    /// Names it within its journal.
    pub(crate) number: u64,
    pub(crate) client: u32,
    pub(crate) store: String,
    pub(crate) key: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body_sha256: String,
    pub(crate) process: u32,
    pub(crate) sent_at: DateTime<Utc>,
}

impl History {
    /// Reads every journal of a folder.
    pub fn read(folder: &Path) -> anyhow::Result<History> {
        let mut files = fs::read_dir(folder)
            .and_then(|entries| {
                entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>()
            })
            .with_context(|| format!("reading {}", folder.display()))?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "ndjson"));
        files.sort();
        let mut history = History::default();
        for file in files {
            let text = fs::read_to_string(&file)?;
            let entries = entries(&text).with_context(|| format!("in {}", file.display()))?;
            history.entries.extend(entries);
        }
        Ok(history)
    }
}

/// The commands of one journal.
fn entries(text: &str) -> anyhow::Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut by_key: HashMap<String, usize> = HashMap::new();
    let mut open: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
    for line in text.lines() {
        match serde_json::from_str(line).with_context(|| format!("not a line: {line}"))? {
            Line::Sends(sends) => {
                let Sends { number, client, store, key, method, path, .. } = sends;
                let entry = *by_key.entry(key.clone()).or_insert_with(|| {
                    let body_sha256 = sends.body_sha256.clone();
                    let attempts = Vec::new();
                    entries.push(Entry { client, store, key, method, path, body_sha256, attempts });
                    entries.len() - 1
                });
                let attempts = &mut entries[entry].attempts;
                attempts.push(Attempt {
                    process: sends.process,
                    body_sha256: sends.body_sha256,
                    sent_at: sends.sent_at,
                    ended_at: None,
                    outcome: Outcome::Unknown,
                });
                open.insert(number, (entry, attempts.len() - 1));
            }
            Line::Ended { number, ended_at, answer } => {
                let found = open.remove(&number);
                let (entry, attempt) = found.with_context(|| format!("{number} was not sent"))?;
                let attempt = &mut entries[entry].attempts[attempt];
                attempt.ended_at = Some(ended_at);
                attempt.outcome = answer.map_or(Outcome::Unknown, Outcome::Answered);
            }
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_reads_as_its_commands() {
        let sends = |number, key: &str, body: &str| {
            let line = Line::Sends(Sends {
                number,
                client: 3,
                store: "north".to_owned(),
                key: key.to_owned(),
                method: "POST".to_owned(),
                path: "/api/v1/checkouts".to_owned(),
                body_sha256: body.to_owned(),
                process: 1,
                sent_at: DateTime::UNIX_EPOCH,
            });
            serde_json::to_string(&line).unwrap()
        };
        let answer = Answer {
            status: 201,
            body_sha256: "told".to_owned(),
            position: Some(7),
            replayed: false,
            id: None,
            state: None,
            code: None,
        };
        let ended = |number, answer| {
            let ended_at = DateTime::UNIX_EPOCH;
            serde_json::to_string(&Line::Ended { number, ended_at, answer }).unwrap()
        };
        let lines = [
            sends(1, "a", "cart"),
            ended(1, None),
            sends(2, "a", "cart"),
            sends(3, "b", "cart"),
            ended(2, Some(answer.clone())),
            sends(4, "a", "lie"),
        ];
        let entries = entries(&lines.join("\n")).unwrap();
        let keys: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["a", "b"]);
        let outcomes: Vec<_> = entries[0].honest().map(|attempt| &attempt.outcome).collect();
        assert_eq!(outcomes, [&Outcome::Unknown, &Outcome::Answered(answer)]);
        assert_eq!(entries[0].dishonest().count(), 1);
        assert_eq!(entries[1].attempts[0].ended_at, None);
    }
}
