//! From a command to its events: load, decide, append, and answer exactly once.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent as _};
use sqlx::PgConnection;
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
        load(&mut conn, kind, store_id, id).await
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
        let mut lost = None;
        let answer = self.tries(kind, request, &mut lost).await;
        match (answer, lost) {
            (Err(ExecuteError::Store(_) | ExecuteError::Conflict), Some(error)) => {
                Err(StoreError::OutcomeUnknown(Arc::new(error)).into())
            }
            (answer, _) => answer,
        }
    }

    /// Decides until something comes of it. `lost` says how the connection of an append died of
    /// which nothing is known yet.
    async fn tries<A>(
        &self,
        kind: &Kind<A>,
        request: &Request<A::Command>,
        lost: &mut Option<sqlx::Error>,
    ) -> Result<Done, ExecuteError<A::Error>>
    where
        A: Aggregate<Services = ()>,
        A::Command: Clone,
    {
        for _ in 0..TRIES_MAX {
            let failure = match self.attempt(kind, request).await {
                Ok(Attempt::Appended(done)) => return Ok(done),
                Ok(Attempt::Nothing(done)) => {
                    return Ok(self.replay(request).await?.unwrap_or(done));
                }
                Err(Failure::Decision(ExecuteError::Store(error))) => return Err(error.into()),
                // A repeat may well be refused ("exists already"): the first answer counts.
                Err(Failure::Decision(no)) => return self.replay(request).await?.ok_or(no),
                Err(Failure::Append(failure)) => failure,
            };
            match failure {
                AppendError::Refused(losers) => match first(losers) {
                    // Should a lost append still come, it finds the stream moved as well.
                    Refusal::Version { .. } => *lost = None,
                    Refusal::Repeated | Refusal::Reused => {
                        return self.replay(request).await?.ok_or(ExecuteError::Conflict);
                    }
                    Refusal::KeyTaken { scope, key } => {
                        return Err(ExecuteError::KeyTaken { scope, key });
                    }
                },
                AppendError::Ambiguous(error) => {
                    *lost = Some(error);
                    if let Some(done) = self.look_up(request).await? {
                        self.announce(&[done]);
                        return Ok(done);
                    }
                    // Not there now. Deciding again under the same command id is safe even if the
                    // lost append is still to come: whichever is second is refused.
                }
                AppendError::Store(error) => return Err(error.into()),
            }
        }
        Err(ExecuteError::Conflict)
    }

    /// Loads, decides and appends once, on one connection.
    async fn attempt<A>(
        &self,
        kind: &Kind<A>,
        request: &Request<A::Command>,
    ) -> Result<Attempt, Failure<A::Error>>
    where
        A: Aggregate<Services = ()>,
        A::Command: Clone,
    {
        let mut conn = self.pool().acquire().await.map_err(StoreError::from)?;
        match self.decide(&mut conn, kind, request).await.map_err(Failure::Decision)? {
            Decision::Nothing(done) => Ok(Attempt::Nothing(done)),
            Decision::Append(unit) => {
                let units = [unit];
                check_limits(&units)?;
                let done = append(&mut conn, &units).await.map_err(Failure::Append)?;
                self.announce(&done);
                Ok(Attempt::Appended(done[0]))
            }
        }
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
        conn: &mut PgConnection,
        kind: &Kind<A>,
        request: &Request<A::Command>,
    ) -> Result<Decision, ExecuteError<A::Error>>
    where
        A: Aggregate<Services = ()>,
        A::Command: Clone,
    {
        let Loaded { mut state, version, position } =
            load(conn, kind, request.store_id, request.id).await?;
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
                Ok(record) => {
                    return record.map(|record| answer(&record, request, false)).transpose();
                }
                Err(error) if look_ups == LOOK_UPS_MAX => return Err(error.into()),
                Err(error) => tracing::warn!(?error, look_ups, "cannot look up a lost command"),
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

/// What became of one try.
enum Attempt {
    Nothing(Done),
    Appended(Done),
}

/// Why one try came to nothing.
enum Failure<E> {
    Decision(ExecuteError<E>),
    Append(AppendError),
}

impl<E> From<StoreError> for Failure<E> {
    fn from(error: StoreError) -> Failure<E> {
        Failure::Decision(error.into())
    }
}

async fn load<A: Aggregate>(
    conn: &mut PgConnection,
    kind: &Kind<A>,
    store_id: Uuid,
    id: Uuid,
) -> Result<Loaded<A>, StoreError> {
    let mut loaded = Loaded { state: A::default(), version: 0, position: 0 };
    loop {
        let window = read_stream(conn, store_id, (A::TYPE, id), loaded.version, WINDOW).await?;
        let ended = i64::try_from(window.len()).is_ok_and(|events| events < WINDOW);
        for event in window {
            let position = event.position;
            let decoded = (kind.decode)(&event.event_type, event.schema_version, &event.payload)
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

fn first(losers: Vec<Loser>) -> Refusal {
    losers.into_iter().next().expect("`Refused` names at least one unit").why
}
