//! How much is worked on at once, who goes first, and until when anybody waits.
//!
//! A request takes a place before anything is done for it, and before its body is read; without a
//! free one it is answered `503 overloaded` at once. A queue in front would only make everybody
//! late: the client has its own, and knows with `Retry-After` when to come again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use tokio::time::Instant;

use crate::edge::Edge;
use crate::problem::{FieldError, Problem};

/// Commands one process works on at once. A laptop carries out a thousand in a second, so the last
/// of them is answered while its client still waits; the log itself takes twice as many.
pub const COMMANDS_MAX: usize = 512;

/// Queries one process works on at once: many for each connection, because those that ask for
/// `X-Min-Position` mostly wait.
pub const QUERIES_MAX: usize = 256;

/// How long a request may be worked on. The rest of the time until the edge gives up is for what
/// had reached the database by then.
pub const PATIENCE: Duration = Duration::from_secs(25);

const TIMEOUT_HEADER: &str = "x-request-timeout";

/// Longest `X-Request-Timeout` that is one, in characters: `86400.001` is.
const TIMEOUT_CHARS_MAX: usize = 9;

/// What a request competes for, and who goes first when there is more to do than can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Reads tables and changes nothing. Has places of its own: readers never starve commands, nor
    /// the other way round.
    Query,
    /// A command that can wait: back office, catalogue, imports.
    Low,
    /// Shoppers who have not paid yet.
    Normal,
    /// Money is on its way, or somebody else's machine waits: payments, webhooks.
    High,
}

impl<S: Sync> FromRequestParts<S> for Class {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Class, Problem> {
        let class = parts.extensions.get::<Class>().copied();
        class.ok_or_else(|| Problem::internal("a route without a class asks for it"))
    }
}

/// Places of one process.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At least 8, so that every class has some.
    pub commands: usize,
    pub queries: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { commands: COMMANDS_MAX, queries: QUERIES_MAX }
    }
}

impl Limits {
    /// How many may be taken, by whomever, for `class` to get one more. The back office gets none
    /// of the upper half, so a crowd of shoppers always finds room; shoppers who have not paid get
    /// none of the last eighth, so that those who pay do.
    fn of(self, class: Class) -> usize {
        match class {
            Class::Query => self.queries,
            Class::Low => self.commands / 2,
            Class::Normal => self.commands - self.commands / 8,
            Class::High => self.commands,
        }
    }
}

/// How many places are taken.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    commands: AtomicUsize,
    queries: AtomicUsize,
}

impl Taken {
    fn of(&self, class: Class) -> &AtomicUsize {
        match class {
            Class::Query => &self.queries,
            Class::Low | Class::Normal | Class::High => &self.commands,
        }
    }
}

/// A place among those who are worked for; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    edge: Edge,
    class: Class,
}

impl Place {
    /// `None` if all places that `class` may use are taken. Never waits.
    pub(crate) fn take(edge: &Edge, class: Class) -> Option<Place> {
        let max = edge.limits().of(class);
        let one_more = |taken: usize| (taken < max).then_some(taken + 1);
        let taken = edge.taken().of(class);
        taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        Some(Place { edge: edge.clone(), class })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.edge.taken().of(self.class).fetch_sub(1, Ordering::AcqRel);
    }
}

/// When nobody waits for the answer any more: what has not reached the database by then is not
/// begun.
///
/// [`PATIENCE`] from the arrival of the request, or less if header `X-Request-Timeout` says so, in
/// seconds with at most three decimals. `400 malformed_header` unless that is a number above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// Of a request that arrives now.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Deadline, Problem> {
        let asked = asked(headers)?.unwrap_or(PATIENCE);
        Ok(Deadline(Instant::now() + asked.min(PATIENCE)))
    }

    /// What is left of `wait` before nobody waits any more; zero when that is now.
    pub fn within(self, wait: Duration) -> Duration {
        wait.min(self.0.saturating_duration_since(Instant::now()))
    }
}

impl<S: Sync> FromRequestParts<S> for Deadline {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Deadline, Problem> {
        parts.extensions.get::<Deadline>().copied().ok_or_else(crate::edge::missing)
    }
}

/// How long the client waits, if it says so.
fn asked(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let mut values = headers.get_all(TIMEOUT_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if let (Some(wait), None) = (value.to_str().ok().and_then(seconds), values.next()) {
        return Ok(Some(wait));
    }
    let detail = "seconds above zero, with at most three decimals, such as 2.5";
    let error = FieldError::parameter("X-Request-Timeout", "invalid", detail);
    Err(Problem::new("malformed_header").error(error))
}

/// `2`, `2.5` and `0.250`, but none of the other ways to write a number.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if TIMEOUT_CHARS_MAX < text.len() || 3 < decimals.len() || !digits(whole) || !digits(decimals) {
        return None;
    }
    let milliseconds: u64 = format!("{whole}{decimals:0<3}").parse().ok()?;
    (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests;
