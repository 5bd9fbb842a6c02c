//! What is stored beside every event: who, why, and as part of what.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{ActorId, CommandId};

/// Circumstances of one command; every event of the command carries them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Who acted.
    pub actor: Actor,
    /// The command that made the event.
    pub command_id: CommandId,
    /// The journey this belongs to: the id of the checkout from first line to last refund.
    pub correlation_id: String,
    /// When it happened in the business; the time it was recorded is the database's.
    pub occurred_at: DateTime<Utc>,
    /// The HTTP request, if one asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// Who acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// What sort of actor.
    pub kind: ActorKind,
    /// Which one.
    pub id: ActorId,
}

/// What sort of actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person or program with a token.
    User,
    /// A process manager or timer of ours.
    System,
    /// An import from the command line.
    Import,
}
