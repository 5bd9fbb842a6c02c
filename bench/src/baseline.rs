//! `postgres-es` 0.5 with its `CqrsFramework`: the same number of events of the same size.

use std::time::Duration;

use cqrs_es::{Aggregate, CqrsFramework, DomainEvent, event_sink::EventSink};
use postgres_es::postgres_cqrs;
use serde::{Deserialize, Serialize};
use sqlx_of_postgres_es::{Executor as _, postgres::PgPoolOptions};

use crate::{
    api::{Rate, Shape},
    load, new_id,
    program::Program,
};

/// Its table, as its own documentation gives it.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS events (
    aggregate_type text NOT NULL,
    aggregate_id   text NOT NULL,
    sequence       bigint CHECK (sequence >= 0) NOT NULL,
    event_type     text NOT NULL,
    event_version  text NOT NULL,
    payload        json NOT NULL,
    metadata       json NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence))";

#[derive(Debug, Default, Deserialize, Serialize)]
struct Stored;

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct BenchmarkStored {
    text: String,
}

#[derive(Debug, thiserror::Error)]
#[error("never")]
struct Never;

impl DomainEvent for BenchmarkStored {
    fn event_type(&self) -> String {
        "BenchmarkStored".to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Aggregate for Stored {
    const TYPE: &'static str = "benchmark";
    type Command = (u64, String);
    type Event = BenchmarkStored;
    type Error = Never;
    type Services = ();

    async fn handle(
        &mut self,
        (events, text): (u64, String),
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Never> {
        for _ in 0..events {
            sink.write(BenchmarkStored { text: text.clone() }, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, _: BenchmarkStored) {}
}

/// Commands per second with `clients` at once, each on a new aggregate.
pub(crate) async fn measure(
    program: &Program,
    clients: usize,
    span: Duration,
    shape: Shape,
) -> anyhow::Result<Rate> {
    let pool = PgPoolOptions::new().max_connections(u32::try_from(clients)?);
    let pool = pool.connect(&program.baseline_url().await?).await?;
    pool.execute(TABLE).await?;
    let framework: CqrsFramework<Stored, _> = postgres_cqrs(pool.clone(), Vec::new(), ());
    let framework = &framework;
    let (calls, seconds) = load::run(clients, span, |_, _| async move {
        let id = new_id().to_string();
        let command = (shape.events_per_command(), shape.payload());
        framework.execute(&id, command).await?;
        Ok(())
    })
    .await?;
    pool.close().await;
    Ok(Rate::of(calls, calls * shape.events_per_command(), seconds))
}
