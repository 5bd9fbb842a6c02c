//! A database per test, copied from a template that has the migrations. For tests only.
//!
//! The server is named by `CONCHE_TEST_DATABASE_URL`, whose user must be a superuser; `./dev test`
//! starts one.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash as _, Hasher as _},
    path::{Path, PathBuf},
    str::FromStr as _,
    sync::atomic::{AtomicU32, Ordering},
};

use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, migrate::Migrator,
    postgres::PgConnectOptions,
};

/// Key of the advisory lock under which the template is made.
const TEMPLATE_LOCK: i64 = 20_261_120;

/// A database of one test; dropped at its end, also when it fails.
#[derive(Debug)]
pub struct Database {
    name: String,
    options: PgConnectOptions,
}

impl Database {
    /// A migrated database without events.
    pub async fn new() -> Database {
        let template = template().await;
        Database::create(&format!("TEMPLATE {template}")).await
    }

    /// An empty database, without the migrations, that belongs to a role.
    pub async fn owned_by(role: &str) -> Database {
        Database::create(&format!("OWNER {role}")).await
    }

    async fn create(how: &str) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("conche_test_{}_{number}", std::process::id());
        // A process of the same number may have been killed before it could tidy up.
        administer(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        administer(&format!("CREATE DATABASE {name} {how}")).await;
        Database { options: server().database(&name), name }
    }

    /// How to connect to it, as superuser.
    pub fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // A thread and runtime of its own, because `drop` is neither async nor allowed to block.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(administer(&drop));
        });
        thread.join().expect("the database can be dropped");
    }
}

/// How to connect to the server, as superuser.
///
/// # Panics
/// Without `CONCHE_TEST_DATABASE_URL`, or if it is no PostgreSQL URL.
pub fn server() -> PgConnectOptions {
    #[expect(clippy::disallowed_methods, reason = "how a test is told of its server")]
    let url = std::env::var("CONCHE_TEST_DATABASE_URL")
        .expect("CONCHE_TEST_DATABASE_URL names a PostgreSQL server for tests: run `./dev test`");
    PgConnectOptions::from_str(&url).expect("CONCHE_TEST_DATABASE_URL is a PostgreSQL URL")
}

/// Runs the migrations.
///
/// # Panics
/// If one of them fails.
pub async fn migrate(conn: &mut PgConnection) {
    let migrator = Migrator::new(migrations()).await.expect("the migrations can be read");
    migrator.run(conn).await.expect("the migrations run");
}

/// Runs one statement as superuser, in no database in particular.
///
/// # Panics
/// If the server does not answer or refuses it.
pub async fn administer(sql: &str) {
    let conn = PgConnection::connect_with(&server()).await;
    let mut conn = conn.expect("the server for tests answers");
    execute(&mut conn, sql).await;
    conn.close().await.expect("a connection can be closed");
}

async fn execute(conn: &mut PgConnection, sql: &str) {
    let done = conn.execute(AssertSqlSafe(sql.to_owned())).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The template, named by the content of the migrations; made once per content and server.
async fn template() -> String {
    let name = format!("conche_test_template_{:016x}", content_of_migrations());
    let conn = PgConnection::connect_with(&server()).await;
    let mut conn = conn.expect("the server for tests answers");
    // Other tests, also in other processes, want the same template. The lock ends with `conn`.
    execute(&mut conn, &format!("SELECT pg_advisory_lock({TEMPLATE_LOCK})")).await;
    let found = "SELECT count(*) FROM pg_database WHERE datname = $1";
    let found = sqlx::query_scalar::<_, i64>(found).bind(&name).fetch_one(&mut conn).await;
    if found.expect("the catalogue can be read") == 0 {
        // Under another name until it is complete.
        let draft = format!("{name}_new");
        execute(&mut conn, &format!("DROP DATABASE IF EXISTS {draft} WITH (FORCE)")).await;
        execute(&mut conn, &format!("CREATE DATABASE {draft}")).await;
        let inside = PgConnection::connect_with(&server().database(&draft)).await;
        let mut inside = inside.expect("the template can be reached");
        migrate(&mut inside).await;
        inside.close().await.expect("a connection can be closed");
        execute(&mut conn, &format!("ALTER DATABASE {draft} RENAME TO {name}")).await;
    }
    conn.close().await.expect("a connection can be closed");
    name
}

fn content_of_migrations() -> u64 {
    let entries = fs::read_dir(migrations()).expect("the migrations are there");
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        fs::read(file).expect("a migration can be read").hash(&mut hasher);
    }
    hasher.finish()
}

fn migrations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations")
}
