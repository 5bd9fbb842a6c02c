//! The engine: appends events to the log of one PostgreSQL database, and reads them back.
//!
//! Knows no context: an aggregate comes in as a type of `cqrs-es` and a [`Kind`]. The SQL side is
//! `migrations/*_log.sql` and `*_append.sql`. What the log promises:
//!
//! - Positions are dense and in commit order: 1, 2, 3, … Every reader here asserts it.
//! - A command id takes effect once per store, however often it is sent (for 35 days at least).
//! - Versions of a stream are contiguous from 1, and nobody appends to a version they did not see.
//! - A unique key belongs to one stream of a store at a time.

mod answers;
mod append;
mod appender;
mod chain;
pub mod check;
pub mod checkpoint;
mod connection;
pub mod cqrs;
mod error;
mod execute;
mod hash;
mod load;
mod lookup;
mod mailbox;
pub mod partitions;
pub mod pool;
pub mod read;
pub mod refusals;
mod snapshot;
mod unique;
pub mod wakeups;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use cqrs_es::Aggregate;
use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use uuid::Uuid;

use answers::Answers;
use appender::{Appender, Entry, Settled};
use chain::Chain;
use lookup::Lookup;
use mailbox::Mailboxes;

pub use append::{AppendError, Loser, NewEvent, Refusal, Unit};
pub use error::{ExecuteError, StoreError};
pub use hash::leaf_hash;
pub use load::Loaded;
pub use mailbox::MAILBOX_MAX;
pub use read::Recorded;
pub use snapshot::SNAPSHOT_EVERY;

/// Events one command may make. A command that wants more should have been several.
pub const EVENTS_PER_COMMAND_MAX: usize = 500;

/// Events one append may carry: what a call carries in well under 100 ms of holding the lock.
pub(crate) const EVENTS_PER_APPEND_MAX: usize = 2_000;

/// Bytes of one event's payload, and of its metadata.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// Key changes one unit may carry: an event changes a handful at most.
pub const KEYS_PER_UNIT_MAX: usize = 4 * EVENTS_PER_COMMAND_MAX;

/// Bytes of a unique key. An index of PostgreSQL takes 2,700.
pub const KEY_BYTES_MAX: usize = 1_024;

/// Times a command is decided before the engine gives up because other processes are faster.
pub const TRIES_MAX: u32 = 3;

/// Commands one engine may have in flight, waiting included. More are refused at once with
/// [`StoreError::Busy`]: each holds its body in memory, and the wait would outlast its caller.
pub const COMMANDS_IN_FLIGHT_MAX: u16 = 1_024;

/// Of those, how many places only commands of high priority may take, and how many commands of low
/// priority leave to the others. So whoever pays gets through when everybody comes at once.
const KEPT_FOR_HIGH: usize = 128;
const KEPT_FROM_LOW: usize = 512;

/// Snapshots a process writes at once; more wait for the next occasion.
const SNAPSHOTS_AT_ONCE: usize = 2;

/// Names a stream: a tenant, a kind of aggregate (its `TYPE`) and an id. An id of another store is
/// another, empty, stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamKey {
    pub store_id: Uuid,
    pub category: &'static str,
    pub id: Uuid,
}

impl StreamKey {
    fn of<A: Aggregate>(store_id: Uuid, id: Uuid) -> StreamKey {
        StreamKey { store_id, category: A::TYPE, id }
    }
}

/// A change of who holds a value that must be unique within its store and scope (such as
/// `product.sku`). Compared byte by byte: whoever makes the key normalises it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// The stream wants the key. Fine if it holds it already.
    Claim { scope: &'static str, key: String },
    /// The stream lets go of the key. Nothing happens if it does not hold it.
    Release { scope: &'static str, key: String },
}

/// Reads a stored payload of any version: event type, schema version, bytes.
pub type Decode<E> = fn(&str, u16, &[u8]) -> Result<E, serde_json::Error>;

/// How the engine reads and indexes one aggregate's events. One `const` per aggregate.
pub struct Kind<A: Aggregate> {
    pub decode: Decode<A::Event>,
    /// Names the shape of the state and the rules that make it from events: another one whenever
    /// either changes. A snapshot is only read under the schema it was written under.
    pub schema: &'static str,
    /// Keys an event claims or releases.
    pub keys: fn(&A::Event) -> Vec<KeyChange>,
}

/// Who goes first when there is more to do than can be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Can be asked for again later: back office, imports.
    Low,
    /// Shoppers who have not paid yet.
    #[default]
    Normal,
    /// Money is on its way, or somebody else's machine waits: completing payments, webhooks.
    High,
}

/// One command to one stream.
#[derive(Clone, Debug)]
pub struct Request<C> {
    pub store_id: Uuid,
    /// The stream, of the category of the aggregate.
    pub id: Uuid,
    pub command: C,
    /// Makes the command repeatable: one effect per store and id.
    pub command_id: Uuid,
    /// Digest of what the sender asked for. The same command id with another one is refused.
    pub fingerprint: [u8; 32],
    /// The version the sender has seen (`If-Match`); `Some(0)` means "does not exist yet".
    pub expected: Option<i64>,
    /// JSON object stored with every event the command makes. At most [`PAYLOAD_BYTES_MAX`] bytes.
    pub metadata: Vec<u8>,
    pub priority: Priority,
    /// When nobody waits for the answer any more: a command that has not reached the database by
    /// then is dropped, with [`StoreError::Late`].
    pub deadline: Option<Instant>,
}

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The stream. For a repeated command that of the first time, whatever the repeat asked for.
    pub id: Uuid,
    /// The stream's version after the command.
    pub version: i64,
    /// Position of the stream's last event after the command; 0 if the stream has none.
    pub position: i64,
    /// Whether this is the answer of an earlier command with the same id.
    pub replayed: bool,
}

/// What the log remembers of a command that made events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandRecord {
    pub fingerprint: Vec<u8>,
    pub category: String,
    pub stream_id: Uuid,
    /// Version and position of the last event the command made.
    pub version: i64,
    pub position: i64,
    pub recorded_at: DateTime<Utc>,
}

impl CommandRecord {
    fn done(&self) -> Done {
        let CommandRecord { stream_id: id, version, position, .. } = *self;
        Done { id, version, position, replayed: false }
    }
}

/// The way into the log. Cheap to clone; all clones of one engine share their bounds.
#[derive(Clone, Debug)]
pub struct Engine {
    pool: PgPool,
    new_event_id: fn() -> Uuid,
    in_flight: Arc<Semaphore>,
    shared: Arc<Shared>,
}

/// What all engines of a process have in common.
#[derive(Debug)]
struct Shared {
    /// The places of each engine.
    in_flight: Mutex<Vec<Arc<Semaphore>>>,
    appended: Arc<watch::Sender<i64>>,
    answers: Arc<Answers>,
    mailboxes: Arc<Mailboxes>,
    appender: Arc<Appender>,
    lookup: Arc<Lookup>,
    snapshots: Semaphore,
}

impl Shared {
    fn new(pool: PgPool) -> Shared {
        let appended = Arc::new(watch::Sender::new(0));
        Shared {
            in_flight: Mutex::default(),
            answers: Answers::new(),
            mailboxes: Mailboxes::new(),
            appender: Appender::new(pool.clone(), Arc::clone(&appended)),
            appended,
            lookup: Lookup::new(pool),
            snapshots: Semaphore::new(SNAPSHOTS_AT_ONCE),
        }
    }

    /// Places for one more engine.
    fn places(&self) -> Arc<Semaphore> {
        let places = Arc::new(Semaphore::new(usize::from(COMMANDS_IN_FLIGHT_MAX)));
        self.engines().push(Arc::clone(&places));
        places
    }

    fn engines(&self) -> MutexGuard<'_, Vec<Arc<Semaphore>>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything that a chain has handed over so far is settled. Version and position
    /// of its stream then; `None` if the chain is broken.
    async fn barrier(&self, chain: &Arc<Chain>) -> Result<Option<(i64, i64)>, StoreError> {
        let entry = Entry { chain: Arc::clone(chain), unit: None, deadline: None };
        match self.appender.submit(entry).await {
            Ok(Settled::Reached { version, position }) => Ok(Some((version, position))),
            Ok(_) => Ok(None),
            Err(_) => Err(StoreError::Panicked),
        }
    }
}

impl Engine {
    /// `pool` should come from [`pool::connect`] with [`pool::Role::Writer`]. Two connections are
    /// opened beside it, with its options: one that appends, one that looks up.
    pub fn new(pool: PgPool, new_event_id: fn() -> Uuid) -> Engine {
        let shared = Arc::new(Shared::new(pool.clone()));
        Engine { pool, new_event_id, in_flight: shared.places(), shared }
    }

    /// The same engine with bounds of its own and a pool of its own for reading, so that a crowd on
    /// the one does not starve the other. Mailboxes and appends are shared. For a few in the life of
    /// a process: their places are kept until the last of them is gone.
    pub fn beside(&self, pool: PgPool) -> Engine {
        Engine { pool, in_flight: self.shared.places(), ..self.clone() }
    }

    /// A place among the commands in flight, if one is free for this priority.
    fn admit(&self, priority: Priority) -> Result<OwnedSemaphorePermit, StoreError> {
        let kept = match priority {
            Priority::High => 0,
            Priority::Normal => KEPT_FOR_HIGH,
            Priority::Low => KEPT_FROM_LOW,
        };
        // Two may see the same last place; the few too many are still within the whole.
        if self.in_flight.available_permits() <= kept {
            return Err(StoreError::Busy);
        }
        Arc::clone(&self.in_flight).try_acquire_owned().map_err(|_| StoreError::Busy)
    }

    /// Wakes up whenever this process has appended, with the last position, and while
    /// [`wakeups::run`] runs, whenever any process has. Starts at 0. Several appends may show as one,
    /// and some may not show: poll as well, if seldom.
    pub fn appended(&self) -> watch::Receiver<i64> {
        self.shared.appended.subscribe()
    }

    fn appended_by_anyone(&self) -> &watch::Sender<i64> {
        &self.shared.appended
    }

    /// The record of a command that made events, of the last 35 days at least. One round trip.
    pub async fn command(
        &self,
        store_id: Uuid,
        command_id: Uuid,
    ) -> Result<Option<CommandRecord>, StoreError> {
        let record = sqlx::query_as!(
            CommandRecord,
            "SELECT fingerprint, category, stream_id, version, position, recorded_at
               FROM log.commands WHERE store_id = $1 AND command_id = $2",
            store_id,
            command_id
        );
        Ok(record.fetch_optional(&self.pool).await?)
    }

    /// Takes no more commands and waits until those in flight have ended: before a shutdown. That
    /// includes every engine beside this one.
    pub async fn drain(&self) {
        let all = u32::from(COMMANDS_IN_FLIGHT_MAX);
        let engines = self.shared.engines().clone();
        for in_flight in engines {
            if let Ok(permits) = in_flight.acquire_many(all).await {
                permits.forget();
                in_flight.close();
            }
        }
    }
}
