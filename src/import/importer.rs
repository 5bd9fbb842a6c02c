//! What imports need to act: the log, the process manager, the store, and who they act as.

use std::time::Duration;

use chrono::{DateTime, Utc};
use commands::{CommandError, Ctx, Intent, Priority};
use event_schemas::{
    ids::{ActorId, CheckoutId, OrderId, StoreId, VariantId},
    inventory::StockItemEvent,
    metadata::{Actor, ActorKind},
    upcast,
};
use event_store::{StoreError, read};
use futures::{StreamExt as _, future::BoxFuture, stream};
use sagas::{DriveError, Next, SagaCtx};

use super::{
    problem::{Place, Problem, Problems},
    progress::Bar,
    report::Tally,
};
use crate::config::Progress;

/// Things that are worked on at once. The log takes one append at a time, so more would only
/// queue; fewer would let it wait for our round trips.
const CONCURRENCY: usize = 8;

/// The card of the sandbox that everything of the past was paid with.
pub(crate) const CARD: &str = "sbx_ok";

/// Times a process is driven before it is given up, and the wait between two.
const DRIVES_MAX: u32 = 20;
/// See [`DRIVES_MAX`].
const DRIVE_PAUSE: Duration = Duration::from_millis(250);

/// Who takes over, and where to.
#[derive(Clone)]
pub struct Importer {
    /// The log and the clock.
    pub ctx: Ctx,
    /// What finishes checkouts and refunds.
    pub saga: SagaCtx,
    /// Where to.
    pub store: StoreId,
    actor: Actor,
    progress: Progress,
}

/// What became of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was not there before.
    Created,
    /// It was there and is different now.
    Updated,
    /// It was there already.
    Unchanged,
}

/// Why a thing could not be taken over.
#[derive(Debug)]
pub(crate) enum Failure {
    /// This one cannot; the others can. What is wrong and what to do.
    Refused(String),
    /// Nothing can: the run ends, and the next one goes on where it stopped.
    Fatal(anyhow::Error),
}

/// One thing to take over and where the file has it.
pub(crate) type Work<'a, T> = (Place, BoxFuture<'a, Result<T, Failure>>);

impl std::fmt::Debug for Importer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Importer").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Importer {
    /// Acts as the importer of the store.
    pub fn new(saga: SagaCtx, store: StoreId, progress: Progress) -> Importer {
        let ctx = saga.commands.clone();
        let id = ActorId::derive(&[b"import", store.0.as_bytes()]);
        let actor = Actor { kind: ActorKind::Import, id };
        Importer { ctx, saga, store, actor, progress }
    }

    /// The intent of one command. `key` names what it does in the merchant's own terms: the same
    /// key is the same command, in every run and from every file.
    pub fn intent(&self, key: &[&str], at: DateTime<Utc>) -> Intent {
        let mut parts: Vec<&[u8]> = vec![self.store.0.as_bytes(), b"import"];
        parts.extend(key.iter().map(|part| part.as_bytes()));
        let intent = Intent::of_system(self.store, self.actor, &parts, at);
        // Whoever imports can wait; shoppers cannot.
        Intent { priority: Priority::Low, ..intent }
    }

    /// Does all work of a kind, [`CONCURRENCY`] at once.
    pub(crate) async fn each<T>(
        &self,
        kind: &'static str,
        work: Vec<Work<'_, T>>,
        problems: &mut Problems,
    ) -> anyhow::Result<Vec<Option<T>>> {
        self.run((kind, CONCURRENCY), work, problems).await
    }

    /// As [`Importer::each`], one after the other, because each may depend on the one before.
    pub(crate) async fn in_order<T>(
        &self,
        kind: &'static str,
        work: Vec<Work<'_, T>>,
        problems: &mut Problems,
    ) -> anyhow::Result<Vec<Option<T>>> {
        self.run((kind, 1), work, problems).await
    }

    /// Results stand in the order of the work; none is where a problem was added. Ends early only
    /// when the store cannot be worked with at all.
    async fn run<T>(
        &self,
        (kind, at_once): (&'static str, usize),
        work: Vec<Work<'_, T>>,
        problems: &mut Problems,
    ) -> anyhow::Result<Vec<Option<T>>> {
        let bar = Bar::start(self.progress, kind, work.len());
        let mut results = Vec::with_capacity(work.len());
        let (places, work): (Vec<Place>, Vec<_>) = work.into_iter().unzip();
        let mut done = stream::iter(work).buffered(at_once);
        while let Some(result) = done.next().await {
            bar.step();
            let place = places[results.len()];
            results.push(match result {
                Ok(result) => Some(result),
                Err(Failure::Refused(message)) => {
                    problems.push(Problem::at(place, message));
                    None
                }
                Err(Failure::Fatal(error)) => {
                    bar.finish();
                    return Err(error);
                }
            });
        }
        bar.finish();
        Ok(results)
    }

    /// Takes a checkout before it begins, so that no process manager works on it as well.
    pub(crate) async fn lease_checkout(&self, id: CheckoutId) -> Result<(), Failure> {
        sagas::lease(&self.saga, self.store, id).await.map_err(undriven)
    }

    /// Drives a checkout until it rests. Another process manager may be at it as well, which does
    /// no harm but may cost a try.
    pub(crate) async fn drive_checkout(&self, id: CheckoutId) -> Result<(), Failure> {
        for _ in 1..DRIVES_MAX {
            let driven = sagas::drive_to_rest(&self.saga, self.store, id).await;
            if driven.is_ok_and(|loaded| loaded.state.rests()) {
                return Ok(());
            }
            tokio::time::sleep(DRIVE_PAUSE).await;
        }
        sagas::drive_to_rest(&self.saga, self.store, id).await.map(|_| ()).map_err(undriven)
    }

    /// Drives an order until no refund of it is under way, or gives up.
    pub(crate) async fn drive_order(&self, id: OrderId) -> Result<(), Failure> {
        for _ in 1..DRIVES_MAX {
            let driven = sagas::drive_order(&self.saga, self.store, id).await;
            if matches!(driven, Ok(Next::Done)) {
                return Ok(());
            }
            tokio::time::sleep(DRIVE_PAUSE).await;
        }
        sagas::drive_order(&self.saga, self.store, id).await.map(|_| ()).map_err(undriven)
    }

    /// Everything that ever happened to the stock of a variant.
    pub(crate) async fn stock_history(
        &self,
        variant_id: VariantId,
    ) -> Result<Vec<StockItemEvent>, StoreError> {
        let mut conn = self.ctx.engine.pool().acquire().await?;
        let stream = ("stock_item", variant_id.0);
        let mut events = Vec::new();
        loop {
            let after = i64::try_from(events.len()).expect("a stream fits in memory");
            let window =
                read::read_stream(&mut conn, self.store.0, stream, after, read::WINDOW).await?;
            if window.is_empty() {
                return Ok(events);
            }
            for event in window {
                let decoded =
                    upcast::decode(&event.event_type, event.schema_version, &event.payload);
                let position = event.position;
                events.push(
                    decoded
                        .map_err(|source| StoreError::Decode { position, source: source.into() })?,
                );
            }
        }
    }
}

/// Counts outcomes; what is missing has failed.
pub(crate) fn tally(outcomes: impl IntoIterator<Item = Option<Outcome>>) -> Tally {
    let mut tally = Tally::default();
    for outcome in outcomes {
        match outcome {
            Some(Outcome::Created) => tally.created += 1,
            Some(Outcome::Updated) => tally.updated += 1,
            Some(Outcome::Unchanged) => tally.unchanged += 1,
            None => tally.failed += 1,
        }
    }
    tally
}

impl<E: std::error::Error + Send + Sync + 'static> From<CommandError<E>> for Failure {
    fn from(error: CommandError<E>) -> Failure {
        match error {
            CommandError::Store(error) => error.into(),
            CommandError::Conflict(_) | CommandError::Stale { .. } => {
                Failure::Refused(format!("{error}; run the import again"))
            }
            CommandError::Taken { scope, key } => Failure::Refused(format!(
                "{scope} `{}` is in use elsewhere in the store; change it here or there",
                super::problem::shown(&key)
            )),
            CommandError::Rejected(_) | CommandError::KeyReused => {
                Failure::Refused(error.to_string())
            }
        }
    }
}

/// A process that cannot go on for reasons of the database stops the run; any other stops itself.
fn undriven(error: DriveError) -> Failure {
    match error {
        DriveError::Store(error) => error.into(),
        DriveError::Database(error) => Failure::Fatal(error.into()),
        other => Failure::Refused(format!("{other}; run the import again")),
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Failure {
        Failure::Fatal(error.into())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Fatal(
            anyhow::Error::new(error).context("the import stopped; run it again to go on"),
        )
    }
}
