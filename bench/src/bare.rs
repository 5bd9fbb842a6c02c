//! The append function driven bare: full guards, nothing decided, nothing served, no pool.

use std::sync::Arc;

use event_store::{
    NewEvent, StreamKey, Unit,
    pool::{self, Role},
};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::account::Texts;

/// Streams of a connection, in multiples of what one call writes.
pub(crate) const STREAMS_PER_BATCH: usize = 4;

/// Which streams are written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Streams {
    /// The same ones, again and again.
    Known,
    /// Each time another one.
    New,
}

/// A held connection and the streams it writes to, which nobody else writes to.
#[derive(Debug)]
pub(crate) struct Bare {
    conn: PgConnection,
    texts: Texts,
    new_id: fn() -> Uuid,
    streams: Streams,
    /// Ids and versions.
    known: Vec<(Uuid, i64)>,
    at: usize,
    calls: u64,
}

impl Bare {
    /// `batch` is the most units a call will carry. All known streams exist after
    /// [`STREAMS_PER_BATCH`] calls of that size.
    pub(crate) async fn connect(
        options: PgConnectOptions,
        (streams, batch): (Streams, usize),
        texts: Texts,
        new_id: fn() -> Uuid,
    ) -> anyhow::Result<Bare> {
        let conn = PgConnection::connect_with(&pool::session(options, Role::Writer)).await?;
        let known = (0..batch * STREAMS_PER_BATCH).map(|_| (new_id(), 0)).collect();
        Ok(Bare { conn, texts, new_id, streams, known, at: 0, calls: 0 })
    }

    /// One call with `batch` units, each on a stream of its own. Gives the number of units.
    pub(crate) async fn append(&mut self, batch: usize) -> anyhow::Result<u32> {
        self.calls += 1;
        let places: Vec<usize> =
            (0..batch).map(|unit| (self.at + unit) % self.known.len()).collect();
        self.at = (self.at + batch) % self.known.len();
        if self.streams == Streams::New {
            for place in &places {
                self.known[*place] = ((self.new_id)(), 0);
            }
        }
        let units: Vec<Unit> = places.iter().map(|place| self.unit(self.known[*place])).collect();
        append(&mut self.conn, &units).await?;
        let events = i64::try_from(self.texts.shape().events_per_command)?;
        for place in places {
            self.known[place].1 += events;
        }
        Ok(u32::try_from(batch)?)
    }

    fn unit(&self, (id, version): (Uuid, i64)) -> Unit {
        let event = |_| NewEvent {
            event_id: (self.new_id)(),
            event_type: "Deposited".to_owned(),
            schema_version: 1,
            payload: self.texts.payload(self.calls),
        };
        Unit {
            stream: StreamKey { store_id: Uuid::nil(), category: "benchmark", id },
            expected: version,
            command_id: (self.new_id)(),
            fingerprint: [0; 32],
            metadata: self.texts.metadata(),
            keys: Vec::new(),
            events: (0..self.texts.shape().events_per_command).map(event).collect(),
        }
    }
}

/// Connections for as many clients, which take turns with nobody.
pub(crate) async fn connect(
    options: &PgConnectOptions,
    connections: usize,
    streams: (Streams, usize),
    texts: &Texts,
    new_id: fn() -> Uuid,
) -> anyhow::Result<Arc<[Mutex<Bare>]>> {
    let mut all = Vec::new();
    for _ in 0..connections {
        let bare = Bare::connect(options.clone(), streams, texts.clone(), new_id).await?;
        all.push(Mutex::new(bare));
    }
    Ok(all.into())
}

/// The SQL call, as the engine makes it, without keys.
async fn append(conn: &mut PgConnection, units: &[Unit]) -> Result<i64, sqlx::Error> {
    let each = || units.iter().zip(1i32..);
    let events = || each().flat_map(|(unit, n)| unit.events.iter().map(move |event| (n, event)));
    sqlx::query_scalar(
        "SELECT log.append($1, $2, $3, $4, $5, $6, $7, '{}', '{}', '{}', '{}', $8, $9, $10, $11, $12)",
    )
    .bind(each().map(|(unit, _)| unit.stream.store_id).collect::<Vec<_>>())
    .bind(each().map(|(unit, _)| unit.stream.category).collect::<Vec<_>>())
    .bind(each().map(|(unit, _)| unit.stream.id).collect::<Vec<_>>())
    .bind(each().map(|(unit, _)| unit.expected).collect::<Vec<_>>())
    .bind(each().map(|(unit, _)| unit.command_id).collect::<Vec<_>>())
    .bind(each().map(|(unit, _)| &unit.fingerprint[..]).collect::<Vec<_>>())
    .bind(each().map(|(unit, _)| &unit.metadata[..]).collect::<Vec<_>>())
    .bind(events().map(|(n, _)| n).collect::<Vec<_>>())
    .bind(events().map(|(_, event)| &event.event_type[..]).collect::<Vec<_>>())
    .bind(events().map(|(_, event)| event.schema_version).collect::<Vec<_>>())
    .bind(events().map(|(_, event)| event.event_id).collect::<Vec<_>>())
    .bind(events().map(|(_, event)| &event.payload[..]).collect::<Vec<_>>())
    .fetch_one(conn)
    .await
}
