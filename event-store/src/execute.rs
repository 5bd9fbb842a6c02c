//! From a command to its events: wait for the turn, decide, hand over, and answer exactly once.

mod decide;

use std::time::Duration;

use cqrs_es::Aggregate;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::answers::{FirstTime, Found};
use crate::appender::Settled;
use crate::mailbox::Seat;
use crate::snapshot::Draft;
use crate::{
    CommandRecord, Done, Engine, ExecuteError, Kind, Refusal, Request, StoreError, StreamKey,
    TRIES_MAX,
};
use decide::{Decided, Still};

/// How long a command without a deadline waits for its stream's turn before it is refused as busy.
const TURN_WAIT_MAX: Duration = Duration::from_secs(10);

/// Times a command is decided again because one before it in the queue was not stored. Each time
/// at least that one has left the queue.
const DISPLACED_MAX: u32 = 32;

impl Engine {
    /// Carries out one command: lets the aggregate decide, and stores what it decided.
    ///
    /// Runs in a task of its own that ends whatever becomes of the caller, so that a client that
    /// hangs up never leaves half a command. Commands to one stream take turns in this process.
    /// Each is decided on the state the one before it left behind, even before that is stored; but
    /// nobody is answered before everything the answer rests on is stored. If another process
    /// moves the stream, the command is decided again, [`TRIES_MAX`] times in all.
    ///
    /// A command that was carried out before (same id and fingerprint) is not decided for again:
    /// it answers what the first one did, with `replayed`. A repeat of a command that is still in
    /// flight waits for it. If the aggregate makes no events, nothing is stored, the command id
    /// neither.
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
        let permit = self.admit(request.priority)?;
        let engine = self.clone();
        let (reply, answer) = oneshot::channel();
        let work = async move {
            let mut draft = None;
            let result = engine.once(kind, &request, &mut draft).await;
            let position = result.as_ref().map_or(0, |done| done.position);
            // Whoever asked may have gone.
            let _ = reply.send(result);
            if let Some(draft) = draft {
                let key = StreamKey::of::<A>(request.store_id, request.id);
                engine.keep(draft, key, position).await;
            }
            drop(permit);
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "ends by itself; `drain` waits for its permit"
        )]
        tokio::spawn(work);
        answer.await.unwrap_or_else(|_| Err(StoreError::Panicked.into()))
    }

    /// Carries the command out unless that has been done, or is being done.
    async fn once<A>(
        &self,
        kind: &Kind<A>,
        request: &Request<A::Command>,
        draft: &mut Option<Draft>,
    ) -> Result<Done, ExecuteError<A::Error>>
    where
        A: Aggregate<Services = ()> + 'static,
        A::Command: Clone,
    {
        let key = (request.store_id, request.command_id);
        let first = loop {
            match self.shared.answers.find(key, request.fingerprint) {
                Found::Nothing(first) => break first,
                Found::Answer(done) => return Ok(Done { replayed: true, ..done }),
                Found::Reused => return Err(ExecuteError::CommandReused),
                Found::InFlight(ended) => {
                    let (until, late) = patience(request.deadline);
                    // It ends by being dropped, which is an error to the channel and none to us.
                    timeout_at(until, ended).await.map_err(|_| late)?.ok();
                }
            }
        };
        let stream = StreamKey::of::<A>(request.store_id, request.id);
        let seat = self.shared.mailboxes.enter(stream).ok_or(StoreError::Busy)?;
        self.tries(kind, request, &seat, (&first, draft)).await
    }

    /// Decides until something comes of it.
    async fn tries<A>(
        &self,
        kind: &Kind<A>,
        request: &Request<A::Command>,
        seat: &Seat,
        (first, draft): (&FirstTime, &mut Option<Draft>),
    ) -> Result<Done, ExecuteError<A::Error>>
    where
        A: Aggregate<Services = ()> + 'static,
        A::Command: Clone,
    {
        let (mut outrun, mut displaced) = (0, 0);
        loop {
            let settled = match self.decide(kind, request, seat).await? {
                Decided::Sent { settled, draft: made } => {
                    let settled = settled.await.unwrap_or(Settled::Failed(StoreError::Panicked));
                    *draft = made.filter(|_| matches!(settled, Settled::Done(_)));
                    settled
                }
                Decided::Still(still) => match self.confirm(request, seat.key(), still).await? {
                    Some(answer) => return answer,
                    None => Settled::Displaced,
                },
            };
            match settled {
                Settled::Done(done) => {
                    first.keep(done);
                    return Ok(done);
                }
                Settled::Displaced | Settled::Reached { .. } => displaced += 1,
                Settled::Failed(error) => return Err(error.into()),
                Settled::Refused(Refusal::Version { .. }) => outrun += 1,
                Settled::Refused(Refusal::KeyTaken { scope, key }) => {
                    // A repeat finds its own key taken if the first was for another stream.
                    let taken = ExecuteError::KeyTaken { scope, key };
                    return self.replayed(request).await?.unwrap_or(Err(taken));
                }
                Settled::Refused(Refusal::Repeated | Refusal::Reused) => {
                    return self.replayed(request).await?.unwrap_or(Err(ExecuteError::Conflict));
                }
            }
            if outrun == TRIES_MAX {
                return Err(ExecuteError::Conflict);
            }
            if displaced == DISPLACED_MAX {
                return Err(StoreError::Busy.into());
            }
        }
    }

    /// Waits for the turn and decides.
    async fn decide<A>(
        &self,
        kind: &Kind<A>,
        request: &Request<A::Command>,
        seat: &Seat,
    ) -> Result<Decided<A::Error>, StoreError>
    where
        A: Aggregate<Services = ()> + 'static,
        A::Command: Clone,
    {
        let (until, late) = patience(request.deadline);
        let Ok(mut cell) = timeout_at(until, seat.turn()).await else { return Err(late) };
        if until <= Instant::now() {
            return Err(late);
        }
        self.decide_on(&mut cell, kind, request).await
    }

    /// The final answer to a command that makes no events; `None` if it has to be decided again.
    ///
    /// It rests on a state that may not be stored yet, or that another process has moved on since,
    /// and the command may have been carried out long ago.
    async fn confirm<C, E>(
        &self,
        request: &Request<C>,
        key: StreamKey,
        still: Still<E>,
    ) -> Result<Option<Result<Done, ExecuteError<E>>>, StoreError> {
        let Still { chain, version, fresh, answer } = still;
        let checked = self.shared.lookup.check(key, request.command_id).await?;
        if let Some(record) = checked.record {
            return Ok(Some(first_answer(&record, request)));
        }
        let mut position = checked.position;
        // What was read for this very decision was true when it was read. Otherwise it counts what
        // the chain has stored and not the log's version alone: that another process may have made,
        // with other events than those the state holds.
        if !fresh {
            let reached = checked.version.max(version);
            let stored = match chain.stored() {
                stored if reached <= stored.0 => Some(stored),
                // Either it rests on what is not stored yet, or the stream has moved on; by us?
                _ if chain.has_outstanding() => self.shared.barrier(&chain).await?,
                _ => Some(chain.stored()),
            };
            let Some((_, stored)) = stored.filter(|(stored, _)| reached <= *stored) else {
                chain.break_off();
                return Ok(None);
            };
            position = stored;
        }
        let id = request.id;
        Ok(Some(answer.map(|()| Done { id, version, position, replayed: false })))
    }

    /// The first answer to this command, if it was carried out before.
    async fn replayed<C, E>(
        &self,
        request: &Request<C>,
    ) -> Result<Option<Result<Done, ExecuteError<E>>>, StoreError> {
        let record = self.command(request.store_id, request.command_id).await?;
        Ok(record.map(|record| first_answer(&record, request)))
    }

    /// Keeps a snapshot, unless many are being kept just now.
    pub(crate) async fn keep(&self, draft: Draft, key: StreamKey, position: i64) {
        let Ok(_permit) = self.shared.snapshots.try_acquire() else { return };
        if let Err(error) = draft.save(&self.pool, &key, position).await {
            tracing::warn!(?error, category = key.category, "a snapshot is not kept");
        }
        fail::fail_point!("engine::after-snapshot");
    }
}

/// How long a command waits for others, and what it is told then.
fn patience(deadline: Option<Instant>) -> (Instant, StoreError) {
    match deadline {
        Some(deadline) => (deadline, StoreError::Late),
        None => (Instant::now() + TURN_WAIT_MAX, StoreError::Busy),
    }
}

fn first_answer<C, E>(
    record: &CommandRecord,
    request: &Request<C>,
) -> Result<Done, ExecuteError<E>> {
    if record.fingerprint != request.fingerprint {
        return Err(ExecuteError::CommandReused);
    }
    Ok(Done { replayed: true, ..record.done() })
}
