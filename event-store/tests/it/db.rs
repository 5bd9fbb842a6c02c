//! A test's database and its pools.

use event_store::Engine;
use event_store::pool::{self, Role};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, PgPool};
use test_database::Database;
use uuid::Uuid;

/// Connections per pool of a test. Many tests run at once against one server.
const CONNECTIONS_MAX: u32 = 8;

/// A migrated, empty database; dropped at the end of the test, also when it fails.
pub(crate) struct Db {
    database: Database,
    /// The serving role.
    pub(crate) writer: PgPool,
    /// The superuser: for sabotage.
    pub(crate) admin: PgPool,
}

impl Db {
    pub(crate) async fn new() -> Db {
        Db::on(Database::new().await)
    }

    /// An empty database that belongs to `owner`, without the migrations.
    pub(crate) async fn owned_by(owner: &str) -> Db {
        Db::on(Database::owned_by(owner).await)
    }

    fn on(database: Database) -> Db {
        Db {
            writer: pool::connect_lazy(database.options(), Role::Writer, CONNECTIONS_MAX),
            admin: pool::connect_lazy(database.options(), Role::Owner, 2),
            database,
        }
    }

    pub(crate) fn engine(&self) -> Engine {
        Engine::new(self.writer.clone(), new_id)
    }

    pub(crate) fn options(&self) -> PgConnectOptions {
        self.database.options()
    }

    pub(crate) fn pool(&self, role: Role) -> PgPool {
        pool::connect_lazy(self.options(), role, CONNECTIONS_MAX)
    }

    /// Runs SQL as the superuser.
    pub(crate) async fn sabotage(&self, sql: &str) {
        let done = sqlx::query(AssertSqlSafe(sql)).execute(&self.admin).await.unwrap();
        assert!(done.rows_affected() > 0, "sabotage must do something: {sql}");
    }
}

#[expect(clippy::disallowed_methods, reason = "tests make ids as the program does")]
pub(crate) fn new_id() -> Uuid {
    Uuid::now_v7()
}
