//! The use cases that write: one async function per command.
//!
//! A use case parses nothing and answers nothing; it puts a command to an aggregate through the
//! engine, and looks up what the rules need to know from other streams. It never reads a read
//! model: a decision must not rest on a stale row.

use std::{fmt, sync::Arc};

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use event_schemas::{
    ids::{CommandId, StoreId},
    metadata::{Actor, Metadata},
};
use event_store::{Engine, Kind, Request};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use uuid::Uuid;

pub mod cart;
pub mod catalog;
pub mod checkout;
pub mod coupon;
pub mod error;
pub mod fulfilment;
pub mod inventory;
pub mod order;
pub mod payment;
pub mod shipping;
pub mod store;
pub mod tax;

pub use error::CommandError;
pub use event_store::{Done, Loaded, Priority, StoreError};

/// Everything ambient, handed in: the log, the time, new ids.
#[derive(Clone)]
pub struct Ctx {
    /// The log.
    pub engine: Engine,
    /// The time now. The only way to it.
    pub now: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    /// A new id, sortable by time. The only way to one.
    pub new_id: fn() -> Uuid,
}

impl Ctx {
    /// The time now.
    pub fn now(&self) -> DateTime<Utc> {
        (self.now)()
    }
}

impl fmt::Debug for Ctx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ctx").finish_non_exhaustive()
    }
}

/// The circumstances of one command: who wants it, in which store, as which repeatable request.
#[derive(Clone, Debug)]
pub struct Intent {
    /// The store; the wall between tenants.
    pub store_id: StoreId,
    /// Who.
    pub actor: Actor,
    /// Sending the same id again has no second effect and gets the first answer.
    pub command_id: CommandId,
    /// Hash of the request; the same `command_id` with another fingerprint is refused.
    pub fingerprint: [u8; 32],
    /// The journey this belongs to. For everything about a checkout and its order: its id.
    pub correlation_id: String,
    /// The HTTP request, if one asked for it.
    pub request_id: Option<String>,
    /// Version the stream must have, from `If-Match`.
    pub expected: Option<i64>,
    /// When it happens in the business. Differs from the time now only for what is taken over
    /// from the past.
    pub at: DateTime<Utc>,
    /// Who goes first when there is more to do than can be done.
    pub priority: Priority,
    /// When nobody waits for the answer any more.
    pub deadline: Option<Instant>,
}

impl Intent {
    /// The intent of one step of this one, for use cases that send several commands. The same
    /// step of the same intent has the same command id, so that all of it can be repeated.
    pub fn step(&self, step: &str) -> Intent {
        let command_id = CommandId::derive(&[self.command_id.0.as_bytes(), step.as_bytes()]);
        Intent { command_id, expected: None, ..self.clone() }
    }

    /// An intent of the system itself: its command id follows from `parts`, which name the
    /// process, the step and the attempt, so that a crash repeats it harmlessly.
    pub fn of_system(store_id: StoreId, actor: Actor, parts: &[&[u8]], at: DateTime<Utc>) -> Self {
        let command_id = CommandId::derive(parts);
        Intent {
            store_id,
            actor,
            command_id,
            fingerprint: Sha256::digest(command_id.0.as_bytes()).into(),
            correlation_id: command_id.to_string(),
            request_id: None,
            expected: None,
            at,
            priority: Priority::High,
            deadline: None,
        }
    }
}

/// Puts one command to an aggregate that the caller knows, and takes what is known to where the
/// command leaves the aggregate. That needs no reading unless somebody else has moved it: the
/// engine says whether the command was decided on the version known, and what is decided on the
/// same state is the same.
///
/// `intent.expected` is not looked at.
pub(crate) async fn run_on<A>(
    ctx: &Ctx,
    kind: &'static Kind<A>,
    id: Uuid,
    intent: &Intent,
    (command, known): (A::Command, &mut Loaded<A>),
) -> Result<(), CommandError<A::Error>>
where
    A: Aggregate<Services = ()> + 'static,
    A::Command: Clone + Send + Sync + 'static,
    A::Error: Send + 'static,
{
    let still = Intent { expected: Some(known.version), ..intent.clone() };
    match run(ctx, kind, id, &still, command.clone()).await {
        Ok(done) if !done.replayed => {
            let sink = EventSink::default();
            known.state.handle(command, &(), &sink).await.map_err(CommandError::Rejected)?;
            (known.version, known.position) = (done.version, done.position);
            return Ok(());
        }
        Ok(_) => {}
        Err(CommandError::Stale { .. }) => {
            let whatever_it_is = Intent { expected: None, ..still };
            run(ctx, kind, id, &whatever_it_is, command).await?;
        }
        Err(error) => return Err(error),
    }
    *known = ctx.engine.load(kind, intent.store_id.0, id).await.map_err(CommandError::Store)?;
    Ok(())
}

/// Puts one command to one aggregate.
pub(crate) async fn run<A>(
    ctx: &Ctx,
    kind: &'static Kind<A>,
    id: Uuid,
    intent: &Intent,
    command: A::Command,
) -> Result<Done, CommandError<A::Error>>
where
    A: Aggregate<Services = ()> + 'static,
    A::Command: Clone + Send + Sync + 'static,
    A::Error: Send + 'static,
{
    let metadata = Metadata {
        actor: intent.actor,
        command_id: intent.command_id,
        correlation_id: intent.correlation_id.clone(),
        occurred_at: intent.at,
        request_id: intent.request_id.clone(),
    };
    let request = Request {
        store_id: intent.store_id.0,
        id,
        command,
        command_id: intent.command_id.0,
        fingerprint: intent.fingerprint,
        expected: intent.expected,
        metadata: serde_json::to_vec(&metadata).expect("metadata has no map with odd keys"),
        priority: intent.priority,
        deadline: intent.deadline,
    };
    let result = ctx.engine.execute(kind, request).await;
    result.map_err(|error| CommandError::from_engine(A::TYPE, error))
}
