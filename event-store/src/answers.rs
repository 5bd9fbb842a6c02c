//! Commands this process is at work on or has just carried out, so that a repeat waits for the
//! first or gets its answer without asking the log. The log has the last word: what is not here
//! may still be known there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::Done;

/// Answers kept: some seconds of full load, within which most repeats come. About 3 MB.
const ANSWERS_MAX: NonZeroUsize = NonZeroUsize::new(16_384).expect("is not zero");

/// Store and command id.
type Key = (Uuid, Uuid);

type Fingerprint = [u8; 32];

#[derive(Debug)]
pub(crate) struct Answers(Mutex<Table>);

#[derive(Debug)]
struct Table {
    /// With those who wait for the end; most commands have none.
    in_flight: HashMap<Key, (Fingerprint, Vec<oneshot::Sender<()>>)>,
    given: LruCache<Key, (Fingerprint, Done)>,
}

/// What to do about a command.
#[derive(Debug)]
pub(crate) enum Found {
    /// Carry it out, and say so at the end.
    Nothing(FirstTime),
    /// Ask again once this has ended, which it does without a value.
    InFlight(oneshot::Receiver<()>),
    /// It is done.
    Answer(Done),
    /// Another command has this id.
    Reused,
}

/// The right to carry out a command. Repeats wait until it is dropped.
#[derive(Debug)]
pub(crate) struct FirstTime {
    answers: Arc<Answers>,
    key: Key,
    fingerprint: Fingerprint,
}

impl Answers {
    pub(crate) fn new() -> Arc<Answers> {
        let table = Table { in_flight: HashMap::new(), given: LruCache::new(ANSWERS_MAX) };
        Arc::new(Answers(Mutex::new(table)))
    }

    pub(crate) fn find(self: &Arc<Self>, key: Key, fingerprint: Fingerprint) -> Found {
        let mut table = self.table();
        if let Some((first, done)) = table.given.get(&key) {
            return if *first == fingerprint { Found::Answer(*done) } else { Found::Reused };
        }
        match table.in_flight.entry(key) {
            Entry::Occupied(mut entry) if entry.get().0 == fingerprint => {
                let (waiting, ended) = oneshot::channel();
                let all = &mut entry.get_mut().1;
                // Those who lost patience may come again and again.
                all.retain(|waiting| !waiting.is_closed());
                all.push(waiting);
                Found::InFlight(ended)
            }
            Entry::Occupied(_) => Found::Reused,
            Entry::Vacant(entry) => {
                entry.insert((fingerprint, Vec::new()));
                Found::Nothing(FirstTime { answers: Arc::clone(self), key, fingerprint })
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FirstTime {
    /// Keeps the answer for repeats. Only for what the log has.
    pub(crate) fn keep(&self, done: Done) {
        self.answers.table().given.put(self.key, (self.fingerprint, done));
    }
}

impl Drop for FirstTime {
    fn drop(&mut self) {
        self.answers.table().in_flight.remove(&self.key);
    }
}
