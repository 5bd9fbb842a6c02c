//! One place per stream where its commands take turns, and the states of streams that were here.
//!
//! A mailbox exists while somebody is in it. The last one out leaves the state in a cache that is
//! bounded by entries and bytes; the next one in takes it from there.

use std::any::Any;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher as _, RandomState};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio::sync;

use crate::StreamKey;
use crate::chain::Chain;

/// Commands in one mailbox, the one at work included. Half of what an engine has in flight, so
/// that one hot stream leaves room for the others.
pub const MAILBOX_MAX: usize = 512;

/// States kept of streams that nobody is at work on.
const CACHE_ENTRIES_MAX: usize = 32_768;

/// Bytes of those states, as JSON; in memory about twice as much.
const CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Parts with a lock each, so that threads seldom meet. A power of two.
const SHARDS: usize = 16;

/// What is known of a stream: the decisions so far, and the state they left behind.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    pub(crate) chain: Option<Arc<Chain>>,
    pub(crate) held: Option<Held>,
}

/// A state that includes every decision of its chain, stored or not yet.
#[derive(Debug)]
pub(crate) struct Held {
    /// The aggregate.
    pub(crate) state: Box<dyn Any + Send>,
    pub(crate) place: Place,
}

/// Where in its stream a state stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) version: i64,
    /// Version that was last kept as a snapshot, or is about to be; 0 for none.
    pub(crate) snapshot: i64,
    /// How large the state is, roughly: the JSON it was made of.
    pub(crate) bytes: usize,
}

type Mailbox = Arc<sync::Mutex<Cell>>;

#[derive(Debug)]
struct Shard {
    open: HashMap<StreamKey, (Mailbox, usize)>,
    idle: LruCache<StreamKey, Cell>,
    idle_bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Mailboxes {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

/// A place in a mailbox.
#[derive(Debug)]
pub(crate) struct Seat {
    mailboxes: Arc<Mailboxes>,
    key: StreamKey,
    mailbox: Mailbox,
}

impl Mailboxes {
    pub(crate) fn new() -> Arc<Mailboxes> {
        let shard = || {
            let (open, idle) = (HashMap::new(), LruCache::unbounded());
            Mutex::new(Shard { open, idle, idle_bytes: 0 })
        };
        let shards = (0..SHARDS).map(|_| shard()).collect();
        Arc::new(Mailboxes { shards, hasher: RandomState::new() })
    }

    /// A place in the mailbox of a stream; `None` if it is full.
    pub(crate) fn enter(self: &Arc<Self>, key: StreamKey) -> Option<Seat> {
        let mut shard = self.shard(&key);
        let Shard { open, idle, idle_bytes } = &mut *shard;
        let mailbox = match open.entry(key) {
            Entry::Occupied(mut entry) => {
                let (mailbox, inside) = entry.get_mut();
                if *inside >= MAILBOX_MAX {
                    return None;
                }
                *inside += 1;
                Arc::clone(mailbox)
            }
            Entry::Vacant(entry) => {
                let cell = idle.pop(&key).unwrap_or_default();
                *idle_bytes -= cell.bytes();
                let mailbox = Arc::new(sync::Mutex::new(cell));
                entry.insert((Arc::clone(&mailbox), 1));
                mailbox
            }
        };
        Some(Seat { mailboxes: Arc::clone(self), key, mailbox })
    }

    fn shard(&self, key: &StreamKey) -> MutexGuard<'_, Shard> {
        let count = u64::try_from(SHARDS).expect("is small");
        let at = usize::try_from(self.hasher.hash_one(key) % count).expect("is small");
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// Keeps a state, and lets go of those that were not asked for the longest.
    fn keep(&mut self, key: StreamKey, cell: Cell) {
        if cell.held.is_none() || cell.chain.as_ref().is_none_or(|chain| chain.is_broken()) {
            return;
        }
        // It would drive out all the others, and then itself.
        if CACHE_BYTES_MAX / SHARDS < cell.bytes() {
            return;
        }
        self.idle_bytes += cell.bytes();
        if let Some(old) = self.idle.put(key, cell) {
            self.idle_bytes -= old.bytes();
        }
        while self.idle.len() > CACHE_ENTRIES_MAX / SHARDS
            || self.idle_bytes > CACHE_BYTES_MAX / SHARDS
        {
            let Some((_, old)) = self.idle.pop_lru() else { return };
            self.idle_bytes -= old.bytes();
        }
    }
}

impl Cell {
    fn bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.place.bytes)
    }
}

impl Seat {
    /// Waits for those who came before.
    pub(crate) async fn turn(&self) -> sync::MutexGuard<'_, Cell> {
        self.mailbox.lock().await
    }

    pub(crate) fn key(&self) -> StreamKey {
        self.key
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut shard = self.mailboxes.shard(&self.key);
        let Entry::Occupied(mut entry) = shard.open.entry(self.key) else { return };
        entry.get_mut().1 -= 1;
        if entry.get().1 == 0 {
            entry.remove();
            // Nobody else has a seat, and turns end before seats do.
            if let Ok(mut cell) = self.mailbox.try_lock() {
                let cell = mem::take(&mut *cell);
                shard.keep(self.key, cell);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn leave(mailboxes: &Arc<Mailboxes>, id: u128, bytes: usize) {
        let key = StreamKey { store_id: Uuid::nil(), category: "none", id: Uuid::from_u128(id) };
        let seat = mailboxes.enter(key).expect("is empty");
        let mut cell = seat.mailbox.try_lock().expect("nobody else is in it");
        let place = Place { version: 1, snapshot: 0, bytes };
        cell.held = Some(Held { state: Box::new(()), place });
        cell.chain = Some(Chain::at(1, 1));
    }

    #[test]
    fn a_state_too_large_to_keep_drives_nobody_out() {
        let mailboxes = Mailboxes::new();
        for id in 0..100 {
            leave(&mailboxes, id, 1_000);
        }
        for id in 100..200 {
            leave(&mailboxes, id, CACHE_BYTES_MAX / SHARDS + 1);
        }
        let shards = mailboxes.shards.iter().map(|shard| shard.lock().expect("is whole"));
        let kept = shards.map(|shard| (shard.idle.len(), shard.idle_bytes));
        let kept = kept.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        assert_eq!(kept, (100, 100_000));
    }
}
