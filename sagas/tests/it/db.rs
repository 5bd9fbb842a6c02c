//! A database per test, copied from a template that has the migrations.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::path::Path;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU32, Ordering};

use event_store::Engine;
use event_store::pool::{self, Role};
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use uuid::Uuid;

/// Connections per pool of a test. Many tests run at once against one server.
const CONNECTIONS_MAX: u32 = 6;

/// A migrated, empty database; dropped at the end of the test, also when it fails.
pub(crate) struct Db {
    name: String,
    /// The serving role.
    pub(crate) writer: PgPool,
}

impl Db {
    pub(crate) async fn new() -> Db {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let template = template().await;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("conche_test_saga_{}_{number}", std::process::id());
        let mut server = PgConnection::connect_with(&server()).await.unwrap();
        run(&mut server, &format!("DROP DATABASE IF EXISTS {name}")).await;
        run(&mut server, &format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
        let options = server_options(&name);
        Db { writer: pool::connect_lazy(options, Role::Writer, CONNECTIONS_MAX), name }
    }

    /// Runs SQL as the superuser.
    pub(crate) async fn sabotage(&self, sql: &str) {
        let mut conn = PgConnection::connect_with(&server_options(&self.name)).await.unwrap();
        run(&mut conn, sql).await;
        conn.close().await.unwrap();
    }

    pub(crate) fn engine(&self) -> Engine {
        Engine::new(self.writer.clone(), new_id)
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

pub(crate) fn new_id() -> Uuid {
    Uuid::now_v7()
}

fn server() -> PgConnectOptions {
    let url = std::env::var("CONCHE_TEST_DATABASE_URL")
        .expect("CONCHE_TEST_DATABASE_URL names a PostgreSQL server for tests: run `./dev test`");
    PgConnectOptions::from_str(&url).expect("CONCHE_TEST_DATABASE_URL is a PostgreSQL URL")
}

fn server_options(database: &str) -> PgConnectOptions {
    server().database(database)
}

async fn run(conn: &mut PgConnection, sql: &str) {
    sqlx::query(AssertSqlSafe(sql)).execute(conn).await.unwrap();
}

/// The template, named by the content of the migrations; made once per content and server.
async fn template() -> String {
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    let mut hasher = DefaultHasher::new();
    let mut files: Vec<_> = fs::read_dir(&migrations).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|ext| ext == "sql")) {
        fs::read(file).unwrap().hash(&mut hasher);
    }
    let name = format!("conche_test_saga_template_{:016x}", hasher.finish());

    let mut server = PgConnection::connect_with(&server()).await.unwrap();
    // Other tests, also in other processes, want the same template.
    sqlx::query("SELECT pg_advisory_lock(20261120)").execute(&mut server).await.unwrap();
    let found: Option<i32> = sqlx::query_scalar("SELECT 1 FROM pg_database WHERE datname = $1")
        .bind(&name)
        .fetch_optional(&mut server)
        .await
        .unwrap();
    if found.is_none() {
        // Under another name until it is complete.
        run(&mut server, &format!("DROP DATABASE IF EXISTS {name}_new WITH (FORCE)")).await;
        run(&mut server, &format!("CREATE DATABASE {name}_new")).await;
        let options = server_options(&format!("{name}_new"));
        let mut conn = PgConnection::connect_with(&options).await.unwrap();
        Migrator::new(migrations.as_path()).await.unwrap().run(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        run(&mut server, &format!("ALTER DATABASE {name}_new RENAME TO {name}")).await;
    }
    server.close().await.unwrap();
    name
}
