//! The read models: tables computed from the log, each beside the queries that read it.
//!
//! A [`Projection`] is a name, a version and a function from a batch of events to SQL. Its
//! checkpoint moves in the transaction that writes its tables, so each event takes effect exactly
//! once, whatever crashes. The tables are in schema `read` (`migrations/*_read_models.sql`) and
//! the statements name them unqualified: a rebuild runs the same statements in another schema.
//!
//! Queries take a connection of [`as_store`].

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::pin::Pin;

use event_schemas::{ids::StoreId, upcast};
use event_store::{Recorded, StoreError, read::Interest};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};
use uuid::Uuid;

pub mod analytics;
pub mod catalog;
pub mod follow;
pub mod history;
pub mod order;
pub mod parked;
pub mod payment;
mod progress;
mod rebuild;
mod runner;

pub use progress::{Lag, lag, position, wait_for};
pub use rebuild::{
    Comparison, Difference, Example, Progress, Rebuild, TableDifference, prepare, rebuild,
    roll_back, verify,
};
pub use runner::{catch_up, run};

/// Every projection of the program.
pub const ALL: &[&Projection] =
    &[&catalog::PROJECTION, &order::PROJECTION, &analytics::PROJECTION, &payment::PROJECTION];

/// The projection of a name such as `catalog`.
pub fn find(name: &str) -> Option<&'static Projection> {
    ALL.iter().copied().find(|projection| projection.name == name)
}

/// What [`Projection::apply`] answers.
pub type Applying<'a> = Pin<Box<dyn Future<Output = Result<(), ProjectionError>> + Send + 'a>>;

/// A function from events to tables.
#[derive(Debug)]
pub struct Projection {
    /// Names it on the command line, in `log.checkpoints` and in metrics.
    pub name: &'static str,
    /// Raised whenever the same events make other rows than before: then a rebuild is due.
    pub version: u32,
    /// Its tables, in schema `read`. No other projection reads or writes them.
    pub tables: &'static [&'static str],
    /// Categories of the streams it is computed from: it is shown no others.
    pub categories: &'static [&'static str],
    /// Types of these that change nothing here; neither is it shown them.
    pub except: &'static [&'static str],
    /// Whether it comes to the same rows however streams lie among each other, as long as each is
    /// in order: then a stream that was parked can be applied later ([`parked::retry`]). Otherwise
    /// it takes a rebuild.
    pub streams_commute: bool,
    /// Applies a batch of events in the order of the log, whose size must not matter to the
    /// outcome. Passes over events of other contexts; fails with [`ProjectionError::Poison`] at one
    /// of its own that it cannot apply.
    pub apply: for<'a> fn(&'a mut PgConnection, &'a [Recorded]) -> Applying<'a>,
}

impl Projection {
    /// What it reads of the log.
    pub fn interest(&self) -> Interest<'static> {
        Interest { categories: self.categories, except: self.except }
    }
}

/// Why a projection does not go on.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// This event cannot be applied.
    #[error("event at position {position} cannot be applied: {reason}")]
    Poison {
        /// Position of the event.
        position: i64,
        /// Its type and what is wrong with it, for the people who look into it.
        reason: String,
    },
    /// Tables filled by an older version of the code.
    #[error(
        "tables of {name} were filled by version {filled_by}, this program is at {version}: rebuild them"
    )]
    Outdated {
        /// Which projection.
        name: &'static str,
        /// Version that filled the tables.
        filled_by: i32,
        /// Version of this program.
        version: u32,
    },
    /// Tables filled by a newer version of the code: they belong to a newer program.
    #[error(
        "tables of {name} were filled by version {filled_by}, this program is at {version}: it stands by"
    )]
    Newer {
        /// Which projection.
        name: &'static str,
        /// Version that filled the tables.
        filled_by: i32,
        /// Version of this program.
        version: u32,
    },
    /// The tables that a rebuild has replaced cannot serve again.
    #[error("the former tables of {name} cannot come back: {reason}")]
    NoWayBack {
        /// Which projection.
        name: &'static str,
        /// Why not.
        reason: String,
    },
    /// Another process rebuilds or verifies the same projection.
    #[error("{name} is being rebuilt or verified by another process")]
    InUse {
        /// Which projection.
        name: &'static str,
    },
    /// So many streams are parked that the code is at fault, and not the events.
    #[error("{name} cannot apply events of more than 10,000 streams: the code is at fault")]
    TooManyParked {
        /// Which projection.
        name: &'static str,
    },
    /// What is parked cannot be applied later.
    #[error("rows of {name} depend on the order between streams: rebuild it instead")]
    NeedsRebuild {
        /// Which projection.
        name: &'static str,
    },
    /// An event that was left out was blamed again.
    #[error("{name} blames an event that it did not get: {reason}")]
    Unclear {
        /// Which projection.
        name: &'static str,
        /// What it said the first time.
        reason: String,
    },
    /// The log could not be read, or a checkpoint not moved.
    #[error("log failed")]
    Store(#[from] StoreError),
    /// A statement failed for a reason that lies in no event.
    #[error("database failed")]
    Database(#[from] sqlx::Error),
}

/// A connection of a pool of [`Role::Reader`](event_store::pool::Role::Reader) that reads one
/// store: row-level security lets it see nothing else. It reads one state of all tables, however
/// many statements it is used for. Two round trips.
pub async fn as_store(
    pool: &PgPool,
    store_id: StoreId,
) -> Result<PoolConnection<Postgres>, sqlx::Error> {
    let mut snapshot = pool.acquire().await?;
    sqlx::query!(
        "SELECT set_config('app.store', $1, true) AS store,
                set_config('search_path', 'read', true) AS path",
        store_id.0.to_string()
    )
    .fetch_one(&mut *snapshot)
    .await?;
    Ok(snapshot)
}

/// As [`as_store`], with the position up to which the projection `name` has filled the tables that
/// it sees. Two round trips.
pub async fn as_store_at(
    pool: &PgPool,
    store_id: StoreId,
    name: &str,
) -> Result<(PoolConnection<Postgres>, i64), sqlx::Error> {
    let mut snapshot = pool.acquire().await?;
    let position = sqlx::query!(
        r#"SELECT set_config('app.store', $1, true) AS store,
                  set_config('search_path', 'read', true) AS path,
                  coalesce((SELECT position FROM log.checkpoints WHERE name = $2), 0) AS "position!""#,
        store_id.0.to_string(),
        name
    )
    .fetch_one(&mut *snapshot)
    .await?
    .position;
    Ok((snapshot, position))
}

/// Rows of a store, by the id they have in it.
type Key = (Uuid, Uuid);

/// An event of a batch, decoded.
struct Fact<'a, E> {
    recorded: &'a Recorded,
    event: E,
}

impl<E> Fact<'_, E> {
    /// Store and stream.
    fn key(&self) -> Key {
        (self.recorded.store_id, self.recorded.stream_id)
    }

    /// This event cannot be applied.
    fn poison(&self, reason: impl Display) -> ProjectionError {
        poison(self.recorded, reason)
    }
}

/// The events of one category, lifted to their current shape.
fn facts<'a, E: DeserializeOwned>(
    batch: &'a [Recorded],
    category: &str,
) -> Result<Vec<Fact<'a, E>>, ProjectionError> {
    let wanted = batch.iter().filter(|recorded| recorded.category == category);
    wanted
        .map(|recorded| {
            let Recorded { event_type, schema_version, payload, .. } = recorded;
            let event = upcast::decode(event_type, *schema_version, &storable(payload))
                .map_err(|error| poison(recorded, error))?;
            Ok(Fact { recorded, event })
        })
        .collect()
}

/// A payload whose texts PostgreSQL can hold: a NUL shows as U+FFFD, like any character that cannot
/// be shown. Commands refuse it, but a text that slipped through must not stop every store.
fn storable(payload: &[u8]) -> Cow<'_, [u8]> {
    // Few payloads have a backslash, and looking for one byte is much faster than for six.
    if !payload.contains(&b'\\')
        || !payload.windows(NUL_ESCAPED.len()).any(|part| part == NUL_ESCAPED)
    {
        return Cow::Borrowed(payload);
    }
    let Ok(mut value) = serde_json::from_slice(payload) else {
        // Whoever decodes it finds out what is wrong with it.
        return Cow::Borrowed(payload);
    };
    replace_nul(&mut value);
    Cow::Owned(value.to_string().into_bytes())
}

/// NUL in JSON, where it cannot stand for itself.
const NUL_ESCAPED: &[u8] = br"\u0000";

fn replace_nul(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace('\0', "\u{FFFD}"),
        Value::Array(values) => values.iter_mut().for_each(replace_nul),
        Value::Object(fields) => fields.values_mut().for_each(replace_nul),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn poison(recorded: &Recorded, reason: impl Display) -> ProjectionError {
    ProjectionError::Poison {
        position: recorded.position,
        reason: format!("{}: {reason}", recorded.event_type),
    }
}

/// One column of rows, for `unnest`.
fn column<'a, R, T>(rows: &[&'a R], of: fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(|row| of(row)).collect()
}

/// Keys of the streams that began before these facts, so that there may be rows of them: what the
/// facts themselves begin needs no look.
fn begun_before<E>(facts: &[Fact<'_, E>]) -> (Vec<Uuid>, Vec<Uuid>) {
    let begun = facts.iter().filter(|fact| fact.recorded.version == 1).map(Fact::key);
    let begun: BTreeSet<Key> = begun.collect();
    columns(facts.iter().map(Fact::key).filter(|key| !begun.contains(key)))
}

/// Distinct keys as two columns for `unnest`.
fn columns(keys: impl Iterator<Item = Key>) -> (Vec<Uuid>, Vec<Uuid>) {
    keys.collect::<BTreeSet<Key>>().into_iter().unzip()
}
