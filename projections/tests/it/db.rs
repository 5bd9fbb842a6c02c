//! A test's database and its pools.

use event_store::pool::{self, Role};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use test_database::{Database, administer, migrate};

/// Connections per pool of a test. Many tests run at once against one server.
const CONNECTIONS_MAX: u32 = 4;

/// A migrated, empty database; dropped at the end of the test, also when it fails.
pub(crate) struct Db {
    pub(crate) owner: PgPool,
    pub(crate) writer: PgPool,
    pub(crate) projector: PgPool,
    pub(crate) reader: PgPool,
    _database: Database,
}

impl Db {
    pub(crate) async fn new() -> Db {
        let database = Database::new().await;
        Db::on(database.options(), database)
    }

    /// A database whose owner is no superuser, as on a server that somebody else runs: row-level
    /// security holds for the owner too.
    pub(crate) async fn of_plain_owner() -> Db {
        let owner = format!("conche_test_plain_{}", std::process::id());
        administer(&format!("DROP ROLE IF EXISTS {owner}")).await;
        administer(&format!("CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD '{owner}'")).await;
        let database = Database::owned_by(&owner).await;
        let options = database.options().username(&owner).password(&owner);
        let mut conn = PgConnection::connect_with(&options).await.unwrap();
        migrate(&mut conn).await;
        conn.close().await.unwrap();
        Db::on(options, database)
    }

    fn on(options: PgConnectOptions, database: Database) -> Db {
        let pool = |role| pool::connect_lazy(options.clone(), role, CONNECTIONS_MAX);
        Db {
            owner: pool(Role::Owner),
            writer: pool(Role::Writer),
            projector: pool(Role::Projector),
            reader: pool(Role::Reader),
            _database: database,
        }
    }

    /// Runs SQL as the superuser; it must change something.
    pub(crate) async fn sabotage(&self, sql: &str) {
        let done = sqlx::query(AssertSqlSafe(sql)).execute(&self.owner).await.unwrap();
        assert!(done.rows_affected() > 0, "sabotage must do something: {sql}");
    }
}
