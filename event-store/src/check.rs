//! Checking the log against itself, as an auditor does: nothing missing, nothing changed.
//!
//! Reads in windows, so memory stays constant, and may run beside appends. It proves: positions
//! are 1 … head; every event hashes to its leaf hash and decodes; in every stream version `n + 1`
//! follows version `n`; every stream row is where its last event is.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::read::{self, Recorded, WINDOW};
use crate::{StoreError, leaf_hash};

/// Findings kept in a report; further ones are only counted.
pub const FINDINGS_MAX: usize = 100;

/// What a check saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Last position when the check began. Later events were not looked at.
    pub head: i64,
    /// Events read.
    pub events: i64,
    /// Streams read.
    pub streams: i64,
    /// The first [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// All of them, those not kept included. 0 means that the log is sound.
    pub findings_total: u64,
}

/// Something that should not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub position: i64,
    pub fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("events up to position {through} are missing")]
    Missing { through: i64 },
    #[error("stored bytes do not match the hash")]
    Hash,
    #[error("version {version} of its stream does not follow version {}", version - 1)]
    Version { version: i64 },
    #[error("recorded before the event in front of it")]
    ClockBack,
    #[error("does not decode: {0}")]
    Decode(String),
    #[error("stream {category}/{stream_id} is said to end here at version {version}, and does not")]
    Stream { category: String, stream_id: Uuid, version: i64 },
    #[error("the log is said to end here, and its last event is at {last}")]
    Head { last: i64 },
    #[error("versions of all streams add up to {versions}, not to this position")]
    Sum { versions: i64 },
}

impl Report {
    fn add(&mut self, position: i64, fault: Fault) {
        self.findings_total += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { position, fault });
        }
    }
}

/// Checks the whole log. `pool` must see every store ([`crate::pool::Role::Projector`]).
///
/// `decode` says whether an event reads as one of the known events. `on_progress` is told the
/// position reached and the head after every window. An error means that the check could not be
/// carried out; what is wrong with the log is in the report.
pub async fn check(
    pool: &PgPool,
    decode: &(dyn Fn(&Recorded) -> Result<(), String> + Send + Sync),
    on_progress: &mut (dyn FnMut(i64, i64) + Send),
) -> Result<Report, StoreError> {
    let mut conn = pool.acquire().await?;
    let mut report = Report { head: read::head(&mut conn).await?, ..Report::default() };
    let mut position = 0;
    let mut recorded_at = DateTime::UNIX_EPOCH;
    while position < report.head {
        let through = report.head.min(position + WINDOW);
        let events = read::window(&mut conn, position, through - position).await?;
        check_positions(&mut report, (position, through), &events);
        for event in &events {
            check_event(&mut report, event, recorded_at, decode);
            recorded_at = event.recorded_at;
        }
        check_versions(&mut report, &mut conn, (position, through)).await?;
        position = through;
        on_progress(position, report.head);
    }
    check_streams(&mut report, &mut conn).await?;
    check_totals(&mut report, &mut conn).await?;
    Ok(report)
}

/// Every position after `after` and up to `through` must be there.
fn check_positions(report: &mut Report, (after, through): (i64, i64), events: &[Recorded]) {
    let mut expected = after + 1;
    for position in events.iter().map(|event| event.position).chain([through + 1]) {
        if expected < position {
            report.add(expected, Fault::Missing { through: position - 1 });
        }
        expected = position + 1;
    }
}

/// What one event says about itself.
fn check_event(
    report: &mut Report,
    event: &Recorded,
    earlier: DateTime<Utc>,
    decode: &(dyn Fn(&Recorded) -> Result<(), String> + Send + Sync),
) {
    report.events += 1;
    if leaf_hash(event) != event.leaf_hash {
        report.add(event.position, Fault::Hash);
    }
    if event.recorded_at < earlier {
        report.add(event.position, Fault::ClockBack);
    }
    if let Err(message) = decode(event) {
        report.add(event.position, Fault::Decode(message));
    }
}

/// Each event must be the first of its stream or come after the one before it; and its stream must
/// know of it. With [`check_totals`] that leaves no room for a version used twice.
async fn check_versions(
    report: &mut Report,
    conn: &mut PgConnection,
    (after, through): (i64, i64),
) -> Result<(), StoreError> {
    let strays = sqlx::query!(
        "SELECT e.position, e.version
           FROM log.events e
          WHERE e.position > $1 AND e.position <= $2
            AND (e.version < 1
                 OR (e.version > 1 AND NOT EXISTS (
                        SELECT FROM log.events p
                         WHERE p.store_id = e.store_id AND p.category = e.category
                           AND p.stream_id = e.stream_id AND p.version = e.version - 1
                           AND p.position < e.position))
                 OR NOT EXISTS (
                        SELECT FROM log.streams s
                         WHERE s.store_id = e.store_id AND s.category = e.category
                           AND s.stream_id = e.stream_id AND s.version >= e.version))
          ORDER BY e.position",
        after,
        through
    );
    for stray in strays.fetch_all(conn).await? {
        report.add(stray.position, Fault::Version { version: stray.version });
    }
    Ok(())
}

/// Each stream row must name its last event.
async fn check_streams(report: &mut Report, conn: &mut PgConnection) -> Result<(), StoreError> {
    let mut last = (Uuid::nil(), Uuid::nil(), String::new());
    loop {
        let streams = sqlx::query!(
            r#"SELECT s.store_id, s.category, s.stream_id, s.version, s.position,
                      EXISTS (SELECT FROM log.events e
                               WHERE e.store_id = s.store_id AND e.category = s.category
                                 AND e.stream_id = s.stream_id AND e.version = s.version
                                 AND e.position = s.position) AS "sound!"
                 FROM log.streams s
                WHERE (s.store_id, s.stream_id, s.category) > ($1, $2, $3)
                ORDER BY s.store_id, s.stream_id, s.category LIMIT $4"#,
            last.0,
            last.1,
            last.2,
            WINDOW
        )
        .fetch_all(&mut *conn)
        .await?;
        let Some(end) = streams.last() else { return Ok(()) };
        last = (end.store_id, end.stream_id, end.category.clone());
        for stream in streams {
            report.streams += 1;
            if !stream.sound {
                let (category, stream_id, version) =
                    (stream.category, stream.stream_id, stream.version);
                report.add(stream.position, Fault::Stream { category, stream_id, version });
            }
        }
    }
}

/// The head must be the last event, and streams together must have as many versions as there are
/// positions. In one statement, so that appends meanwhile do not matter.
async fn check_totals(report: &mut Report, conn: &mut PgConnection) -> Result<(), StoreError> {
    let totals = sqlx::query!(
        r#"SELECT h.position,
                  (SELECT coalesce(max(e.position), 0) FROM log.events e) AS "last!",
                  (SELECT coalesce(sum(s.version), 0)::bigint FROM log.streams s) AS "versions!"
             FROM log.head h"#
    )
    .fetch_one(conn)
    .await?;
    if totals.last != totals.position {
        report.add(totals.position, Fault::Head { last: totals.last });
    }
    if totals.versions != totals.position {
        report.add(totals.position, Fault::Sum { versions: totals.versions });
    }
    Ok(())
}
