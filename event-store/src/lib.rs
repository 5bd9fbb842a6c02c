//! The engine: appends events to the log of one PostgreSQL database, and reads them back.
//!
//! Knows no context: an aggregate comes in as a type of `cqrs-es` and a [`Kind`]. The SQL side is
//! `migrations/*_log.sql`. What the log promises:
//!
//! - Positions are dense and in commit order: 1, 2, 3, … Every reader here asserts it.
//! - A command id takes effect once per store, however often it is sent (for 35 days at least).
//! - Versions of a stream are contiguous from 1, and nobody appends to a version they did not see.
//! - A unique key belongs to one stream of a store at a time.

mod append;
pub mod check;
pub mod checkpoint;
mod error;
mod execute;
mod hash;
pub mod partitions;
pub mod pool;
pub mod read;
mod unique;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use cqrs_es::Aggregate;
use sqlx::PgPool;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::time::Instant;
use uuid::Uuid;

pub use append::{AppendError, Loser, NewEvent, Refusal, Unit};
pub use error::{ExecuteError, StoreError};
pub use execute::Loaded;
pub use hash::leaf_hash;
pub use read::Recorded;

/// Events one command may make. A command that wants more should have been several.
pub const EVENTS_PER_COMMAND_MAX: usize = 500;

/// Events one append may carry: what a call carries in well under 100 ms of holding the lock.
pub const EVENTS_PER_APPEND_MAX: usize = 2_000;

/// Bytes of one event's payload, and of its metadata.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// Key changes one unit may carry: an event changes a handful at most.
pub const KEYS_PER_UNIT_MAX: usize = 4 * EVENTS_PER_COMMAND_MAX;

/// Times a command is decided before the engine gives up because other processes are faster.
pub const TRIES_MAX: u32 = 3;

/// Commands one process may have in flight, waiting included. More are refused at once with
/// [`StoreError::Busy`]: each holds its body in memory, and the wait would outlast its caller.
pub const COMMANDS_IN_FLIGHT_MAX: u16 = 1_024;

/// How long a command waits for its stream's turn before it is refused as busy.
pub const TURN_WAIT_MAX: Duration = Duration::from_secs(10);

/// Turnstiles that streams are hashed onto. Two streams that share one only wait for each other,
/// so this is a matter of speed: many times the number of connections.
const TURNSTILES: usize = 1_024;

/// Names a stream: a tenant, a kind of aggregate (its `TYPE`) and an id. An id of another store is
/// another, empty, stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamKey {
    pub store_id: Uuid,
    pub category: &'static str,
    pub id: Uuid,
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

/// The way into the log. Cheap to clone; all clones of one engine share their bounds.
#[derive(Clone, Debug)]
pub struct Engine {
    pool: PgPool,
    new_event_id: fn() -> Uuid,
    appended: Arc<watch::Sender<i64>>,
    in_flight: Arc<Semaphore>,
    turnstiles: Arc<[Mutex<()>]>,
}

impl Engine {
    /// `pool` should come from [`pool::connect`] with [`pool::Role::Writer`].
    pub fn new(pool: PgPool, new_event_id: fn() -> Uuid) -> Engine {
        Engine {
            pool,
            new_event_id,
            appended: Arc::new(watch::Sender::new(0)),
            in_flight: Arc::new(Semaphore::new(usize::from(COMMANDS_IN_FLIGHT_MAX))),
            turnstiles: (0..TURNSTILES).map(|_| Mutex::new(())).collect(),
        }
    }

    /// The same engine on connections and bounds of its own, so that a crowd on the one does not
    /// starve the other. Both wake the same readers, and commands of one stream still take turns.
    pub fn beside(&self, pool: PgPool) -> Engine {
        let in_flight = Arc::new(Semaphore::new(usize::from(COMMANDS_IN_FLIGHT_MAX)));
        Engine { pool, in_flight, ..self.clone() }
    }

    /// Wakes up whenever this process has appended, with the last position. Starts at 0. Several
    /// appends may show as one, and other processes' appends do not show: poll as well.
    pub fn appended(&self) -> watch::Receiver<i64> {
        self.appended.subscribe()
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

    /// Takes no more commands and waits until those in flight have ended: before a shutdown.
    pub async fn drain(&self) {
        let all = u32::from(COMMANDS_IN_FLIGHT_MAX);
        if let Ok(permits) = self.in_flight.acquire_many(all).await {
            permits.forget();
            self.in_flight.close();
        }
    }
}
