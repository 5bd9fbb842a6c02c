//! INV-9: the log is whole and in order, and everything beside it agrees with it.

use std::collections::HashMap;

use event_schemas::{metadata::Metadata, upcast};
use event_store::{Recorded, StoreError, check, pool, read};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Question, ask};
use crate::{Evidence, Violation};

const INVARIANT: &str = "INV-9";

/// Events read at a time.
const WINDOW: i64 = 5_000;

const QUESTIONS: &[Question] = &[
    Question { invariant: INVARIANT, in_the_end: false, sql: AHEAD },
    Question { invariant: INVARIANT, in_the_end: false, sql: EVENT_TWICE },
    Question { invariant: INVARIANT, in_the_end: false, sql: NUMBER_NOT_CLAIMED },
    Question { invariant: INVARIANT, in_the_end: false, sql: UNKNOWN_SHAPE },
    Question { invariant: INVARIANT, in_the_end: false, sql: COMMAND_TWICE },
];

/// No reader and no snapshot is further than the log.
const AHEAD: &str = "
    SELECT format('%s is at %s, the log at %s', name, c.position, h.position)
      FROM log.checkpoints c, log.head h WHERE c.position > h.position
     UNION ALL
    SELECT format('the snapshot of %s/%s is of version %s, the stream of %s', s.category,
                  s.stream_id, s.version, st.version)
      FROM log.snapshots s LEFT JOIN log.streams st USING (store_id, category, stream_id)
     WHERE st.version IS NULL OR st.version < s.version";

/// An event has one id.
const EVENT_TWICE: &str = "
    SELECT format('event %s stands at %s positions', event_id, count(*))
      FROM log.events GROUP BY event_id HAVING count(*) > 1";

/// The unique keys are those that the events claimed: one example, the numbers of orders.
const NUMBER_NOT_CLAIMED: &str = "
    SELECT format('order %s has number %s, which is of %s', e.stream_id, e.payload ->> 'number',
                  coalesce(k.stream_id::text, 'nobody'))
      FROM log.events_json e
      LEFT JOIN log.unique_keys k ON k.store_id = e.store_id AND k.scope = 'order_number'
           AND k.key = e.payload ->> 'number'
     WHERE e.category = 'order' AND e.event_type = 'OrderPlaced'
       AND k.stream_id IS DISTINCT FROM e.stream_id";

/// `facts.sql` reads version 1, and newer ones that say what it asks for in the same words.
const UNKNOWN_SHAPE: &str = "
    SELECT format('%s has version %s: facts.sql must learn to read it', event_type, schema_version)
      FROM log.events
     WHERE schema_version <> 1 AND category IN ('stock_item', 'checkout', 'payment', 'order')
       AND (event_type, schema_version) NOT IN (
           ('StockReserved', 2), ('CheckoutStarted', 2), ('OrderConfirmed', 2),
           ('OrderRefundRequested', 2), ('OrderPlaced', 2), ('PaymentAuthorised', 2),
           ('PaymentActionRequired', 2), ('CheckoutActionRequired', 2))
     GROUP BY event_type, schema_version";

/// A command is recorded once. The primary key alone does not say so: the time is part of it.
const COMMAND_TWICE: &str = "
    SELECT format('command %s of store %s is recorded %s times', command_id, store_id, count(*))
      FROM log.commands GROUP BY store_id, command_id HAVING count(*) > 1";

/// Positions dense, versions contiguous, hashes and streams right, each event of one command and
/// each command with its events.
pub(super) async fn check(
    evidence: &Evidence,
    conn: &mut PgConnection,
) -> anyhow::Result<Vec<Violation>> {
    let owner = pool::connect_lazy(evidence.pg.clone(), pool::Role::Owner, 1);
    let report = check::check(&owner, &readable, &mut |_, _| {}).await;
    owner.close().await;
    let report = report?;
    let findings = report.findings.into_iter();
    let mut violations: Vec<_> = findings
        .map(|finding| violation(format!("position {}: {}", finding.position, finding.fault)))
        .collect();
    violations.extend(ask(evidence, conn, QUESTIONS).await?);
    violations.extend(commands(conn).await?);
    Ok(violations)
}

fn violation(what: String) -> Violation {
    Violation { invariant: INVARIANT, what }
}

fn readable(event: &Recorded) -> Result<(), String> {
    let Recorded { category, event_type, schema_version, payload, .. } = event;
    let current = upcast::current(category, event_type, *schema_version, payload);
    current.map(drop).map_err(|error| error.to_string())
}

/// The consecutive events that one command made.
struct Effect {
    store_id: Uuid,
    command_id: Uuid,
    category: String,
    stream_id: Uuid,
    /// Of the last event.
    version: i64,
    position: i64,
}

/// Every event is of a command on record, which knows where its last one is; and every record has
/// its events. Two effects of one command cannot both be where the record says.
async fn commands(conn: &mut PgConnection) -> anyhow::Result<Vec<Violation>> {
    let mut violations = Vec::new();
    let (mut position, mut effects_total) = (0, 0_i64);
    let mut open: Option<Effect> = None;
    loop {
        let window = match read::read_after(conn, position, WINDOW).await {
            Ok(window) => window,
            // `check` has said so.
            Err(StoreError::Gap { .. }) => return Ok(violations),
            Err(error) => return Err(error.into()),
        };
        let mut effects = Vec::new();
        for event in &window {
            position = event.position;
            let Ok(metadata) = serde_json::from_slice::<Metadata>(&event.metadata) else {
                violations.push(violation(format!("position {position}: metadata does not read")));
                continue;
            };
            let effect = effect(event, metadata.command_id.0);
            if let Some(before) = open.replace(effect)
                && !before.goes_on_with(event, metadata.command_id.0)
            {
                effects.push(before);
            }
        }
        if window.is_empty() {
            effects.extend(open.take());
        }
        effects_total += i64::try_from(effects.len())?;
        violations.extend(compare(conn, &effects).await?);
        if check::FINDINGS_MAX < violations.len() {
            return Ok(violations);
        }
        if window.is_empty() {
            break;
        }
    }
    let records: i64 =
        sqlx::query_scalar("SELECT count(*) FROM log.commands").fetch_one(conn).await?;
    if violations.is_empty() && records != effects_total {
        let what = format!("{records} commands are recorded, {effects_total} have events");
        violations.push(violation(what));
    }
    Ok(violations)
}

fn effect(event: &Recorded, command_id: Uuid) -> Effect {
    Effect {
        store_id: event.store_id,
        command_id,
        category: event.category.clone(),
        stream_id: event.stream_id,
        version: event.version,
        position: event.position,
    }
}

impl Effect {
    fn goes_on_with(&self, event: &Recorded, command_id: Uuid) -> bool {
        (self.store_id, self.command_id, self.stream_id)
            == (event.store_id, command_id, event.stream_id)
            && self.version + 1 == event.version
    }
}

/// Version and position of each command's last event, as recorded.
async fn compare(conn: &mut PgConnection, effects: &[Effect]) -> anyhow::Result<Vec<Violation>> {
    let stores: Vec<Uuid> = effects.iter().map(|effect| effect.store_id).collect();
    let ids: Vec<Uuid> = effects.iter().map(|effect| effect.command_id).collect();
    let rows: Vec<(Uuid, Uuid, String, Uuid, i64, i64)> = sqlx::query_as(
        "SELECT store_id, command_id, category, stream_id, version, position
           FROM log.commands
           JOIN (SELECT DISTINCT * FROM unnest($1::uuid[], $2::uuid[]) k(store_id, command_id)) k
                USING (store_id, command_id)",
    )
    .bind(stores)
    .bind(ids)
    .fetch_all(conn)
    .await?;
    let rows: HashMap<_, _> = rows.into_iter().map(|row| ((row.0, row.1), row)).collect();
    let mut violations = Vec::new();
    for it in effects {
        let row = rows.get(&(it.store_id, it.command_id));
        let agrees = row.is_some_and(|(_, _, category, stream_id, version, position)| {
            (category, stream_id, version, position)
                == (&it.category, &it.stream_id, &it.version, &it.position)
        });
        if !agrees {
            let what = format!(
                "position {}, version {} of {}/{}: last event of command {}, recorded is {:?}",
                it.position, it.version, it.category, it.stream_id, it.command_id, row
            );
            violations.push(violation(what));
        }
    }
    Ok(violations)
}
