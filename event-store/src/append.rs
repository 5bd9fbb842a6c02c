//! The one call that writes: `log.append`, for one unit or a batch of them.

use std::num::NonZeroUsize;

use serde::Deserialize;
use sqlx::postgres::PgDatabaseError;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::appender::announce;
use crate::connection::in_time;
use crate::error::is_ambiguous;
use crate::{
    Done, EVENTS_PER_APPEND_MAX, EVENTS_PER_COMMAND_MAX, Engine, KEY_BYTES_MAX, KEYS_PER_UNIT_MAX,
    KeyChange, PAYLOAD_BYTES_MAX, StoreError, StreamKey, unique,
};

/// One decision on one stream, ready to be stored.
#[derive(Clone, Debug)]
pub struct Unit {
    pub stream: StreamKey,
    /// The version it was decided on; 0 for a stream that does not exist.
    pub expected: i64,
    pub command_id: Uuid,
    pub fingerprint: [u8; 32],
    /// JSON object stored with each event.
    pub metadata: Vec<u8>,
    /// Changes of unique keys, in the order of the events.
    pub keys: Vec<KeyChange>,
    /// At least one, at most [`EVENTS_PER_COMMAND_MAX`].
    pub events: Vec<NewEvent>,
}

impl Unit {
    /// The version it leaves the stream at.
    pub(crate) fn next_version(&self) -> i64 {
        self.expected + i64::try_from(self.events.len()).expect("within EVENTS_PER_COMMAND_MAX")
    }

    /// Bytes of its payloads.
    pub(crate) fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.payload.len()).sum()
    }
}

/// An event that has no position yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    pub event_id: Uuid,
    pub event_type: String,
    /// 1, 2, …
    pub schema_version: i16,
    /// JSON, stored byte by byte. At most [`PAYLOAD_BYTES_MAX`] bytes.
    pub payload: Vec<u8>,
}

/// Why nothing of an append was stored.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// These units cannot be stored; the others could, without them. At least one.
    #[error("append refused")]
    Refused(Vec<Loser>),
    /// The connection died: stored completely or not at all. Look a command id up, or append again.
    #[error("outcome is not known yet")]
    Ambiguous(#[source] sqlx::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A unit that cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loser {
    /// Index into the units of the call.
    pub unit: usize,
    pub why: Refusal,
}

/// What speaks against a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The stream is (or would be, after earlier units) at this version instead of the expected.
    Version { current: i64 },
    /// The command was carried out before, or comes earlier in the same call.
    Repeated,
    /// The command id was used for another command.
    Reused,
    /// Another stream holds the key.
    KeyTaken { scope: String, key: String },
}

impl Engine {
    /// Stores all units or none, in one round trip; answers one [`Done`] per unit.
    ///
    /// Units of one stream may follow each other if each expects the version the one before it
    /// leaves behind. At most 2,000 events in all. Dropping the future leaves
    /// the outcome open, so call it from a task that runs to its end.
    pub async fn append(&self, units: Vec<Unit>) -> Result<Vec<Done>, AppendError> {
        let units: Vec<&Unit> = units.iter().collect();
        check_limits(units.iter().copied())?;
        let mut conn = self.pool.acquire().await.map_err(StoreError::from)?;
        let done = append(&mut conn, &units).await;
        if matches!(done, Err(AppendError::Ambiguous(_))) {
            // The pool would ask it whether it is well, which may take for ever.
            drop(conn.detach());
            return done;
        }
        let done = done?;
        announce(&self.shared.appended, done.last().map_or(0, |done| done.position));
        Ok(done)
    }

    /// The connections commands use: for reads of the log beside them.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }
}

/// Refuses what the log does not take, before it costs a round trip: and before it costs others
/// theirs, for what PostgreSQL itself refuses fails a whole call.
pub(crate) fn check_limits<'a>(
    units: impl IntoIterator<Item = &'a Unit>,
) -> Result<(), StoreError> {
    let within = |what, actual, limit| {
        if actual <= limit { Ok(()) } else { Err(StoreError::TooLarge { what, actual, limit }) }
    };
    let mut events = 0;
    for unit in units {
        events += unit.events.len();
        if unit.events.is_empty() {
            return Err(StoreError::Encode("a unit without events".into()));
        }
        within("events of one command", unit.events.len(), EVENTS_PER_COMMAND_MAX)?;
        within("unique keys of one command", unit.keys.len(), KEYS_PER_UNIT_MAX)?;
        for KeyChange::Claim { key, .. } | KeyChange::Release { key, .. } in &unit.keys {
            within("bytes of a unique key", key.len(), KEY_BYTES_MAX)?;
            if key.contains('\0') {
                return Err(StoreError::Encode("a unique key with a zero character".into()));
            }
        }
        within("bytes of metadata", unit.metadata.len(), PAYLOAD_BYTES_MAX)?;
        for event in &unit.events {
            within("bytes of one event", event.payload.len(), PAYLOAD_BYTES_MAX)?;
        }
    }
    within("events of one append", events, EVENTS_PER_APPEND_MAX)
}

/// The SQL call. `units` must have passed [`check_limits`]; none of them means nothing to do.
pub(crate) async fn append(
    conn: &mut PgConnection,
    units: &[&Unit],
) -> Result<Vec<Done>, AppendError> {
    if units.is_empty() {
        return Ok(Vec::new());
    }
    let (u, k, e) = (UnitColumns::of(units), KeyColumns::of(units), EventColumns::of(units));
    let append = sqlx::query_scalar!(
        r#"SELECT log.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
               AS "first!""#,
        &u.stores,
        &u.categories as &[&str],
        &u.ids,
        &u.expected,
        &u.commands,
        &u.fingerprints as &[&[u8]],
        &u.metadata as &[&[u8]],
        &k.units,
        &k.claims,
        &k.scopes as &[&str],
        &k.keys as &[String],
        &e.units,
        &e.types as &[&str],
        &e.versions,
        &e.ids,
        &e.payloads as &[&[u8]]
    );
    let first = in_time(append.fetch_one(conn)).await;
    let first = first.map_err(|error| reason(error, units.len()))?;
    let mut before = first - 1;
    Ok(units.iter().map(|unit| done(unit, &mut before)).collect())
}

/// What a stored unit came to; moves `before` to the unit's last position.
fn done(unit: &Unit, before: &mut i64) -> Done {
    let version = unit.next_version();
    *before += version - unit.expected;
    Done { id: unit.stream.id, version, position: *before, replayed: false }
}

#[derive(Default)]
struct UnitColumns<'a> {
    stores: Vec<Uuid>,
    categories: Vec<&'a str>,
    ids: Vec<Uuid>,
    expected: Vec<i64>,
    commands: Vec<Uuid>,
    fingerprints: Vec<&'a [u8]>,
    metadata: Vec<&'a [u8]>,
}

impl<'a> UnitColumns<'a> {
    fn of(units: &[&'a Unit]) -> UnitColumns<'a> {
        let mut columns = UnitColumns::default();
        for unit in units {
            columns.stores.push(unit.stream.store_id);
            columns.categories.push(unit.stream.category);
            columns.ids.push(unit.stream.id);
            columns.expected.push(unit.expected);
            columns.commands.push(unit.command_id);
            columns.fingerprints.push(&unit.fingerprint);
            columns.metadata.push(&unit.metadata);
        }
        columns
    }
}

#[derive(Default)]
struct KeyColumns {
    units: Vec<i32>,
    claims: Vec<bool>,
    scopes: Vec<&'static str>,
    keys: Vec<String>,
}

impl KeyColumns {
    fn of(units: &[&Unit]) -> KeyColumns {
        let mut columns = KeyColumns::default();
        for (unit, ordinal) in units.iter().zip(1..) {
            for change in unique::net(unit.keys.iter().cloned()) {
                let (claim, scope, key) = match change {
                    KeyChange::Claim { scope, key } => (true, scope, key),
                    KeyChange::Release { scope, key } => (false, scope, key),
                };
                columns.units.push(ordinal);
                columns.claims.push(claim);
                columns.scopes.push(scope);
                columns.keys.push(key);
            }
        }
        columns
    }
}

#[derive(Default)]
struct EventColumns<'a> {
    units: Vec<i32>,
    types: Vec<&'a str>,
    versions: Vec<i16>,
    ids: Vec<Uuid>,
    payloads: Vec<&'a [u8]>,
}

impl<'a> EventColumns<'a> {
    fn of(units: &[&'a Unit]) -> EventColumns<'a> {
        let mut columns = EventColumns::default();
        for (unit, ordinal) in units.iter().zip(1..) {
            for event in &unit.events {
                columns.units.push(ordinal);
                columns.types.push(&event.event_type);
                columns.versions.push(event.schema_version);
                columns.ids.push(event.event_id);
                columns.payloads.push(&event.payload);
            }
        }
        columns
    }
}

/// One object of the DETAIL that `log.refuse` raises.
#[derive(Deserialize)]
struct RaisedLoser {
    /// Counted from 1.
    unit: NonZeroUsize,
    code: String,
    #[serde(default)]
    current: i64,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    key: String,
}

impl RaisedLoser {
    fn why(self) -> Option<Refusal> {
        match self.code.as_str() {
            "ES001" => Some(Refusal::Version { current: self.current }),
            "ES002" => Some(Refusal::Repeated),
            "ES003" => Some(Refusal::Reused),
            "ES004" => Some(Refusal::KeyTaken { scope: self.scope, key: self.key }),
            _ => None,
        }
    }
}

/// Why a call of so many units failed.
fn reason(error: sqlx::Error, units: usize) -> AppendError {
    let named = |losers: &Vec<Loser>| losers.iter().all(|loser| loser.unit < units);
    if let Some(losers) = raised(&error).filter(named) {
        return AppendError::Refused(losers);
    }
    if is_ambiguous(&error) {
        return AppendError::Ambiguous(error);
    }
    AppendError::Store(error.into())
}

/// The losers that `log.append` named, if it was that which failed.
fn raised(error: &sqlx::Error) -> Option<Vec<Loser>> {
    let error = error.as_database_error()?;
    error.code().filter(|code| code.starts_with("ES"))?;
    let detail = error.try_downcast_ref::<PgDatabaseError>()?.detail()?;
    let raised: Vec<RaisedLoser> = serde_json::from_str(detail).ok()?;
    let losers = raised
        .into_iter()
        .map(|loser| Some(Loser { unit: loser.unit.get() - 1, why: loser.why()? }));
    losers.collect::<Option<Vec<Loser>>>().filter(|losers| !losers.is_empty())
}
