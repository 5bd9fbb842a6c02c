//! A test's database and its pools.

use std::time::Duration;

use event_store::Engine;
use event_store::pool::{self, Role};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, PgPool, Postgres, Transaction};
use test_database::Database;
use tokio::time::sleep;
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

    /// Sessions of a role as such: what it may do does not rest on how a pool lends them.
    pub(crate) fn session(&self, role: Role) -> PgPool {
        pool::pool_options(1).connect_lazy_with(pool::session(self.options(), role))
    }

    /// Runs SQL as the superuser.
    pub(crate) async fn sabotage(&self, sql: &str) {
        let done = sqlx::query(AssertSqlSafe(sql)).execute(&self.admin).await.unwrap();
        assert!(done.rows_affected() > 0, "sabotage must do something: {sql}");
    }
}

/// Stops every append until it is let go: what comes meanwhile queues up.
pub(crate) struct Held {
    holder: Transaction<'static, Postgres>,
    /// Looks from outside: a transaction sees the activity as it was at its first look.
    outside: PgPool,
}

impl Held {
    pub(crate) async fn log(db: &Db) -> Held {
        let mut holder = db.admin.begin().await.unwrap();
        sqlx::query("UPDATE log.head SET position = position").execute(&mut *holder).await.unwrap();
        Held { holder, outside: db.admin.clone() }
    }

    /// Waits until that many appends wait.
    pub(crate) async fn until_waiting(&self, appends: i64) {
        until_waiting(&self.outside, appends).await;
    }

    /// Ends the sessions of the appends that wait.
    pub(crate) async fn kill_waiting(&self) {
        let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock'";
        assert!(count(&self.outside, kill).await > 0, "nothing waits");
    }

    pub(crate) async fn let_go(self) {
        self.holder.rollback().await.unwrap();
    }
}

/// Waits until that many sessions wait for a lock.
pub(crate) async fn until_waiting(outside: &PgPool, sessions: i64) {
    let waiting = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while count(outside, waiting).await < sessions {
        sleep(Duration::from_millis(5)).await;
    }
}

async fn count(outside: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(outside).await.unwrap()
}

#[expect(clippy::disallowed_methods, reason = "tests make ids as the program does")]
pub(crate) fn new_id() -> Uuid {
    Uuid::now_v7()
}
