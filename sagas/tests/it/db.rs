//! A test's database and its pools.

use event_store::Engine;
use event_store::pool::{self, Role};
use sqlx::{AssertSqlSafe, PgPool};
use test_database::Database;
use uuid::Uuid;

/// Connections per pool of a test. Many tests run at once against one server.
const CONNECTIONS_MAX: u32 = 6;

/// A migrated, empty database; dropped at the end of the test, also when it fails.
pub(crate) struct Db {
    /// The serving role.
    pub(crate) writer: PgPool,
    /// What the processes keep their work with.
    pub(crate) process: PgPool,
    /// The superuser: for sabotage.
    admin: PgPool,
    _database: Database,
}

impl Db {
    pub(crate) async fn new() -> Db {
        let database = Database::new().await;
        Db {
            writer: pool::connect_lazy(database.options(), Role::Writer, CONNECTIONS_MAX),
            process: pool::connect_lazy(database.options(), Role::Process, CONNECTIONS_MAX),
            admin: pool::connect_lazy(database.options(), Role::Owner, 1),
            _database: database,
        }
    }

    /// Runs SQL as the superuser.
    pub(crate) async fn sabotage(&self, sql: &str) {
        sqlx::query(AssertSqlSafe(sql)).execute(&self.admin).await.unwrap();
    }

    pub(crate) fn engine(&self) -> Engine {
        Engine::new(self.writer.clone(), new_id)
    }
}

pub(crate) fn new_id() -> Uuid {
    Uuid::now_v7()
}
