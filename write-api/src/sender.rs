//! Who sends a command, and as which repeatable request.

use api_kit::{Caller, Class, Deadline, Idempotency, IfMatch, Problem, RequiredIdempotency};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use commands::{Intent, Priority};
use event_schemas::ids::StoreId;
use event_schemas::metadata::{Actor, ActorKind};
use fail::fail_point;

use crate::WriteState;

/// The circumstances of a command, as the request tells them; without a key the command cannot be
/// repeated.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    caller: Caller,
    idempotency: Idempotency,
    if_match: IfMatch,
    at: DateTime<Utc>,
    class: Class,
    deadline: Deadline,
}

/// As [`Sender`]; `400 idempotency_key_required` without a key.
#[derive(Clone, Debug)]
pub(crate) struct KeyedSender(pub(crate) Sender);

impl Sender {
    pub(crate) fn store_id(&self) -> StoreId {
        self.caller.store_id
    }

    pub(crate) fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// The intent of the request whose body has `digest`.
    pub(crate) fn intent(&self, digest: &[u8; 32]) -> Intent {
        fail_point!("write-api::after-parse");
        Intent {
            store_id: self.caller.store_id,
            actor: Actor { kind: ActorKind::User, id: self.caller.actor_id },
            command_id: self.idempotency.command_id(),
            fingerprint: self.idempotency.fingerprint(digest),
            correlation_id: self.caller.correlation_id.to_string(),
            request_id: Some(self.caller.request_id.to_string()),
            expected: self.if_match.expected(),
            at: self.at,
            priority: priority(self.class),
            deadline: Some(self.deadline.0),
        }
    }

    /// As [`Sender::intent`], for what overwrites: `428` without `If-Match`.
    pub(crate) fn overwriting(&self, digest: &[u8; 32]) -> Result<Intent, Problem> {
        self.if_match.required()?;
        Ok(self.intent(digest))
    }
}

/// Who goes first at the edge goes first in the engine.
fn priority(class: Class) -> Priority {
    match class {
        Class::High => Priority::High,
        Class::Normal => Priority::Normal,
        Class::Low | Class::Query => Priority::Low,
    }
}

impl FromRequestParts<WriteState> for Sender {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &WriteState) -> Result<Self, Problem> {
        Ok(Sender {
            caller: Caller::from_request_parts(parts, state).await?,
            idempotency: Idempotency::from_request_parts(parts, state).await?,
            if_match: IfMatch::from_request_parts(parts, state).await?,
            at: state.ctx.now(),
            class: Class::from_request_parts(parts, state).await?,
            deadline: Deadline::from_request_parts(parts, state).await?,
        })
    }
}

impl FromRequestParts<WriteState> for KeyedSender {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &WriteState) -> Result<Self, Problem> {
        RequiredIdempotency::from_request_parts(parts, state).await?;
        Sender::from_request_parts(parts, state).await.map(KeyedSender)
    }
}
