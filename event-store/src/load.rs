//! An aggregate from the log: its snapshot, if there is a good one, and the events after it.

use cqrs_es::Aggregate;
use uuid::Uuid;

use crate::lookup::{Beginning, FIRST_EVENTS};
use crate::read::{Recorded, WINDOW, assert_contiguous, read_stream};
use crate::snapshot::{Draft, SNAPSHOT_EVERY};
use crate::{Engine, Kind, StoreError, StreamKey};

/// An aggregate as of one version.
#[derive(Clone, Debug)]
pub struct Loaded<A> {
    pub state: A,
    /// Events applied; 0 if the stream does not exist.
    pub version: i64,
    /// Position of the last event applied; 0 if there is none.
    pub position: i64,
}

/// An aggregate, and what is worth knowing about how it was loaded.
#[derive(Debug)]
pub(crate) struct Replayed<A> {
    pub(crate) loaded: Loaded<A>,
    /// Version of the last snapshot of it; 0 if none.
    pub(crate) snapshot: i64,
    /// Bytes read for it: how large the state is, roughly.
    pub(crate) bytes: usize,
}

impl Engine {
    /// The aggregate as it stands in the log now. Two round trips, shared with others who load at
    /// the same time, and one for each [`WINDOW`] events of a long stream without a snapshot.
    pub async fn load<A: Aggregate>(
        &self,
        kind: &Kind<A>,
        store_id: Uuid,
        id: Uuid,
    ) -> Result<Loaded<A>, StoreError> {
        let key = StreamKey::of::<A>(store_id, id);
        Ok(self.replay(kind, key).await?.loaded)
    }

    /// All events of a stream that is short by nature. One round trip for most, shared with others
    /// who load at the same time.
    pub async fn history(
        &self,
        store_id: Uuid,
        category: &'static str,
        id: Uuid,
    ) -> Result<Vec<Recorded>, StoreError> {
        let key = StreamKey { store_id, category, id };
        let Beginning { snapshot, events } = self.shared.lookup.stream(key).await?;
        if snapshot.is_none() && !is_full(&events) {
            return Ok(events);
        }
        let mut conn = self.pool().acquire().await?;
        let mut events = Vec::new();
        loop {
            let after = events.last().map_or(0, |event: &Recorded| event.version);
            let window = read_stream(&mut conn, store_id, (category, id), after, WINDOW).await?;
            let ended = i64::try_from(window.len()).is_ok_and(|count| count < WINDOW);
            events.extend(window);
            if ended {
                return Ok(events);
            }
        }
    }

    /// As [`Engine::load`]. A state that took long to load is kept as a snapshot: a stream that only
    /// refuses makes no events with which one would come.
    pub(crate) async fn replay<A: Aggregate>(
        &self,
        kind: &Kind<A>,
        key: StreamKey,
    ) -> Result<Replayed<A>, StoreError> {
        let mut replayed = self.read_all(kind, key).await?;
        let Loaded { state, version, position } = &replayed.loaded;
        if SNAPSHOT_EVERY <= version - replayed.snapshot
            && let Some(draft) = Draft::of(kind, &key, *version, state)
        {
            // What many events leave behind is far smaller than they are.
            (replayed.snapshot, replayed.bytes) = (*version, draft.bytes());
            self.keep(draft, key, *position).await;
        }
        Ok(replayed)
    }

    async fn read_all<A: Aggregate>(
        &self,
        kind: &Kind<A>,
        key: StreamKey,
    ) -> Result<Replayed<A>, StoreError> {
        let Beginning { snapshot, events } = self.shared.lookup.stream(key).await?;
        let full = is_full(&events);
        let mut replayed = Replayed::new();
        let mut events = events.into_iter();
        if let Some(snapshot) = snapshot {
            // The event it ends with proves that it belongs to this log: a log that was restored
            // from a backup may be shorter than what was kept of it.
            let (version, position) = (snapshot.version, snapshot.position);
            let last = events.next().map(|event| (event.version, event.position));
            let state = snapshot.state(kind, &key).filter(|_| last == Some((version, position)));
            let Some(state) = state else {
                self.replay_rest(kind, key, &mut replayed).await?;
                return Ok(replayed);
            };
            replayed.loaded = Loaded { state, version, position };
            (replayed.snapshot, replayed.bytes) = (version, snapshot.state.len());
        }
        replayed.apply_all(kind, events)?;
        if full {
            self.replay_rest(kind, key, &mut replayed).await?;
        }
        Ok(replayed)
    }

    /// Applies what comes after the version reached.
    async fn replay_rest<A: Aggregate>(
        &self,
        kind: &Kind<A>,
        key: StreamKey,
        replayed: &mut Replayed<A>,
    ) -> Result<(), StoreError> {
        let mut conn = self.pool().acquire().await?;
        loop {
            let (stream, after) = ((key.category, key.id), replayed.loaded.version);
            let window = read_stream(&mut conn, key.store_id, stream, after, WINDOW).await?;
            let ended = i64::try_from(window.len()).is_ok_and(|events| events < WINDOW);
            replayed.apply_all(kind, window)?;
            if ended {
                return Ok(());
            }
        }
    }
}

/// Whether there may be more than came with the first read.
fn is_full(events: &[Recorded]) -> bool {
    i64::try_from(events.len()).is_ok_and(|count| count == FIRST_EVENTS)
}

impl<A: Aggregate> Replayed<A> {
    fn new() -> Replayed<A> {
        let loaded = Loaded { state: A::default(), version: 0, position: 0 };
        Replayed { loaded, snapshot: 0, bytes: 0 }
    }

    fn apply_all(
        &mut self,
        kind: &Kind<A>,
        events: impl IntoIterator<Item = Recorded>,
    ) -> Result<(), StoreError> {
        for event in events {
            assert_contiguous(self.loaded.version, [event.version])?;
            let Recorded { position, version, .. } = event;
            let decoded = (kind.decode)(&event.event_type, event.schema_version, &event.payload)
                .map_err(|source| StoreError::Decode { position, source: source.into() })?;
            self.bytes += event.payload.len();
            self.loaded.state.apply(decoded);
            self.loaded.version = version;
            self.loaded.position = position;
        }
        Ok(())
    }
}
