//! Lists as files, made while they are sent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api_kit::Problem;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use event_schemas::ids::StoreId;
use futures::stream;
use projections::Projection;
use sqlx::PgConnection;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::catalog::ExportedProducts;
use crate::order::ExportedOrders;
use crate::reader::{Freshness, Reader, View};

/// Exports of one process at once, of as many stores. Each keeps a connection busy for as long as
/// its client keeps up, and queries need most of them.
const AT_ONCE: usize = 2;

/// Rows read at a time, at most: some 150 KB of text of orders. An export holds three such parts in memory: one being
/// read, one that waits, one being sent.
pub(crate) const WINDOW: i64 = 1_000;

/// Longest export, whatever it waits for: others want the place.
const TIME_MAX: Duration = Duration::from_mins(10);

/// Longest wait for a client to take the next part: one that has stopped reading gives its place up.
const SEND_MAX: Duration = Duration::from_secs(30);

/// Longest wait until a part can be read, at the position of the first one: as of a query.
const VIEW_MAX: Duration = Duration::from_secs(25);

/// What we ask of a client that found no place.
const RETRY_AFTER: Duration = Duration::from_secs(10);

static PLACES: Places = Places(Mutex::new(Vec::new()));

/// What is exported, and how far it is.
pub(crate) enum Rows {
    Orders(Box<ExportedOrders>),
    Products(ExportedProducts),
}

impl Rows {
    fn projection(&self) -> &'static Projection {
        match self {
            Rows::Orders(_) => &projections::order::PROJECTION,
            Rows::Products(_) => &projections::catalog::PROJECTION,
        }
    }

    fn disposition(&self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Rows::Orders(_) => "attachment; filename=\"orders.csv\"",
            Rows::Products(_) => "attachment; filename=\"products.csv\"",
        })
    }

    fn header(&self) -> String {
        match self {
            Rows::Orders(_) => ExportedOrders::header(),
            Rows::Products(_) => ExportedProducts::header(),
        }
    }

    /// The next lines, and whether there are more after them.
    async fn next(
        &mut self,
        conn: &mut PgConnection,
        store_id: StoreId,
    ) -> Result<(String, bool), sqlx::Error> {
        match self {
            Rows::Orders(orders) => orders.next(conn, store_id).await,
            Rows::Products(products) => products.next(conn, store_id).await,
        }
    }
}

/// The whole file as an answer, or `503 overloaded` without a place.
pub(crate) async fn export(reader: Reader, rows: Rows) -> Result<(Freshness, Response), Problem> {
    let place = PLACES.take(reader.store_id());
    let place = place.ok_or_else(|| Problem::new("overloaded").retry_after(RETRY_AFTER))?;
    let view = reader.view(rows.projection()).await?;
    let freshness = view.freshness;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
        (header::CONTENT_DISPOSITION, rows.disposition()),
    ];
    let (parts, received) = mpsc::channel(1);
    let export = Export { reader, rows, parts };
    let place = Arc::new(Mutex::new(Some(place)));
    let sent = Shared(Arc::clone(&place));
    let mut task = JoinSet::new();
    task.spawn(async move {
        let _place = Shared(place);
        let ended = timeout(TIME_MAX, export.run(view)).await;
        if let Err(broken) = ended.unwrap_or(Err("it took too long")) {
            tracing::warn!(broken, "an export broke off");
        }
    });
    let sent = Sent { parts: received, _task: task, _place: sent };
    let body = Body::from_stream(stream::try_unfold(sent, Sent::part));
    Ok((freshness, (headers, body).into_response()))
}

/// Stores that are being exported: each once, [`AT_ONCE`] at most.
struct Places(Mutex<Vec<StoreId>>);

/// The place of a store, until dropped.
struct Place {
    store_id: StoreId,
    places: &'static Places,
}

impl Places {
    /// `None` if the store has one, or there is none left.
    fn take(&'static self, store_id: StoreId) -> Option<Place> {
        let mut stores = self.lock();
        if AT_ONCE <= stores.len() || stores.contains(&store_id) {
            return None;
        }
        stores.push(store_id);
        Some(Place { store_id, places: self })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<StoreId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().retain(|store_id| *store_id != self.store_id);
    }
}

/// The place of an export, which ends with its task or with its answer, whichever goes first: who
/// has got a file, or hung up, may ask for the next one at once.
struct Shared(Arc<Mutex<Option<Place>>>);

impl Drop for Shared {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Why an export broke off.
type BrokenOff = &'static str;

/// A part of the file; `None` is its end, without which it is not complete.
type Part = Option<Bytes>;

/// What a client has still to get. Who drops it ends the export.
struct Sent {
    parts: mpsc::Receiver<Part>,
    _task: JoinSet<()>,
    _place: Shared,
}

impl Sent {
    async fn part(mut self) -> Result<Option<(Bytes, Sent)>, std::io::Error> {
        match self.parts.recv().await {
            Some(Some(bytes)) => Ok(Some((bytes, self))),
            Some(None) => Ok(None),
            None => Err(std::io::Error::other("the export broke off")),
        }
    }
}

/// An export under way, in a task of its own: how long it lasts must not depend on a client that
/// does not read.
struct Export {
    reader: Reader,
    rows: Rows,
    parts: mpsc::Sender<Part>,
}

impl Export {
    async fn run(mut self, first: View) -> Result<(), BrokenOff> {
        // What is still open while a client reads makes every append slower, so that each part is
        // read by itself; but none from a server that is behind the first one.
        let position = first.position();
        let mut view = Some(first);
        let mut text = self.rows.header();
        loop {
            let mut now = if let Some(first) = view.take() {
                first
            } else {
                let reader = self.reader.again(position, VIEW_MAX);
                let view = reader.view(self.rows.projection()).await;
                view.map_err(|_| "the tables could not be read")?
            };
            let found = self.rows.next(now.conn(), self.reader.store_id()).await;
            let found = found.inspect_err(|error| tracing::warn!(%error, "rows of an export"));
            let (lines, more) = found.map_err(|_| "the rows could not be read")?;
            drop(now);
            text.push_str(&lines);
            self.send(Some(Bytes::from(std::mem::take(&mut text)))).await?;
            if !more {
                return self.send(None).await;
            }
        }
    }

    async fn send(&self, part: Part) -> Result<(), BrokenOff> {
        let sent = timeout(SEND_MAX, self.parts.send(part)).await;
        sent.map_err(|_| "its client read nothing for too long")?.map_err(|_| "its client is gone")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_send(parts: mpsc::Receiver<Part>) -> Sent {
        Sent { parts, _task: JoinSet::new(), _place: Shared(Arc::default()) }
    }

    #[tokio::test]
    async fn only_a_file_whose_end_was_sent_ends_properly() {
        let (parts, received) = mpsc::channel(2);
        parts.send(Some(Bytes::from("number\r\n"))).await.unwrap();
        parts.send(None).await.unwrap();
        let sent = to_send(received);
        let (bytes, sent) = sent.part().await.unwrap().unwrap();
        assert_eq!(bytes, "number\r\n");
        assert!(sent.part().await.unwrap().is_none());

        let (parts, received) = mpsc::channel(1);
        drop(parts);
        let sent = to_send(received);
        assert!(sent.part().await.is_err());
    }

    #[test]
    fn a_store_has_one_place_and_a_process_two() {
        static PLACES: Places = Places(Mutex::new(Vec::new()));
        let stores = ["one", "two", "three"].map(StoreId::of_slug);
        let one = PLACES.take(stores[0]).unwrap();
        assert!(PLACES.take(stores[0]).is_none());
        let _two = PLACES.take(stores[1]).unwrap();
        assert!(PLACES.take(stores[2]).is_none());
        drop(one);
        assert!(PLACES.take(stores[2]).is_some());
    }
}
