//! INV-4: no acknowledged command is lost and none takes effect twice. INV-10: a repeat gets the
//! first answer.

use std::collections::{HashMap, HashSet};

use api_kit::problem::CODES;
use chrono::{DateTime, Utc};
use event_schemas::{
    ids::{ActorId, StoreId},
    metadata::{ActorKind, Metadata},
};
use event_store::read;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Question, ask};
use crate::{Answer, Attempt, Entry, Evidence, Violation};

const LOST: &str = "INV-4";
const ANSWERED_OTHERWISE: &str = "INV-10";

/// Commands looked up at a time.
const WINDOW: usize = 1_000;

/// What the refusal of a key that came with another body is called.
const REUSED: &str = "idempotency_key_reused";

/// Ends of paths of commands that may find everything as they want it: then nothing is recorded,
/// and the answer says where the stream is.
const MAY_CHANGE_NOTHING: [&str; 6] =
    ["complete", "confirm-action", "publish", "unpublish", "archive", "price"];

/// What the program itself says it refused has had no effect. The ends of a checkout's process are
/// answered as problems, and are effects.
const REFUSED_AND_DONE: Question = Question {
    invariant: LOST,
    in_the_end: false,
    sql: "
        SELECT format('request %s to %s was refused with %s, and made %s at position %s',
                      r.request_id, r.path, r.code, e.event_type, e.position)
          FROM log.refusals r
          JOIN log.events_json e ON e.store_id = r.store_id
               AND e.metadata ->> 'request_id' = r.request_id
         WHERE r.code NOT IN ('payment_declined', 'insufficient_stock', 'checkout_expired',
                              'checkout_failed')",
};

/// What an answer says about its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// It took effect. Of a checkout it may be a problem: the payment was declined, say.
    Done,
    /// It had no effect.
    Refused,
    /// Nothing for certain: busy, in flight, an error on the server's side.
    Nothing,
}

fn said(answer: &Answer) -> Said {
    let code = answer.code.as_deref();
    let passing = CODES.iter().any(|row| row.retryable && Some(row.code) == code);
    match answer.status {
        200..=299 => Said::Done,
        400..=499 if answer.position.is_some() => Said::Done,
        400..=499 if !passing && ![408, 429].contains(&answer.status) => Said::Refused,
        _ => Said::Nothing,
    }
}

/// Whether the answer is only for now: the process of the checkout had not come to rest.
fn is_provisional(entry: &Entry, answer: &Answer) -> bool {
    answer.status == 202 && is_of_checkouts(entry)
}

fn is_of_checkouts(entry: &Entry) -> bool {
    entry.path.starts_with("/api/v1/checkouts")
}

/// What the log has on record of a command.
#[derive(Clone, Debug, sqlx::FromRow)]
struct Record {
    store_id: Uuid,
    command_id: Uuid,
    position: i64,
    /// How often it is recorded.
    times: i64,
    /// Whether the last of its events is where the record says.
    has_events: bool,
}

/// Every key of the history, and every event of its clients.
pub(super) async fn check(
    evidence: &Evidence,
    conn: &mut PgConnection,
) -> anyhow::Result<Vec<Violation>> {
    let mut violations = Vec::new();
    for window in evidence.history.entries.chunks(WINDOW) {
        let records = records(conn, window).await?;
        for entry in window {
            let key = (entry.store_id().0, entry.command_id().0);
            let mut findings = Findings { entry, violations: &mut violations };
            let record = records.get(&key);
            findings.of_record(record);
            findings.of_answers(record);
            for answer in entry.honest().filter_map(Attempt::answer) {
                if record.is_none() && said(answer) == Said::Done {
                    let there = stands(conn, entry, answer).await?;
                    findings.unrecorded(answer, there);
                }
            }
        }
    }
    violations.extend(strangers(evidence, conn).await?);
    violations.extend(ask(evidence, conn, &[REFUSED_AND_DONE]).await?);
    Ok(violations)
}

async fn records(
    conn: &mut PgConnection,
    entries: &[Entry],
) -> anyhow::Result<HashMap<(Uuid, Uuid), Record>> {
    let stores: Vec<Uuid> = entries.iter().map(|entry| entry.store_id().0).collect();
    let ids: Vec<Uuid> = entries.iter().map(|entry| entry.command_id().0).collect();
    let records: Vec<Record> = sqlx::query_as(
        "SELECT c.store_id, c.command_id, max(c.position) AS position, count(*) AS times,
                bool_and(EXISTS (
                    SELECT FROM log.events e
                     WHERE e.position = c.position AND e.store_id = c.store_id
                       AND e.category = c.category AND e.stream_id = c.stream_id
                       AND e.version = c.version)) AS has_events
           FROM (SELECT DISTINCT * FROM unnest($1::uuid[], $2::uuid[]) k(store_id, command_id)) k
           JOIN log.commands c USING (store_id, command_id)
          GROUP BY c.store_id, c.command_id",
    )
    .bind(stores)
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(records.into_iter().map(|record| ((record.store_id, record.command_id), record)).collect())
}

/// Whether the event at an answer's `X-Position` is of the stream that the answer names; for a
/// payment, one after which there was nothing to pay.
async fn stands(conn: &mut PgConnection, entry: &Entry, answer: &Answer) -> anyhow::Result<bool> {
    let event: Option<(String, Uuid)> = sqlx::query_as(
        "SELECT event_type, stream_id FROM log.events WHERE position = $1 AND store_id = $2",
    )
    .bind(answer.position)
    .bind(entry.store_id().0)
    .fetch_optional(conn)
    .await?;
    let Some((event_type, stream_id)) = event else { return Ok(false) };
    let ended =
        ["CheckoutCompleted", "CheckoutCompensationStarted", "CheckoutFailed", "CheckoutStuck"];
    let pays = is_of_checkouts(entry);
    let named = entry.path.split('/').filter_map(|part| part.split_once('_').map(|_| part));
    let mut named = named.filter_map(uuid_of);
    Ok(named.any(|id| id == stream_id) && (!pays || ended.contains(&event_type.as_str())))
}

/// The UUID of a product's or checkout's id.
fn uuid_of(text: &str) -> Option<Uuid> {
    use event_schemas::ids::{CheckoutId, ProductId};
    let checkout = text.parse::<CheckoutId>().map(|id| id.0);
    checkout.or_else(|_| text.parse::<ProductId>().map(|id| id.0)).ok()
}

/// What is wrong with one entry.
struct Findings<'a> {
    entry: &'a Entry,
    violations: &'a mut Vec<Violation>,
}

impl Findings<'_> {
    fn add(&mut self, invariant: &'static str, what: &str) {
        let Entry { client, store, key, method, path, .. } = self.entry;
        let what = format!(
            "client {client} of {store}, key {key}, command {}, {method} {path}: {what}",
            self.entry.command_id()
        );
        self.violations.push(Violation { invariant, what });
    }

    /// A record means one effect, and not of a command that was refused throughout.
    fn of_record(&mut self, record: Option<&Record>) {
        let Some(record) = record else { return };
        if record.times > 1 {
            self.add(LOST, &format!("recorded {} times", record.times));
        }
        if !record.has_events {
            self.add(LOST, &format!("recorded at {}, but its events are not", record.position));
        }
        let mut sent = self.entry.honest();
        let refused = |attempt: &Attempt| {
            attempt.answer().is_some_and(|answer| said(answer) == Said::Refused)
        };
        if sent.all(refused) {
            self.add(LOST, "refused, and has taken effect");
        }
    }

    /// An acknowledgement of which the log knows nothing.
    fn unrecorded(&mut self, answer: &Answer, stands: bool) {
        let last = self.entry.path.rsplit('/').next().unwrap_or_default();
        if MAY_CHANGE_NOTHING.contains(&last) && stands {
            return;
        }
        let (status, position) = (answer.status, answer.position);
        self.add(LOST, &format!("answered {status} with position {position:?}, and is lost"));
    }

    /// Every answer is the first one again.
    fn of_answers(&mut self, record: Option<&Record>) {
        for answer in self.entry.dishonest().filter_map(Attempt::answer) {
            let refused = (answer.status, answer.code.as_deref()) == (422, Some(REUSED));
            let open = said(answer) == Said::Nothing;
            if !refused && !open && (record.is_some() || said(answer) == Said::Done) {
                let (status, code) = (answer.status, &answer.code);
                self.add(ANSWERED_OTHERWISE, &format!("another body got {status} {code:?}"));
            }
        }
        let Some(record) = record else { return };
        let entry = self.entry;
        let mut first: Option<(&Attempt, &Answer)> = None;
        for attempt in entry.honest() {
            let Some(answer) = attempt.answer() else { continue };
            match (said(answer), first) {
                (Said::Nothing, _) | (Said::Refused, None) => {}
                // Of two at the same time the one may come too early and the other just in time.
                (Said::Refused, Some((earlier, _))) if !is_sent_after(attempt, earlier) => {}
                (Said::Refused, Some((_, before))) => {
                    let (was, is) = (before.status, answer.status);
                    self.add(ANSWERED_OTHERWISE, &format!("answered {was}, then refused, {is}"));
                }
                (Said::Done, before) => {
                    self.position(record, answer);
                    if let Some((earlier, before)) = before {
                        self.repeat((earlier, before), (attempt, answer));
                    }
                    let keep = before.is_none_or(|(_, before)| is_provisional(entry, before));
                    first = if keep { Some((attempt, answer)) } else { first };
                }
            }
        }
    }

    /// `X-Position` is where the command's last event is; of a checkout, where it came to rest.
    fn position(&mut self, record: &Record, answer: &Answer) {
        let position = answer.position.unwrap_or(0);
        let wrong = if is_of_checkouts(self.entry) {
            position < record.position
        } else {
            position != record.position
        };
        if wrong {
            self.add(LOST, &format!("answered position {position}, it is at {}", record.position));
        }
    }

    /// A second answer, sent for after the first had come.
    fn repeat(
        &mut self,
        (earlier, first): (&Attempt, &Answer),
        (later, again): (&Attempt, &Answer),
    ) {
        if is_sent_after(later, earlier) && !again.replayed {
            self.add(ANSWERED_OTHERWISE, "a repeat does not say that it is one");
        }
        if is_provisional(self.entry, first) || is_provisional(self.entry, again) {
            return;
        }
        let same_body = first.body_sha256 == again.body_sha256 || first.status >= 400;
        let says = |answer: &Answer| (answer.status, answer.code.clone(), answer.position);
        if says(first) != says(again) || !same_body {
            let what = format!("answered {:?}, then {:?}", says(first), says(again));
            self.add(ANSWERED_OTHERWISE, &what);
        }
    }
}

fn is_sent_after(later: &Attempt, earlier: &Attempt) -> bool {
    earlier.ended_at.is_some_and(|ended| ended <= later.sent_at)
}

/// Events of the clients that belong to no command they sent: a key that took effect under a
/// second command id leaves one. What was there before the first request is not theirs.
async fn strangers(evidence: &Evidence, conn: &mut PgConnection) -> anyhow::Result<Vec<Violation>> {
    let entries = &evidence.history.entries;
    let known: HashSet<(Uuid, Uuid)> =
        entries.iter().map(|entry| (entry.store_id().0, entry.command_id().0)).collect();
    let clients: HashSet<ActorId> = entries.iter().map(|entry| actor(&entry.store)).collect();
    let Some(began) = entries.iter().filter_map(began).min() else { return Ok(vec![]) };
    let first: Option<i64> =
        sqlx::query_scalar("SELECT min(position) FROM log.events WHERE recorded_at >= $1")
            .bind(began)
            .fetch_one(&mut *conn)
            .await?;
    let Some(first) = first else { return Ok(vec![]) };
    let mut position = first - 1;
    let mut violations = Vec::new();
    loop {
        // A hole is the log's matter.
        let Ok(window) = read::read_after(conn, position, read::WINDOW).await else { break };
        let Some(last) = window.last() else { break };
        position = last.position;
        for event in &window {
            let Ok(Metadata { actor, command_id, .. }) = serde_json::from_slice(&event.metadata)
            else {
                continue;
            };
            let theirs = actor.kind == ActorKind::User && clients.contains(&actor.id);
            if theirs && !known.contains(&(event.store_id, command_id.0)) {
                let store = StoreId(event.store_id);
                let what = format!(
                    "position {}, {}: command {command_id} of {store} was never sent",
                    event.position, event.event_type
                );
                violations.push(Violation { invariant: LOST, what });
            }
        }
    }
    Ok(violations)
}

/// Whom the token of a store's clients names.
fn actor(store: &str) -> ActorId {
    ActorId::derive(&[b"developer", store.as_bytes()])
}

fn began(entry: &Entry) -> Option<DateTime<Utc>> {
    entry.attempts.iter().map(|attempt| attempt.sent_at).min()
}
