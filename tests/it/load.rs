//! A history that was loaded is one that could have happened.

use std::collections::BTreeMap;

use conche::{config::BenchLoad, load};
use event_schemas::{inventory::StockItemEvent as S, upcast};
use event_store::{Recorded, check, checkpoint, read};

use crate::app::{App, story};

fn small() -> BenchLoad {
    let until = "2026-11-01".parse().unwrap();
    BenchLoad { products: 60, orders: 300, first: None, seed: 7, store: "bench".to_owned(), until }
}

impl App {
    async fn load(&self, arguments: &BenchLoad) -> Result<String, String> {
        let filled = load::fill(&self.saga, &self.owner, arguments).await;
        filled.map_err(|error| error.to_string())
    }

    /// Units free to be sold after every event, at the least, per variant.
    async fn lowest_free(&self) -> BTreeMap<uuid::Uuid, i64> {
        let mut conn = self.owner.acquire().await.unwrap();
        let (mut free, mut lowest, mut position) = (BTreeMap::new(), BTreeMap::new(), 0);
        loop {
            let window = read::read_after(&mut conn, position, read::WINDOW).await.unwrap();
            let Some(last) = window.last() else { return lowest };
            position = last.position;
            for event in window.iter().filter(|event| event.category == "stock_item") {
                let (kind, version) = (&event.event_type, event.schema_version);
                let free: &mut i64 = free.entry(event.stream_id).or_default();
                *free += match upcast::decode(kind, version, &event.payload).unwrap() {
                    S::Received(it) => i64::from(it.quantity),
                    S::Adjusted(it) => it.delta,
                    S::Reserved(it) => -units(&it.parts),
                    S::ReservationReleased(it) => units(&it.parts),
                    S::Deallocated(it) => units(&it.parts),
                    S::Allocated(_) | S::ReservationExtended(_) | S::Shipped(_) => 0,
                };
                let lowest: &mut i64 = lowest.entry(event.stream_id).or_default();
                *lowest = (*lowest).min(*free);
            }
        }
    }
}

fn units(parts: &[event_schemas::inventory::LocationQuantity]) -> i64 {
    parts.iter().map(|part| i64::from(part.quantity)).sum()
}

#[test]
fn a_loaded_history_is_whole_and_nothing_in_it_is_oversold() {
    story(|app| async move {
        let said = app.load(&small()).await.unwrap();
        assert!(said.contains("events in"), "{said}");

        let reads = |event: &Recorded| {
            let Recorded { category, event_type, schema_version, payload, .. } = event;
            let current = upcast::current(category, event_type, *schema_version, payload);
            current.map(|_| ()).map_err(|error| error.to_string())
        };
        let report = check::check(&app.projector, &reads, &mut |_, _| {}).await.unwrap();
        assert_eq!(report.findings, []);
        let lowest = app.lowest_free().await;
        assert!(60 < lowest.len() && lowest.values().all(|lowest| *lowest == 0));

        let counts = "SELECT count(*), count(*) FILTER (WHERE version = 3) FROM log.streams
                       WHERE category = 'order'";
        let (orders, plain): (i64, i64) =
            sqlx::query_as(counts).fetch_one(&app.owner).await.unwrap();
        assert_eq!(orders, 300);
        assert!((200..300).contains(&plain), "some are cancelled or refunded");
    });
}

#[test]
fn a_second_load_finds_nothing_to_do_and_another_one_is_refused() {
    story(|app| async move {
        app.load(&small()).await.unwrap();
        let mut conn = app.owner.acquire().await.unwrap();
        let head = read::head(&mut conn).await.unwrap();
        // Nothing wakes for what is at rest.
        assert_eq!(checkpoint::checkpoint(&mut conn, "saga").await.unwrap(), head);

        let said = app.load(&small()).await.unwrap();
        assert_eq!(said, format!("nothing to do: the store has all {head} events of this load"));
        let refused = app.load(&BenchLoad { seed: 8, ..small() }).await.unwrap_err();
        assert!(refused.contains("has other things in it"), "{refused}");
        assert_eq!(read::head(&mut conn).await.unwrap(), head);
    });
}
