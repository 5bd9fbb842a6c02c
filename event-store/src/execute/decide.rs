//! One decision, in the mailbox of its stream.

use std::sync::Arc;

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent as _};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::TURN_WAIT_MAX;
use crate::append::{NewEvent, Unit, check_limits};
use crate::appender::{Entry, Settled};
use crate::chain::Chain;
use crate::mailbox::{Cell, Held, Place};
use crate::snapshot::{Draft, SNAPSHOT_EVERY};
use crate::{Engine, ExecuteError, Kind, Request, StoreError, StreamKey};

/// What came of a decision.
pub(super) enum Decided<E> {
    /// Events, on their way into the log. The draft is of the state with them.
    Sent { settled: oneshot::Receiver<Settled>, draft: Option<Draft> },
    /// None.
    Still(Still<E>),
}

/// A decision without events: a refusal, or everything is as the command wants it.
pub(super) struct Still<E> {
    /// What it rests on.
    pub(super) chain: Arc<Chain>,
    pub(super) version: i64,
    /// Whether the state was read for this decision, and not taken from the cache.
    pub(super) fresh: bool,
    pub(super) answer: Result<(), ExecuteError<E>>,
}

/// An aggregate taken out of its cell. Whoever does not put it back has it read anew.
struct Taken<A> {
    state: Box<A>,
    place: Place,
    chain: Arc<Chain>,
    fresh: bool,
}

impl<A: 'static + Send> Taken<A> {
    fn put_back(self, cell: &mut Cell) {
        cell.held = Some(Held { state: self.state, place: self.place });
    }
}

impl Engine {
    /// Looks at an aggregate as this process knows it, with every decision that is on its way. Free
    /// of round trips where it is known. It may lack what another process has stored: for questions
    /// whose answer promises nothing.
    pub async fn glance<A, T>(
        &self,
        kind: &'static Kind<A>,
        (store_id, id): (Uuid, Uuid),
        look: impl FnOnce(&A) -> T,
    ) -> Result<T, StoreError>
    where
        A: Aggregate + 'static,
    {
        let key = StreamKey::of::<A>(store_id, id);
        let seat = self.shared.mailboxes.enter(key).ok_or(StoreError::Busy)?;
        let turn = tokio::time::timeout(TURN_WAIT_MAX, seat.turn()).await;
        let mut cell = turn.map_err(|_| StoreError::Busy)?;
        let taken = self.take(&mut cell, kind, key).await?;
        let seen = look(&taken.state);
        taken.put_back(&mut cell);
        Ok(seen)
    }

    /// Decides on the state in the cell, which is read first if it is not there.
    pub(super) async fn decide_on<A>(
        &self,
        cell: &mut Cell,
        kind: &Kind<A>,
        request: &Request<A::Command>,
    ) -> Result<Decided<A::Error>, StoreError>
    where
        A: Aggregate<Services = ()> + 'static,
        A::Command: Clone,
    {
        let key = StreamKey::of::<A>(request.store_id, request.id);
        fail::fail_point!("engine::before-decide");
        let mut taken = self.take(cell, kind, key).await?;
        let (chain, version, fresh) = (Arc::clone(&taken.chain), taken.place.version, taken.fresh);
        let still = |answer| Decided::Still(Still { chain, version, fresh, answer });
        if request.expected.is_some_and(|expected| expected != version) {
            taken.put_back(cell);
            return Ok(still(Err(ExecuteError::VersionMismatch { current: version })));
        }
        let sink = EventSink::default();
        let result = taken.state.handle(request.command.clone(), &(), &sink).await;
        let events = sink.collect().await;
        match result {
            Ok(()) if events.is_empty() => {
                taken.put_back(cell);
                Ok(still(Ok(())))
            }
            Err(refusal) => {
                // What it wrote before it refused is in the state, which is then thrown away.
                if events.is_empty() {
                    taken.put_back(cell);
                }
                Ok(still(Err(ExecuteError::Refused(refusal))))
            }
            Ok(()) => self.send(cell, kind, request, (taken, events)),
        }
    }

    /// Hands the events over to the appender. The state has them already.
    fn send<A>(
        &self,
        cell: &mut Cell,
        kind: &Kind<A>,
        request: &Request<A::Command>,
        (mut taken, events): (Taken<A>, Vec<A::Event>),
    ) -> Result<Decided<A::Error>, StoreError>
    where
        A: Aggregate<Services = ()> + 'static,
    {
        let key = StreamKey::of::<A>(request.store_id, request.id);
        let unit = Unit {
            stream: key,
            expected: taken.place.version,
            command_id: request.command_id,
            fingerprint: request.fingerprint,
            metadata: request.metadata.clone(),
            keys: events.iter().flat_map(kind.keys).collect(),
            events: events.iter().map(|event| self.encode::<A>(event)).collect::<Result<_, _>>()?,
        };
        check_limits([&unit])?;
        taken.place.version = unit.next_version();
        taken.place.bytes += unit.bytes();
        let due = taken.place.version - taken.place.snapshot >= SNAPSHOT_EVERY;
        let draft = if due {
            taken.place.snapshot = taken.place.version;
            Draft::of(kind, &key, taken.place.version, &*taken.state)
        } else {
            None
        };
        if let Some(draft) = &draft {
            taken.place.bytes = draft.bytes();
        }
        fail::fail_point!("engine::after-decide");
        let chain = Arc::clone(&taken.chain);
        let (unit, deadline) = (Some(unit), request.deadline);
        let entry = Entry { chain, unit, deadline };
        let settled = self.shared.appender.submit(entry);
        taken.put_back(cell);
        Ok(Decided::Sent { settled, draft })
    }

    /// The state with every decision in it that was made so far, stored or not.
    async fn take<A>(
        &self,
        cell: &mut Cell,
        kind: &Kind<A>,
        key: StreamKey,
    ) -> Result<Taken<A>, StoreError>
    where
        A: Aggregate + 'static,
    {
        let chain = cell.chain.take().filter(|chain| !chain.is_broken());
        let held = cell.held.take();
        if let Some(chain) = chain {
            cell.chain = Some(Arc::clone(&chain));
            if let Some(Held { state, place }) = held
                && let Ok(state) = state.downcast::<A>()
            {
                return Ok(Taken { state, place, chain, fresh: false });
            }
            // What is on its way must have arrived before the stream is read.
            if chain.has_outstanding() {
                self.shared.barrier(&chain).await?;
            }
        }
        let replayed = self.replay(kind, key).await?;
        let loaded = replayed.loaded;
        let chain = Chain::at(loaded.version, loaded.position);
        cell.chain = Some(Arc::clone(&chain));
        let bytes = size_of::<A>() + replayed.bytes;
        let place = Place { version: loaded.version, snapshot: replayed.snapshot, bytes };
        Ok(Taken { state: Box::new(loaded.state), place, chain, fresh: true })
    }

    fn encode<A: Aggregate>(&self, event: &A::Event) -> Result<NewEvent, StoreError> {
        let event_type = event.event_type();
        let version = event.event_version();
        let schema_version = version.parse::<i16>().ok().filter(|version| *version > 0);
        let schema_version = schema_version
            .ok_or_else(|| StoreError::Encode(format!("{event_type} has version `{version}`")))?;
        let payload = serde_json::to_vec(event)
            .map_err(|error| StoreError::Encode(format!("{event_type}: {error}")))?;
        Ok(NewEvent { event_id: (self.new_event_id)(), event_type, schema_version, payload })
    }
}
