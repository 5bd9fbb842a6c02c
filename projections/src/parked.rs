//! Streams that a projection cannot go on with. Table `log.parked`.
//!
//! An event that cannot be applied parks its stream in that projection: the event and everything
//! after it in the stream wait, and everything else flows. A stream is parked in the transaction
//! that moves the checkpoint past its event, so an event is always either applied, parked or ahead.
//! [`retry`] applies what waits once the code knows how; [`discard`] takes an event out for good.
//!
//! What waited comes in later than its position says. A projection whose rows depend on the order
//! between streams ([`Projection::streams_commute`]) takes it back by a rebuild only.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use event_store::{Recorded, StoreError, read::read_after};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Projection, ProjectionError, poison};

mod resume;

pub use resume::{Discard, Resumed, discard, events, list, retry};

/// Streams one projection may have parked. With more, the code is at fault rather than the events,
/// and the projection stands still before the next one: that is as easy to take back.
const STREAMS_MAX: i64 = 10_000;

/// SQLSTATE classes that speak against the data of an event: data exception, constraint violation,
/// larger than a row or an index takes.
const DATA_CLASSES: [&str; 3] = ["22", "23", "54"];

/// Bytes of a reason that are kept: a message may quote the event.
const REASON_BYTES_MAX: usize = 2_000;

/// A stream: store, category, id.
pub(crate) type Stream<'a> = (Uuid, &'a str, Uuid);

/// Events that turned out to be bad while a batch was tried: where, and why.
pub(crate) type Bad = BTreeMap<i64, String>;

/// How much a projection has parked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Streams that wait.
    pub streams: i64,
    /// Events that wait in them.
    pub events: i64,
}

/// A stream that waits.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ParkedStream {
    /// In which projection; in others it may flow.
    pub projection: String,
    pub store_id: Uuid,
    pub category: String,
    pub stream_id: Uuid,
    /// Position of the event that cannot be applied.
    pub position: i64,
    /// Its version.
    pub version: i64,
    /// How many events wait, this one included.
    pub events: i64,
    /// What is wrong with it, for people.
    pub reason: String,
    /// When it was met first.
    pub since: DateTime<Utc>,
    /// How often it was tried.
    pub attempts: i32,
}

/// What to do about a batch that could not be applied.
pub(crate) enum Blame {
    /// This event is bad: try again without it and what follows in its stream.
    Event { position: i64, reason: String },
    /// One of them is bad, by what the database says: try those up to this position.
    OneUpTo(i64, sqlx::Error),
    /// No event.
    Nobody(ProjectionError),
}

/// Finds out what is to blame for the failure of a batch, which must not be empty.
pub(crate) fn blame(error: ProjectionError, batch: &[Recorded]) -> Blame {
    match error {
        ProjectionError::Poison { position, reason } => {
            Blame::Event { position, reason: short(reason) }
        }
        ProjectionError::Database(error) if is_about_data(&error) => match batch {
            [only] => blame(poison(only, error), batch),
            _ => Blame::OneUpTo(batch[batch.len() / 2 - 1].position, error),
        },
        error => Blame::Nobody(error),
    }
}

fn is_about_data(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| DATA_CLASSES.iter().any(|class| code.starts_with(class)))
}

fn short(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    // PostgreSQL cannot hold it.
    reason.replace('\0', "\u{FFFD}")
}

fn stream(recorded: &Recorded) -> Stream<'_> {
    (recorded.store_id, &recorded.category, recorded.stream_id)
}

/// A stream that has to be parked now.
#[derive(Debug)]
pub(crate) struct Arrival {
    first: Recorded,
    events: i64,
    reason: String,
}

impl Arrival {
    /// For the log: somebody has to look into it.
    pub(crate) fn report(&self, projection: &Projection) {
        let Recorded { position, category, stream_id, .. } = &self.first;
        let (projection, reason) = (projection.name, &self.reason);
        tracing::error!(projection, position, category, %stream_id, "stream parked: {reason}");
    }
}

/// A batch without what waits.
#[derive(Debug)]
pub(crate) struct Divided {
    /// To be applied.
    pub(crate) rest: Vec<Recorded>,
    /// To be parked.
    pub(crate) arrivals: Vec<Arrival>,
}

/// Takes out of a batch, the events of interest right after the checkpoint, what belongs to parked streams (it waits with
/// them from now on) and everything from an event in `bad` on in its stream. No round trip if
/// nothing is parked or bad; `parked` is what the projection has parked so far.
pub(crate) async fn divide(
    conn: &mut PgConnection,
    projection: &Projection,
    batch: Vec<Recorded>,
    (parked, bad): (Counts, &Bad),
) -> Result<Divided, ProjectionError> {
    if parked.streams == 0 && bad.is_empty() {
        return Ok(Divided { rest: batch, arrivals: Vec::new() });
    }
    let known = match parked.streams {
        0 => HashSet::new(),
        _ => queue_up(&mut *conn, projection, &batch).await?,
    };
    let total = batch.len();
    let divided = split(batch, &known, bad);
    let waiting = i64::try_from(total - divided.rest.len()).expect("a batch fits in memory");
    let arrived = i64::try_from(divided.arrivals.len()).expect("a batch fits in memory");
    if arrived > 0 {
        if parked.streams + arrived > STREAMS_MAX {
            return Err(ProjectionError::TooManyParked { name: projection.name });
        }
        insert(&mut *conn, projection, &divided.arrivals).await?;
    }
    if waiting > 0 {
        sqlx::query!(
            "UPDATE read.projection_states
                SET parked_streams = parked_streams + $2, parked_events = parked_events + $3
              WHERE name = $1",
            projection.name,
            arrived,
            waiting
        )
        .execute(conn)
        .await?;
    }
    Ok(divided)
}

fn split(batch: Vec<Recorded>, known: &HashSet<(Uuid, String, Uuid)>, bad: &Bad) -> Divided {
    let mut arrivals: HashMap<(Uuid, String, Uuid), Arrival> = HashMap::new();
    let mut rest = Vec::with_capacity(batch.len());
    for recorded in batch {
        let key = (recorded.store_id, recorded.category.clone(), recorded.stream_id);
        if known.contains(&key) {
            continue;
        }
        if let Some(arrival) = arrivals.get_mut(&key) {
            arrival.events += 1;
        } else if let Some(reason) = bad.get(&recorded.position) {
            let arrival = Arrival { first: recorded, events: 1, reason: reason.clone() };
            arrivals.insert(key, arrival);
        } else {
            rest.push(recorded);
        }
    }
    Divided { rest, arrivals: arrivals.into_values().collect() }
}

/// Counts the events of a batch that belong to parked streams. Returns those streams.
async fn queue_up(
    conn: &mut PgConnection,
    projection: &Projection,
    batch: &[Recorded],
) -> Result<HashSet<(Uuid, String, Uuid)>, sqlx::Error> {
    let mut counts: BTreeMap<Stream<'_>, i64> = BTreeMap::new();
    for recorded in batch {
        *counts.entry(stream(recorded)).or_default() += 1;
    }
    let streams = || counts.keys().copied();
    let waiting = sqlx::query!(
        "UPDATE log.parked p SET events = p.events + b.events
           FROM unnest($2::uuid[], $3::text[], $4::uuid[], $5::bigint[])
                    AS b (store_id, category, stream_id, events)
          WHERE p.projection = $1 AND p.store_id = b.store_id AND p.category = b.category
            AND p.stream_id = b.stream_id
        RETURNING p.store_id, p.category, p.stream_id",
        projection.name,
        &streams().map(|(store_id, ..)| store_id).collect::<Vec<_>>(),
        &streams().map(|(_, category, _)| category).collect::<Vec<_>>() as &[&str],
        &streams().map(|(.., id)| id).collect::<Vec<_>>(),
        &counts.values().copied().collect::<Vec<_>>()
    )
    .fetch_all(conn)
    .await?;
    Ok(waiting.into_iter().map(|row| (row.store_id, row.category, row.stream_id)).collect())
}

async fn insert(
    conn: &mut PgConnection,
    projection: &Projection,
    arrivals: &[Arrival],
) -> Result<(), sqlx::Error> {
    let numbers = |of: fn(&Arrival) -> i64| arrivals.iter().map(of).collect::<Vec<i64>>();
    let ids = |of: fn(&Recorded) -> Uuid| arrivals.iter().map(|new| of(&new.first)).collect();
    let stores: Vec<Uuid> = ids(|first| first.store_id);
    let streams: Vec<Uuid> = ids(|first| first.stream_id);
    sqlx::query!(
        "INSERT INTO log.parked (projection, store_id, category, stream_id, position, version,
             events, reason)
         SELECT $1, * FROM unnest($2::uuid[], $3::text[], $4::uuid[], $5::bigint[], $6::bigint[],
                                  $7::bigint[], $8::text[])",
        projection.name,
        &stores,
        &arrivals.iter().map(|new| new.first.category.as_str()).collect::<Vec<_>>() as &[&str],
        &streams,
        &numbers(|new| new.first.position),
        &numbers(|new| new.first.version),
        &numbers(|new| new.events),
        &arrivals.iter().map(|new| new.reason.as_str()).collect::<Vec<_>>() as &[&str]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What a replay leaves out.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    /// From which event on, by store, category and id of a stream.
    streams: HashMap<(Uuid, String, Uuid), First>,
    discarded: HashSet<i64>,
}

/// The first event of a stream that waits.
#[derive(Debug)]
struct First {
    position: i64,
    version: i64,
    reason: String,
}

impl LeftOut {
    /// What was discarded: for a rebuild, which tries everything else again and parks by itself
    /// what it meets ([`LeftOut::park`]).
    pub(crate) async fn discarded(
        conn: &mut PgConnection,
        projection: &Projection,
    ) -> Result<LeftOut, sqlx::Error> {
        let discarded = sqlx::query_scalar!(
            "SELECT position FROM log.discarded WHERE projection = $1",
            projection.name
        );
        let discarded = discarded.fetch_all(conn).await?.into_iter().collect();
        Ok(LeftOut { discarded, ..LeftOut::default() })
    }

    /// What the projection itself has left out up to its checkpoint: for a comparison. Good for
    /// what was read of the checkpoint before.
    pub(crate) async fn by_projection(
        conn: &mut PgConnection,
        projection: &Projection,
    ) -> Result<LeftOut, sqlx::Error> {
        let mut left_out = LeftOut::discarded(&mut *conn, projection).await?;
        let parked = sqlx::query!(
            "SELECT store_id, category, stream_id, position, version, reason
               FROM log.parked WHERE projection = $1",
            projection.name
        );
        let parked = parked.fetch_all(conn).await?.into_iter();
        left_out.streams.extend(parked.map(|row| {
            let first = First { position: row.position, version: row.version, reason: row.reason };
            ((row.store_id, row.category, row.stream_id), first)
        }));
        Ok(left_out)
    }

    /// The events that are to be applied.
    pub(crate) fn skip(&self, mut batch: Vec<Recorded>) -> Vec<Recorded> {
        if !self.streams.is_empty() || !self.discarded.is_empty() {
            batch.retain(|recorded| !self.holds(recorded));
        }
        batch
    }

    fn holds(&self, recorded: &Recorded) -> bool {
        let key = || (recorded.store_id, recorded.category.clone(), recorded.stream_id);
        self.discarded.contains(&recorded.position)
            || (!self.streams.is_empty()
                && self
                    .streams
                    .get(&key())
                    .is_some_and(|first| first.position <= recorded.position))
    }

    /// Leaves out, from now on, the event at `position`, which cannot be applied, and what follows
    /// in its stream.
    pub(crate) async fn park(
        &mut self,
        conn: &mut PgConnection,
        projection: &Projection,
        (position, reason): (i64, String),
    ) -> Result<(), ProjectionError> {
        let bad = read_after(conn, position - 1, 1).await?;
        let Some(bad) = bad.first() else {
            return Err(StoreError::Gap { expected: position, found: None }.into());
        };
        let key = (bad.store_id, bad.category.clone(), bad.stream_id);
        let first = First { position: bad.position, version: bad.version, reason };
        let known = self.streams.insert(key, first);
        let streams = i64::try_from(self.streams.len()).unwrap_or(i64::MAX);
        // An event further on in the same stream may have been found first: all of a window are read
        // before any is applied.
        let again = known.is_some_and(|known| known.position <= bad.position);
        if again || streams > STREAMS_MAX {
            return Err(ProjectionError::TooManyParked { name: projection.name });
        }
        Ok(())
    }

    /// Makes what this leaves out, up to position `through`, what the projection has parked: in the
    /// transaction that swaps in what was replayed, under the lock of the checkpoint.
    pub(crate) async fn store(
        &self,
        conn: &mut PgConnection,
        projection: &Projection,
        through: i64,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!("DELETE FROM log.parked WHERE projection = $1", projection.name)
            .execute(&mut *conn)
            .await?;
        let (keys, firsts): (Vec<_>, Vec<_>) = self.streams.iter().unzip();
        sqlx::query!(
            "INSERT INTO log.parked (projection, store_id, category, stream_id, position, version,
                 reason, events)
             SELECT $1, p.*, (SELECT count(*) FROM log.events e
                               WHERE e.store_id = p.store_id AND e.category = p.category
                                 AND e.stream_id = p.stream_id AND e.version >= p.version
                                 AND e.position <= $8 AND e.event_type <> ALL ($9)
                                 AND NOT EXISTS (SELECT FROM log.discarded d
                                                  WHERE d.projection = $1
                                                    AND d.position = e.position))
               FROM unnest($2::uuid[], $3::text[], $4::uuid[], $5::bigint[], $6::bigint[],
                           $7::text[])
                        AS p (store_id, category, stream_id, position, version, reason)",
            projection.name,
            &keys.iter().map(|key| key.0).collect::<Vec<_>>(),
            &keys.iter().map(|key| key.1.as_str()).collect::<Vec<_>>() as &[&str],
            &keys.iter().map(|key| key.2).collect::<Vec<_>>(),
            &firsts.iter().map(|first| first.position).collect::<Vec<_>>(),
            &firsts.iter().map(|first| first.version).collect::<Vec<_>>(),
            &firsts.iter().map(|first| first.reason.as_str()).collect::<Vec<_>>() as &[&str],
            through,
            projection.except as &[&str]
        )
        .execute(&mut *conn)
        .await?;
        count(conn, projection).await
    }
}

/// Brings the counts of a projection to what the table holds.
async fn count(conn: &mut PgConnection, projection: &Projection) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE read.projection_states
            SET (parked_streams, parked_events) =
                (SELECT count(*), coalesce(sum(events), 0) FROM log.parked WHERE projection = $1)
          WHERE name = $1",
        projection.name
    )
    .execute(conn)
    .await?;
    Ok(())
}
