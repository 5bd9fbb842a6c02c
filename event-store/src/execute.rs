//! From a command to its events: load, decide, append, and answer exactly once.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent as _};
use tokio::sync::MutexGuard;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::append::{AppendError, Loser, NewEvent, Refusal, Unit, append, check_limits};
use crate::read::{WINDOW, read_stream};
use crate::{
    CommandRecord, Done, Engine, ExecuteError, Kind, Request, StoreError, StreamKey, TRIES_MAX,
    TURN_WAIT_MAX,
};

/// Times a lost connection's command is looked up before the outcome is reported as unknown.
const LOOK_UPS_MAX: u32 = 5;

/// Wait before each look-up but the first: together 4 s, as long as a crashed server needs to
/// recover a short log.
const LOOK_UP_PAUSE: Duration = Duration::from_secs(1);

/// An aggregate as of one version.
#[derive(Clone, Debug)]
pub struct Loaded<A> {
    pub state: A,
    /// Events applied; 0 if the stream does not exist.
    pub version: i64,
    /// Position of the last event applied; 0 if there is none.
    pub position: i64,
}

impl Engine {
    /// Carries out one command: loads the aggregate, lets it decide, stores what it decided.
    ///
    /// Runs in a task of its own that ends whatever becomes of the caller, so that a client that
    /// hangs up never leaves half a command. Commands to one stream queue up in this process; if
    /// another process moves the stream meanwhile, the command is decided again, [`TRIES_MAX`]
    /// times in all. A command that was carried out before (same id and fingerprint) is not
    /// decided for again: it answers what the first one did, with `replayed`. If the aggregate
    /// makes no events, nothing is stored, the command id neither.
    pub async fn execute<A>(
        &self,
        kind: &'static Kind<A>,
        request: Request<A::Command>,
    ) -> Result<Done, ExecuteError<A::Error>>
    where
        A: Aggregate<Services = ()> + 'static,
        A::Command: Clone + Send + Sync + 'static,
        A::Error: Send + 'static,
    {
        let Ok(permit) = self.in_flight.clone().try_acquire_owned() else {
            return Err(StoreError::Busy.into());
        };
        let engine = self.clone();
        let work = async move {
            let answer = engine.run(kind, &request).await;
            drop(permit);
            answer
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "ends by itself; `drain` waits for its permit"
        )]
        let task = tokio::spawn(work);
        task.await.unwrap_or_else(|_| Err(StoreError::Panicked.into()))
    }

    /// The aggregate as it stands now, read in windows of [`WINDOW`] events.
    pub async fn load<A: Aggregate>(
        &self,
        kind: &Kind<A>,
        store_id: Uuid,
        id: Uuid,
    ) -> Result<Loaded<A>, StoreError> {
        let mut conn = self.pool().acquire().await?;
        let mut loaded = Loaded { state: A::default(), version: 0, position: 0 };
        loop {
            let stream = (A::TYPE, id);
            let window = read_stream(&mut conn, store_id, stream, loaded.version, WINDOW).await?;
            let ended = i64::try_from(window.len()).is_ok_and(|events| events < WINDOW);
            for event in window {
                let position = event.position;
                let decoded =
                    (kind.decode)(&event.event_type, event.schema_version, &event.payload)
                        .map_err(|source| StoreError::Decode { position, source })?;
                loaded.state.apply(decoded);
                loaded.version = event.version;
                loaded.position = position;
            }
            if ended {
                return Ok(loaded);
            }
        }
    }

    async fn run<A>(
        &self,
        kind: &Kind<A>,
        request: &Request<A::Command>,
    ) -> Result<Done, ExecuteError<A::Error>>
    where
        A: Aggregate<Services = ()>,
        A::Command: Clone,
    {
        let stream = StreamKey { store_id: request.store_id, category: A::TYPE, id: request.id };
        let _turn = self.turn(&stream).await?;
        let mut last_loss = None;
        for _ in 0..TRIES_MAX {
            let decision = match self.decide(kind, request).await {
                Ok(decision) => decision,
                // A repeat may well be refused ("already exists"): the first answer counts.
                Err(ExecuteError::Store(error)) => return Err(error.into()),
                Err(refusal) => return self.replay(request).await?.ok_or(refusal),
            };
            let unit = match decision {
                Decision::Nothing(done) => {
                    return Ok(self.replay(request).await?.unwrap_or(done));
                }
                Decision::Append(unit) => unit,
            };
            match self.try_append(unit).await {
                Ok(done) => return Ok(done),
                Err(AppendError::Refused(losers)) => match first_refusal(losers) {
                    Refusal::Version { .. } => last_loss = None,
                    Refusal::Repeated | Refusal::Reused => {
                        return self.replay(request).await?.ok_or(ExecuteError::Conflict);
                    }
                    Refusal::KeyTaken { scope, key } => {
                        return Err(ExecuteError::KeyTaken { scope, key });
                    }
                },
                Err(AppendError::Ambiguous(error)) => match self.look_up(request).await {
                    Ok(Some(done)) => return Ok(done),
                    // Not there now; deciding again under the same command id is safe even if the
                    // lost call is still to come: whichever is second will be refused.
                    Ok(None) => last_loss = Some(error),
                    Err(ExecuteError::Store(_)) => {
                        return Err(StoreError::OutcomeUnknown(error).into());
                    }
                    Err(refusal) => return Err(refusal),
                },
                Err(AppendError::Store(error)) => return Err(error.into()),
            }
        }
        Err(last_loss.map_or(ExecuteError::Conflict, |e| StoreError::OutcomeUnknown(e).into()))
    }

    /// Waits until no other command of this process is at work on the stream.
    async fn turn(&self, stream: &StreamKey) -> Result<MutexGuard<'_, ()>, StoreError> {
        let mut hasher = DefaultHasher::new();
        stream.hash(&mut hasher);
        let count = u64::try_from(self.turnstiles.len()).expect("usize fits in u64");
        let index = usize::try_from(hasher.finish() % count).expect("less than a usize");
        timeout(TURN_WAIT_MAX, self.turnstiles[index].lock()).await.map_err(|_| StoreError::Busy)
    }

    /// Loads the aggregate and asks it.
    async fn decide<A>(
        &self,
        kind: &Kind<A>,
        request: &Request<A::Command>,
    ) -> Result<Decision, ExecuteError<A::Error>>
    where
        A: Aggregate<Services = ()>,
        A::Command: Clone,
    {
        let Loaded { mut state, version, position } =
            self.load(kind, request.store_id, request.id).await?;
        if request.expected.is_some_and(|expected| expected != version) {
            return Err(ExecuteError::VersionMismatch { current: version });
        }
        let sink = EventSink::default();
        let command = request.command.clone();
        state.handle(command, &(), &sink).await.map_err(ExecuteError::Refused)?;
        let events = sink.collect().await;
        if events.is_empty() {
            let done = Done { id: request.id, version, position, replayed: false };
            return Ok(Decision::Nothing(done));
        }
        let unit = Unit {
            stream: StreamKey { store_id: request.store_id, category: A::TYPE, id: request.id },
            expected: version,
            command_id: request.command_id,
            fingerprint: request.fingerprint,
            metadata: request.metadata.clone(),
            keys: events.iter().flat_map(kind.keys).collect(),
            events: events.iter().map(|event| self.encode::<A>(event)).collect::<Result<_, _>>()?,
        };
        Ok(Decision::Append(unit))
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

    async fn try_append(&self, unit: Unit) -> Result<Done, AppendError> {
        let units = [unit];
        check_limits(&units)?;
        let mut conn = self.pool().acquire().await.map_err(StoreError::from)?;
        let done = append(&mut conn, &units).await?;
        self.announce(&done);
        Ok(done[0])
    }

    /// The first answer to this command, if it was carried out before.
    async fn replay<C, E>(&self, request: &Request<C>) -> Result<Option<Done>, ExecuteError<E>> {
        let record = self.command(request.store_id, request.command_id).await?;
        record.map(|record| answer(&record, request, true)).transpose()
    }

    /// What became of a command whose connection died. `None`: nothing so far.
    async fn look_up<C, E>(&self, request: &Request<C>) -> Result<Option<Done>, ExecuteError<E>> {
        let mut look_ups = 1;
        loop {
            match self.command(request.store_id, request.command_id).await {
                Ok(Some(record)) => return answer(&record, request, false).map(Some),
                Ok(None) => return Ok(None),
                Err(error) if look_ups == LOOK_UPS_MAX => return Err(error.into()),
                Err(error) => tracing::warn!(%error, look_ups, "cannot look up a lost command"),
            }
            look_ups += 1;
            sleep(LOOK_UP_PAUSE).await;
        }
    }
}

/// What an aggregate decided.
enum Decision {
    /// Everything is as the command wants it.
    Nothing(Done),
    Append(Unit),
}

fn answer<C, E>(
    record: &CommandRecord,
    request: &Request<C>,
    replayed: bool,
) -> Result<Done, ExecuteError<E>> {
    if record.fingerprint != request.fingerprint {
        return Err(ExecuteError::CommandReused);
    }
    let CommandRecord { stream_id, version, position, .. } = *record;
    Ok(Done { id: stream_id, version, position, replayed })
}

fn first_refusal(losers: Vec<Loser>) -> Refusal {
    losers.into_iter().next().expect("`Refused` names at least one unit").why
}
