//! A database per test, copied from a template that has the migrations.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU32, Ordering};

use event_store::pool::{self, Role};
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

/// Connections per pool of a test. Many tests run at once against one server.
const CONNECTIONS_MAX: u32 = 4;

/// A migrated, empty database; dropped at the end of the test, also when it fails.
pub(crate) struct Db {
    name: String,
    pub(crate) owner: PgPool,
    pub(crate) writer: PgPool,
    pub(crate) projector: PgPool,
    pub(crate) reader: PgPool,
}

impl Db {
    pub(crate) async fn new() -> Db {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let template = template().await;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("conche_test_read_{}_{number}", std::process::id());
        let mut server = PgConnection::connect_with(&server()).await.unwrap();
        run(&mut server, &format!("DROP DATABASE IF EXISTS {name}")).await;
        run(&mut server, &format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
        Db::connect(name, self::server())
    }

    /// A database whose owner is no superuser, as on a server that somebody else runs: row-level
    /// security holds for the owner too.
    pub(crate) async fn of_plain_owner() -> Db {
        let name = format!("conche_test_read_plain_{}", std::process::id());
        let mut server = PgConnection::connect_with(&server()).await.unwrap();
        sqlx::query("SELECT pg_advisory_lock(20261121)").execute(&mut server).await.unwrap();
        let owner = "conche_test_plain_owner";
        run(&mut server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        let make = format!(
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{owner}') THEN
                 CREATE ROLE {owner} LOGIN CREATEROLE; END IF; END $$"
        );
        run(&mut server, &make).await;
        run(&mut server, &format!("CREATE DATABASE {name} OWNER {owner}")).await;
        let options = self::server().username(owner);
        let mut conn = PgConnection::connect_with(&options.clone().database(&name)).await.unwrap();
        Migrator::new(migrations().as_path()).await.unwrap().run(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        Db::connect(name, options)
    }

    fn connect(name: String, server: PgConnectOptions) -> Db {
        let options = server.database(&name);
        let pool = |role| pool::connect_lazy(options.clone(), role, CONNECTIONS_MAX);
        Db {
            owner: pool(Role::Owner),
            writer: pool(Role::Writer),
            projector: pool(Role::Projector),
            reader: pool(Role::Reader),
            name,
        }
    }

    /// Runs SQL as the superuser; it must change something.
    pub(crate) async fn sabotage(&self, sql: &str) {
        let done = sqlx::query(AssertSqlSafe(sql)).execute(&self.owner).await.unwrap();
        assert!(done.rows_affected() > 0, "sabotage must do something: {sql}");
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let work = async move {
            let mut server = PgConnection::connect_with(&server()).await.unwrap();
            run(&mut server, &drop).await;
        };
        // A thread and runtime of its own, because `drop` is neither async nor allowed to block.
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
        let thread = std::thread::spawn(move || runtime().unwrap().block_on(work));
        thread.join().expect("database can be dropped");
    }
}

fn server() -> PgConnectOptions {
    #[expect(clippy::disallowed_methods, reason = "how a test is told of its server")]
    let url = std::env::var("CONCHE_TEST_DATABASE_URL")
        .expect("CONCHE_TEST_DATABASE_URL names a PostgreSQL server for tests: run `./dev test`");
    PgConnectOptions::from_str(&url).expect("CONCHE_TEST_DATABASE_URL is a PostgreSQL URL")
}

async fn run(conn: &mut PgConnection, sql: &str) {
    sqlx::query(AssertSqlSafe(sql)).execute(conn).await.unwrap();
}

fn migrations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations")
}

/// The template, named by the content of the migrations; made once per content and server.
async fn template() -> String {
    let migrations = migrations();
    let mut hasher = DefaultHasher::new();
    let mut files: Vec<_> = fs::read_dir(&migrations).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|ext| ext == "sql")) {
        fs::read(file).unwrap().hash(&mut hasher);
    }
    let name = format!("conche_test_read_template_{:016x}", hasher.finish());

    let mut server = PgConnection::connect_with(&server()).await.unwrap();
    // Other tests, also in other processes, want the same template.
    sqlx::query("SELECT pg_advisory_lock(20261121)").execute(&mut server).await.unwrap();
    let found: Option<i32> = sqlx::query_scalar("SELECT 1 FROM pg_database WHERE datname = $1")
        .bind(&name)
        .fetch_optional(&mut server)
        .await
        .unwrap();
    if found.is_none() {
        // Under another name until it is complete.
        run(&mut server, &format!("DROP DATABASE IF EXISTS {name}_new WITH (FORCE)")).await;
        run(&mut server, &format!("CREATE DATABASE {name}_new")).await;
        let options = self::server().database(&format!("{name}_new"));
        let mut conn = PgConnection::connect_with(&options).await.unwrap();
        Migrator::new(migrations.as_path()).await.unwrap().run(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        run(&mut server, &format!("ALTER DATABASE {name}_new RENAME TO {name}")).await;
    }
    server.close().await.unwrap();
    name
}
