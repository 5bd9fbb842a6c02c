//! `postgres-es` 0.5 with its `CqrsFramework`, on a database of its own in the same cluster.

use std::{collections::HashMap, sync::Arc};

use cqrs_es::{AggregateError, CqrsFramework};
use postgres_es::{PostgresCqrs, postgres_cqrs};
use sqlx_of_postgres_es::{
    Executor as _, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use uuid::Uuid;

use crate::account::{Account, Texts};

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

/// A framework with connections of its own.
#[derive(Clone)]
pub(crate) struct Baseline {
    pool: PgPool,
    framework: Arc<PostgresCqrs<Account>>,
    texts: Texts,
    metadata: HashMap<String, String>,
}

impl Baseline {
    /// As many connections as it has clients: with fewer they would wait for each other.
    pub(crate) async fn connect(
        url: &str,
        connections: usize,
        texts: &Texts,
    ) -> anyhow::Result<Baseline> {
        let options: PgConnectOptions = url.parse()?;
        let pool = PgPoolOptions::new().max_connections(u32::try_from(connections)?);
        let pool = pool.connect_with(options.options([("client_min_messages", "error")])).await?;
        pool.execute(TABLE).await?;
        let framework: CqrsFramework<Account, _> = postgres_cqrs(pool.clone(), Vec::new(), ());
        let metadata = HashMap::from([("text".to_owned(), texts.metadata_text().to_owned())]);
        Ok(Baseline { pool, framework: Arc::new(framework), texts: texts.clone(), metadata })
    }

    /// One command, sent again as often as somebody else was faster. Gives the tries it took.
    pub(crate) async fn execute(&self, id: Uuid, turn: u64) -> anyhow::Result<u64> {
        let id = id.to_string();
        for tries in 1.. {
            let command = self.texts.deposit(turn);
            let metadata = self.metadata.clone();
            match self.framework.execute_with_metadata(&id, command, metadata).await {
                Ok(()) => return Ok(tries),
                Err(AggregateError::AggregateConflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        anyhow::bail!("never")
    }

    pub(crate) async fn close(self) {
        self.pool.close().await;
    }
}
