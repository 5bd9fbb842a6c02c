//! `cqrs_es::EventStore` on the engine: any aggregate of that crate runs here, in a `CqrsFramework`
//! of its own.
//!
//! Commands of Conche itself go through [`Engine::execute`], which queues the writers of a stream
//! and knows the command. The trait lets a store only load and commit, so here writers race, and
//! the loser is told ([`AggregateError::AggregateConflict`]) and sends its command again. What
//! carries over: nothing is half stored, an answer of conflict means that nothing was stored, and
//! the events stand in the log with a position each, which is what read models are made from
//! ([`CqrsStore::envelope`]).

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use cqrs_es::{
    Aggregate, AggregateContext, AggregateError, DomainEvent, EventEnvelope, EventStore,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio::time::sleep;
use uuid::Uuid;

use crate::read::{WINDOW, read_stream};
use crate::{
    AppendError, Engine, ExecuteError, Kind, Loaded, NewEvent, Priority, Recorded, Refusal,
    StoreError, StreamKey, Unit,
};

/// The metadata key whose value, where it is a UUID, is the id of the command.
pub const COMMAND_ID: &str = "command_id";

/// The metadata key under which the log keeps an aggregate id that is no UUID. Callers must not use
/// it, and never see it.
pub const AGGREGATE_ID: &str = "$aggregate_id";

/// Times a unit is sent whose connection died, and the wait before each but the first two: together
/// 4 s, as long as a crashed server needs to recover a short log.
const SENDS_MAX: u32 = 6;
const SEND_PAUSE: Duration = Duration::from_secs(1);

/// Why a load or a commit failed, where the trait has no word for it: what is inside
/// [`AggregateError::UnexpectedError`]. The aggregate itself never refuses here. What the trait
/// calls a failed connection or a failed decoding has a [`StoreError`] inside.
pub type CqrsError = ExecuteError<Infallible>;

/// The events of one kind of aggregate in one store (tenant). The trait demands a type per
/// aggregate.
///
/// **Ids.** An id is any string. One that is a UUID in its usual form (lower case, hyphens) is the
/// id of the stream; any other has a stream id derived from it ([`stream_id`]) and is kept in the
/// events' metadata, so that it comes back in every [`EventEnvelope`].
///
/// **Versions.** The log keeps the number before the first dot of `event_version()`: `2.1` reads as
/// 2.
///
/// **Commits.** One commit is one command: at most [`crate::EVENTS_PER_COMMAND_MAX`] events, all or
/// none, one round trip; no events, no round trip. Its id is the metadata's [`COMMAND_ID`], or a
/// new one.
/// - An id that was used for the same events (type, JSON and stream) before is a repeat: it
///   succeeds, stores nothing and returns no envelopes, so that a framework tells its queries
///   nothing twice.
/// - An id that was used for anything else is [`ExecuteError::CommandReused`], and nothing is
///   stored. A repeat meets this too if the aggregate decides differently the second time, or if
///   its events do not serialise alike each time, as with a `HashMap`. That a command of this id
///   took effect is certain then; which, [`Engine::command`] tells.
/// - If the stream has moved since it was loaded: conflict, nothing is stored.
/// - If too many commands are in flight, or the engine is drained: [`StoreError::Busy`] at once,
///   nothing is stored.
/// - If a connection dies, the unit is sent again under its id until the log says which one counts.
///   If the log cannot be asked for seconds: [`StoreError::OutcomeUnknown`]. Without a
///   [`COMMAND_ID`] such a command cannot safely be repeated.
pub struct CqrsStore<A: Aggregate + 'static> {
    engine: Engine,
    store_id: Uuid,
    kind: &'static Kind<A>,
}

// By hand, because a derived one would demand that aggregates are `Clone`.
impl<A: Aggregate + 'static> Clone for CqrsStore<A> {
    fn clone(&self) -> CqrsStore<A> {
        CqrsStore { engine: self.engine.clone(), ..*self }
    }
}

/// An aggregate between load and commit.
pub struct CqrsContext<A> {
    aggregate_id: String,
    loaded: Loaded<A>,
}

/// [`Kind::decode`] for events that `serde_json` reads back without being told type or version:
/// every event of `cqrs-es` that needs no upcaster.
pub fn self_describing<E: DeserializeOwned>(
    _: &str,
    _: u16,
    payload: &[u8],
) -> Result<E, serde_json::Error> {
    serde_json::from_slice(payload)
}

/// The stream of an aggregate id: the id itself if it is a UUID as `Uuid` prints it, otherwise a
/// `UUIDv8` (RFC 9562) over SHA-256 of the id. Whoever passes that UUID as an id means the same
/// stream.
pub fn stream_id(aggregate_id: &str) -> Uuid {
    let own = Uuid::parse_str(aggregate_id).ok();
    own.filter(|id| id.to_string() == aggregate_id).unwrap_or_else(|| {
        let digest = Sha256::new_with_prefix("cqrs-es aggregate id\0").chain_update(aggregate_id);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.finalize()[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    })
}

impl<A: Aggregate + 'static> CqrsStore<A> {
    /// Clones of one engine share its bounds, so make one engine and a store per aggregate of it.
    pub fn new(engine: Engine, store_id: Uuid, kind: &'static Kind<A>) -> CqrsStore<A> {
        CqrsStore { engine, store_id, kind }
    }

    /// An event of the log as a `View` of `cqrs-es` takes it. It must be of this kind of aggregate.
    ///
    /// Metadata that is not a text, as [`Engine::execute`] stores it, comes as its JSON.
    pub fn envelope(&self, recorded: &Recorded) -> Result<EventEnvelope<A>, StoreError> {
        let position = recorded.position;
        let decode =
            |source: serde_json::Error| StoreError::Decode { position, source: source.into() };
        let Recorded { event_type, schema_version, payload, .. } = recorded;
        let payload = (self.kind.decode)(event_type, *schema_version, payload).map_err(decode)?;
        let metadata: Map<String, Value> =
            serde_json::from_slice(&recorded.metadata).map_err(decode)?;
        let text = |value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let mut metadata: HashMap<String, String> =
            metadata.into_iter().map(|(key, value)| (key, text(value))).collect();
        let aggregate_id =
            metadata.remove(AGGREGATE_ID).unwrap_or_else(|| recorded.stream_id.to_string());
        let sequence = usize::try_from(recorded.version)
            .map_err(|_| StoreError::Gap { expected: 1, found: Some(recorded.version) })?;
        Ok(EventEnvelope { aggregate_id, sequence, payload, metadata })
    }

    async fn load(&self, aggregate_id: &str) -> Result<Loaded<A>, StoreError> {
        self.engine.load(self.kind, self.store_id, stream_id(aggregate_id)).await
    }

    async fn read(&self, aggregate_id: &str) -> Result<Vec<EventEnvelope<A>>, StoreError> {
        let stream = (A::TYPE, stream_id(aggregate_id));
        let mut conn = self.engine.pool().acquire().await?;
        let (mut envelopes, mut version) = (Vec::new(), 0);
        loop {
            let window = read_stream(&mut conn, self.store_id, stream, version, WINDOW).await?;
            for recorded in &window {
                envelopes.push(self.envelope(recorded)?);
                version = recorded.version;
            }
            if i64::try_from(window.len()).is_ok_and(|events| events < WINDOW) {
                return Ok(envelopes);
            }
        }
    }

    /// What a commit stores.
    fn unit(
        &self,
        events: &[A::Event],
        context: &CqrsContext<A>,
        metadata: &HashMap<String, String>,
    ) -> Result<Unit, StoreError> {
        let id = stream_id(&context.aggregate_id);
        let stream = StreamKey::of::<A>(self.store_id, id);
        let new_id = self.engine.new_event_id;
        let command_id = metadata.get(COMMAND_ID).and_then(|id| Uuid::parse_str(id).ok());
        let new = events.iter().map(|event| new_event(new_id(), event));
        let new = new.collect::<Result<Vec<_>, _>>()?;
        Ok(Unit {
            fingerprint: fingerprint(&stream, &new),
            stream,
            expected: context.loaded.version,
            command_id: command_id.unwrap_or_else(new_id),
            metadata: stored_metadata(&context.aggregate_id, id, metadata)?,
            keys: events.iter().flat_map(self.kind.keys).collect(),
            events: new,
        })
    }
}

impl<A: Aggregate> AggregateContext<A> for CqrsContext<A> {
    fn aggregate(&mut self) -> &mut A {
        &mut self.loaded.state
    }
}

impl<A: Aggregate + 'static> EventStore<A> for CqrsStore<A> {
    type AC = CqrsContext<A>;

    /// Every event of one aggregate, oldest first. The trait wants them all at once, so this takes
    /// as much memory as the stream is long.
    async fn load_events(
        &self,
        aggregate_id: &str,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        self.read(aggregate_id).await.map_err(|error| to_theirs(error.into()))
    }

    async fn load_aggregate(
        &self,
        aggregate_id: &str,
    ) -> Result<CqrsContext<A>, AggregateError<A::Error>> {
        let loaded = self.load(aggregate_id).await;
        let loaded = loaded.map_err(|error| to_theirs(error.into()))?;
        Ok(CqrsContext { aggregate_id: aggregate_id.to_owned(), loaded })
    }

    /// See [`CqrsStore`]. Goes on in a task of its own if the caller leaves.
    async fn commit(
        &self,
        events: Vec<A::Event>,
        context: CqrsContext<A>,
        metadata: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let unit = self.unit(&events, &context, &metadata);
        let unit = unit.map_err(|error| to_theirs(error.into()))?;
        let permit = self.engine.admit(Priority::Normal);
        let permit = permit.map_err(|error| to_theirs(error.into()))?;
        let engine = self.engine.clone();
        let work = async move {
            let fate = store(&engine, unit).await;
            drop(permit);
            fate
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "ends by itself; `drain` waits for its permit"
        )]
        let task = tokio::spawn(work);
        let fate = task.await.unwrap_or_else(|_| Err(StoreError::Panicked.into()));
        if fate.map_err(to_theirs)? == Fate::Repeated {
            return Ok(Vec::new());
        }
        let aggregate_id = context.aggregate_id;
        let first = usize::try_from(context.loaded.version + 1).expect("versions count from 1");
        let envelope = |(sequence, payload)| {
            let (aggregate_id, metadata) = (aggregate_id.clone(), metadata.clone());
            EventEnvelope { aggregate_id, sequence, payload, metadata }
        };
        Ok((first..).zip(events).map(envelope).collect())
    }
}

/// What became of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Its events are in the log.
    Stored,
    /// Another unit's events are, for the same command.
    Repeated,
}

/// Stores a unit once, however often its connection dies.
///
/// Sending again is how the log is asked: under one command id only one unit ever takes effect,
/// even if a lost one is still on its way, and the append that comes second is told.
async fn store(engine: &Engine, unit: Unit) -> Result<Fate, CqrsError> {
    let mut lost = None;
    for send in 0..SENDS_MAX {
        if send > 1 {
            sleep(SEND_PAUSE).await;
        }
        match engine.append(vec![unit.clone()]).await {
            Ok(_) => return Ok(Fate::Stored),
            Err(AppendError::Refused(losers)) => {
                let why = losers.into_iter().next().expect("names at least one").why;
                return refused(engine, &unit, why, lost.is_some()).await;
            }
            Err(AppendError::Ambiguous(error)) => lost = Some(error),
            Err(AppendError::Store(error)) if lost.is_some() && error.is_passing() => {
                tracing::warn!(?error, send, "cannot ask what became of a lost commit");
            }
            Err(AppendError::Store(error)) => return Err(lost.map_or(error, unknown).into()),
        }
    }
    let lost = lost.expect("every other outcome has returned");
    Err(unknown(lost).into())
}

fn unknown(lost: sqlx::Error) -> StoreError {
    StoreError::OutcomeUnknown(Arc::new(lost))
}

async fn refused(
    engine: &Engine,
    unit: &Unit,
    why: Refusal,
    sent_before: bool,
) -> Result<Fate, CqrsError> {
    match why {
        // The append asks for the command id first: nothing that was sent before got through.
        Refusal::Version { .. } => Err(ExecuteError::Conflict),
        Refusal::Reused => Err(ExecuteError::CommandReused),
        Refusal::KeyTaken { scope, key } => Err(ExecuteError::KeyTaken { scope, key }),
        Refusal::Repeated if sent_before && is_stored(engine, unit).await? => Ok(Fate::Stored),
        Refusal::Repeated => Ok(Fate::Repeated),
    }
}

/// Whether the events where the unit's would be are the unit's: their ids were made for it alone.
async fn is_stored(engine: &Engine, unit: &Unit) -> Result<bool, StoreError> {
    let StreamKey { store_id, category, id } = unit.stream;
    let mut conn = engine.pool().acquire().await?;
    let found = read_stream(&mut conn, store_id, (category, id), unit.expected, 1).await?;
    Ok(found.iter().zip(&unit.events).any(|(found, ours)| found.event_id == ours.event_id))
}

fn new_event<E: DomainEvent>(event_id: Uuid, event: &E) -> Result<NewEvent, StoreError> {
    let (event_type, version) = (event.event_type(), event.event_version());
    let number = version.split('.').next().and_then(|number| number.parse::<i16>().ok());
    let schema_version = number
        .filter(|number| *number >= 0)
        .ok_or_else(|| StoreError::Encode(format!("{event_type} has version `{version}`")))?;
    let payload = serde_json::to_vec(event)
        .map_err(|error| StoreError::Encode(format!("{event_type}: {error}")))?;
    Ok(NewEvent { event_id, event_type, schema_version, payload })
}

/// SHA-256 over the stream and the events; each part after its length.
fn fingerprint(stream: &StreamKey, events: &[NewEvent]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut update = |part: &[u8]| {
        let length = u64::try_from(part.len()).expect("usize fits in u64");
        hash.update(length.to_be_bytes());
        hash.update(part);
    };
    update(stream.category.as_bytes());
    update(stream.id.as_bytes());
    for event in events {
        update(event.event_type.as_bytes());
        update(&event.payload);
    }
    hash.finalize().into()
}

/// The metadata as the log keeps it: a JSON object of texts, sorted.
fn stored_metadata(
    aggregate_id: &str,
    id: Uuid,
    metadata: &HashMap<String, String>,
) -> Result<Vec<u8>, StoreError> {
    if metadata.contains_key(AGGREGATE_ID) {
        return Err(StoreError::Encode(format!("metadata `{AGGREGATE_ID}` is the store's own")));
    }
    let mut object: BTreeMap<&str, &str> =
        metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    if id.to_string() != aggregate_id {
        object.insert(AGGREGATE_ID, aggregate_id);
    }
    serde_json::to_vec(&object).map_err(|error| StoreError::Encode(format!("metadata: {error}")))
}

/// In the trait's words.
fn to_theirs<E: std::error::Error>(error: CqrsError) -> AggregateError<E> {
    match error {
        ExecuteError::Conflict => AggregateError::AggregateConflict,
        ExecuteError::Store(error) if error.is_passing() => {
            AggregateError::DatabaseConnectionError(error.into())
        }
        ExecuteError::Store(error @ StoreError::Decode { .. }) => {
            AggregateError::DeserializationError(error.into())
        }
        error => AggregateError::UnexpectedError(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_uuid_as_it_is_printed_is_taken_as_it_is() {
        let uuid = "01980000-0000-7000-8000-00000000000a";
        assert_eq!(stream_id(uuid).to_string(), uuid);
        let upper = stream_id(&uuid.to_uppercase());
        let others = [upper, stream_id("customer-B24DA0"), stream_id(""), stream_id("客户")];
        for (index, id) in others.iter().enumerate() {
            assert_eq!(id.get_version_num(), 8);
            assert!(!others[..index].contains(id));
        }
    }

    #[test]
    fn a_stream_of_a_name_never_moves() {
        // Stored: another derivation would lose every stream that has a name.
        let id = stream_id("customer-B24DA0").to_string();
        assert_eq!(id, "6f054896-02ef-8bd6-a86c-68af3ee7bc45");
    }
}
