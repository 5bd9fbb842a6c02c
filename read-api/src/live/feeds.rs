//! Who listens to which streams. Listening costs the database nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api_kit::{Caller, Problem};
use event_schemas::ids::{ActorId, StoreId};
use projections::follow::StreamKey;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::reads::Reads;

/// Feeds of one process. Each is a connection, so a file of the process, which may have twice as
/// many, and some 20 kB.
pub(crate) const FEEDS_MAX: usize = 4_096;

/// Feeds of one caller in one store. A token may stand for a shop's front end with all its visitors.
pub(crate) const FEEDS_OF_CALLER_MAX: usize = 512;

/// Streams one feed listens to: those of an order or product, beyond what either has.
const STREAMS_MAX: usize = 2_048;

/// What we ask of a client that there is no place for.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Everybody who listens.
#[derive(Debug, Default)]
pub(crate) struct Feeds {
    listeners: Mutex<Listeners>,
    ended: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Listeners {
    count: usize,
    by_caller: HashMap<(StoreId, ActorId), usize>,
    /// By store and stream, then by their number.
    by_stream: HashMap<(Uuid, Uuid), HashMap<u64, Arc<Notify>>>,
    /// Number of the next one.
    next: u64,
}

/// One who listens, until it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    reads: Reads,
    caller: (StoreId, ActorId),
    number: u64,
    notify: Arc<Notify>,
    streams: Mutex<Vec<Uuid>>,
}

impl Feeds {
    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody listens.
    pub(crate) fn any(&self) -> bool {
        0 < self.lock().count
    }

    /// These streams have changed, and everybody can read it.
    pub(crate) fn tell(&self, streams: &[StreamKey]) {
        let listeners = self.lock();
        for StreamKey { store_id, stream_id, .. } in streams {
            let told = listeners.by_stream.get(&(*store_id, *stream_id));
            told.into_iter().flat_map(HashMap::values).for_each(|notify| notify.notify_one());
        }
    }

    /// Anything may have changed.
    pub(crate) fn tell_all(&self) {
        let listeners = self.lock();
        let all = listeners.by_stream.values().flat_map(HashMap::values);
        all.for_each(|notify| notify.notify_one());
    }

    /// The process stops.
    pub(crate) fn end(&self) {
        self.ended.send_replace(true);
    }
}

/// Takes a place. `429` if the caller has too many, `503` if the process has.
pub(crate) fn listen(reads: &Reads, caller: &Caller) -> Result<Listener, Problem> {
    let key = (caller.store_id, caller.actor_id);
    let mut listeners = reads.following().feeds.lock();
    if FEEDS_MAX <= listeners.count {
        return Err(Problem::new("overloaded").retry_after(RETRY_AFTER));
    }
    let own = listeners.by_caller.entry(key).or_default();
    if FEEDS_OF_CALLER_MAX <= *own {
        let detail = format!("{FEEDS_OF_CALLER_MAX} feeds are open with this token's actor");
        return Err(Problem::new("too_many_requests").detail(detail).retry_after(RETRY_AFTER));
    }
    *own += 1;
    listeners.count += 1;
    listeners.next += 1;
    let number = listeners.next;
    drop(listeners);
    let notify = Arc::new(Notify::new());
    // So that it reads once what happened before it listened.
    notify.notify_one();
    Ok(Listener {
        reads: reads.clone(),
        caller: key,
        number,
        notify,
        streams: Mutex::new(Vec::new()),
    })
}

impl Listener {
    pub(crate) fn reads(&self) -> &Reads {
        &self.reads
    }

    pub(crate) fn store_id(&self) -> StoreId {
        self.caller.0
    }

    /// Listens to these streams too; returns whether it did not before. To be called before reading
    /// what is there; who learns by reading that there are more has to read again.
    pub(crate) fn to(&self, streams: impl IntoIterator<Item = Uuid>) -> bool {
        let mut is_new = false;
        let mut own = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let mut listeners = self.reads.following().feeds.lock();
        for stream in streams {
            if own.contains(&stream) || STREAMS_MAX <= own.len() {
                continue;
            }
            own.push(stream);
            is_new = true;
            let listening = listeners.by_stream.entry((self.store_id().0, stream)).or_default();
            listening.insert(self.number, Arc::clone(&self.notify));
        }
        is_new
    }

    /// Waits until one of them may have changed since the last time this returned.
    pub(crate) async fn changed(&self) {
        self.notify.notified().await;
    }

    /// There is more to read at once.
    pub(crate) fn again(&self) {
        self.notify.notify_one();
    }

    pub(crate) fn ended(&self) -> watch::Receiver<bool> {
        self.reads.following().feeds.ended.subscribe()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let streams = self.streams.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut listeners = self.reads.following().feeds.lock();
        for stream in streams.iter() {
            let key = (self.caller.0.0, *stream);
            if let Some(listening) = listeners.by_stream.get_mut(&key) {
                listening.remove(&self.number);
                if listening.is_empty() {
                    listeners.by_stream.remove(&key);
                }
            }
        }
        listeners.count -= 1;
        if let Some(own) = listeners.by_caller.get_mut(&self.caller) {
            *own -= 1;
            if *own == 0 {
                listeners.by_caller.remove(&self.caller);
            }
        }
    }
}
