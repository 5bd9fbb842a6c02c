//! A database per test, copied from a migrated template that is made once per run.

use std::{
    str::FromStr as _,
    sync::atomic::{AtomicU32, Ordering},
};

use sqlx::{
    Connection as _, Executor as _, PgConnection, PgPool, migrate::Migrator,
    postgres::PgConnectOptions,
};
use tokio::sync::OnceCell;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");
static NUMBER: AtomicU32 = AtomicU32::new(0);
static TEMPLATE: OnceCell<String> = OnceCell::const_new();

/// A fresh, migrated database.
pub(crate) struct Database {
    pub(crate) options: PgConnectOptions,
    name: String,
}

impl Database {
    pub(crate) async fn new() -> Database {
        let template = TEMPLATE.get_or_init(template).await;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("conche_it_{}_{number}", std::process::id());
        admin(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        admin(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
        Database { options: server().database(&name), name }
    }

    pub(crate) async fn drop(self) {
        admin(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

async fn template() -> String {
    let name = format!("conche_it_template_{}", std::process::id());
    admin(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
    admin(&format!("CREATE DATABASE {name}")).await;
    let pool = PgPool::connect_with(server().database(&name)).await.unwrap();
    MIGRATIONS.run(&pool).await.unwrap();
    conche::database::maintain(&pool).await.unwrap();
    pool.close().await;
    name
}

async fn admin(statement: &str) {
    let mut conn = PgConnection::connect_with(&server()).await.unwrap();
    conn.execute(sqlx::AssertSqlSafe(statement.to_owned())).await.unwrap();
    conn.close().await.unwrap();
}

fn server() -> PgConnectOptions {
    #[expect(clippy::disallowed_methods, reason = "how `./dev test` tells its server")]
    let url = std::env::var("CONCHE_TEST_DATABASE_URL");
    let url = url.expect("CONCHE_TEST_DATABASE_URL names no server; run the tests by ./dev test");
    PgConnectOptions::from_str(&url).unwrap()
}
