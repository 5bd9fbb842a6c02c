//! What the serving roles may and may not do, and the partitions that are there in time.

use event_store::pool::Role;
use event_store::read::read_stream;
use event_store::{AppendError, StoreError, partitions};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::account::{OTHER_STORE, STORE};
use crate::append::unit;
use crate::db::{Db, new_id};

async fn refused(pool: &PgPool, sql: &str) {
    let error = sqlx::query(AssertSqlSafe(sql)).execute(pool).await.expect_err(sql);
    let code = error.as_database_error().unwrap().code().unwrap().into_owned();
    assert_eq!(code, "42501", "{sql}: {error}");
}

#[tokio::test]
async fn no_serving_role_can_change_what_was_stored() {
    let db = Db::new().await;
    db.engine().append(vec![unit(new_id(), 0, 1)]).await.unwrap();
    for role in [Role::Writer, Role::Process, Role::Projector, Role::Reader] {
        let pool = db.session(role);
        for table in ["log.events", "log.commands", "log.events_000000"] {
            refused(&pool, &format!("UPDATE {table} SET position = 2")).await;
            refused(&pool, &format!("DELETE FROM {table}")).await;
            refused(&pool, &format!("TRUNCATE {table}")).await;
        }
        refused(&pool, "SELECT * FROM log.events_000000").await;
        refused(&pool, "SELECT log.ensure_partitions()").await;
        refused(&pool, "SELECT log.drop_expired_commands()").await;
        refused(&pool, "TRUNCATE log.streams").await;
    }
    for role in [Role::Process, Role::Projector, Role::Reader] {
        refused(&db.session(role), "UPDATE log.head SET position = 0").await;
        refused(&db.session(role), "INSERT INTO log.unique_keys SELECT * FROM log.unique_keys")
            .await;
    }
}

/// Its sessions do not wait for the disk, so nothing it stores may be the truth.
#[tokio::test]
async fn a_process_reads_every_store_and_can_append_nowhere() {
    let db = Db::new().await;
    let mut elsewhere = unit(new_id(), 0, 2);
    elsewhere.stream.store_id = OTHER_STORE;
    db.engine().append(vec![unit(new_id(), 0, 3), elsewhere]).await.unwrap();
    let pool = db.pool(Role::Process);

    let seen: i64 =
        sqlx::query_scalar("SELECT count(*) FROM log.events").fetch_one(&pool).await.unwrap();
    assert_eq!(seen, 5);

    let refused_here = event_store::Engine::new(pool.clone(), new_id)
        .append(vec![unit(new_id(), 0, 1)])
        .await
        .unwrap_err();
    let AppendError::Store(StoreError::Database(error)) = &refused_here else {
        panic!("{refused_here:?}");
    };
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("42501"));
    for sql in [
        "INSERT INTO log.events SELECT * FROM log.events",
        "INSERT INTO log.streams SELECT * FROM log.streams",
        "INSERT INTO log.commands SELECT * FROM log.commands",
        "INSERT INTO log.snapshots SELECT * FROM log.snapshots",
        "SELECT FROM log.refusals",
        "DELETE FROM log.checkpoints",
        "SELECT FROM read.projection_states",
    ] {
        refused(&pool, sql).await;
    }
}

/// Functions, too, that a later migration may add.
#[tokio::test]
async fn no_role_that_may_forget_can_run_anything_of_the_log() {
    let db = Db::new().await;
    for role in [Role::Process, Role::Projector] {
        let functions = "SELECT p.oid::regprocedure::text FROM pg_proc p
              JOIN pg_namespace n ON n.oid = p.pronamespace
             WHERE n.nspname = 'log' AND has_function_privilege($1, p.oid, 'EXECUTE')";
        let may_run: Vec<String> =
            sqlx::query_scalar(functions).bind(role.name()).fetch_all(&db.admin).await.unwrap();
        assert!(may_run.is_empty(), "{role:?}: {may_run:?}");
        let tables = "SELECT c.relname::text FROM pg_class c
              JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = 'log' AND c.relkind IN ('r', 'p') 
               AND c.relname NOT IN ('checkpoints', 'parked', 'kept_parked')
               AND has_any_column_privilege($1, c.oid, 'INSERT, UPDATE')";
        let may_write: Vec<String> =
            sqlx::query_scalar(tables).bind(role.name()).fetch_all(&db.admin).await.unwrap();
        assert!(may_write.is_empty(), "{role:?}: {may_write:?}");
    }
}

/// Whoever reads what is sealed cannot read the keys, and whoever reads the keys nothing else.
#[tokio::test]
async fn the_vault_is_apart_from_everything() {
    let db = Db::new().await;
    for role in [Role::Writer, Role::Process, Role::Projector, Role::Reader] {
        refused(&db.pool(role), "SELECT FROM vault.person_keys").await;
        refused(&db.pool(role), "SELECT FROM vault.store_secrets").await;
    }
    let vault = db.pool(Role::Vault);
    for table in ["log.events", "process.work", "read.projection_states"] {
        refused(&vault, &format!("SELECT FROM {table}")).await;
    }
    let elsewhere = "SELECT c.oid::regclass::text FROM pg_class c
          JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname IN ('log', 'read', 'process', 'analytics') AND c.relkind IN ('r', 'p', 'v')
           AND has_any_column_privilege('conche_vault', c.oid, 'SELECT, INSERT, UPDATE')";
    let reached: Vec<String> = sqlx::query_scalar(elsewhere).fetch_all(&db.admin).await.unwrap();
    assert!(reached.is_empty(), "{reached:?}");
}

#[tokio::test]
async fn a_reader_sees_its_own_store_only() {
    let db = Db::new().await;
    let mut elsewhere = unit(new_id(), 0, 2);
    elsewhere.stream.store_id = OTHER_STORE;
    db.engine().append(vec![unit(new_id(), 0, 3), elsewhere]).await.unwrap();
    let pool = db.pool(Role::Reader);
    let seen = async |store: Option<Uuid>, relation: &str| {
        let mut tx = pool.begin().await.unwrap();
        if let Some(store) = store {
            sqlx::query("SELECT set_config('app.store', $1, true)")
                .bind(store.to_string())
                .execute(&mut *tx)
                .await
                .unwrap();
        }
        let sql = format!("SELECT count(*) FROM {relation}");
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        count
    };

    for (relation, own, other) in [
        ("log.events", 3, 2),
        ("log.events_json", 3, 2),
        ("log.streams", 1, 1),
        ("log.commands", 1, 1),
    ] {
        assert_eq!(seen(Some(STORE), relation).await, own, "{relation}");
        assert_eq!(seen(Some(OTHER_STORE), relation).await, other, "{relation}");
        assert_eq!(seen(None, relation).await, 0, "{relation}");
    }
}

/// As whoever `DATABASE_URL` names on a server that somebody else administers.
#[tokio::test]
async fn an_owner_who_is_no_superuser_can_migrate_and_sees_every_row_of_a_backup() {
    let template = Db::new().await; // so that the serving roles exist
    let owner = format!("owner_{}", std::process::id());
    let sql = format!(
        "CREATE ROLE {owner}; GRANT conche_writer, conche_process, conche_projector, conche_vault, conche_reader TO {owner}"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&template.admin).await.unwrap();
    let db = Db::owned_by(&owner).await;
    let mut conn = db.admin.acquire().await.unwrap();
    let become_owner = format!("SET SESSION AUTHORIZATION {owner}");
    sqlx::query(AssertSqlSafe(become_owner)).execute(&mut *conn).await.unwrap();

    test_database::migrate(&mut conn).await;

    db.engine().append(vec![unit(new_id(), 0, 3)]).await.unwrap();
    for relation in ["log.events", "log.events_000000"] {
        let sql = format!("SELECT count(*) FROM {relation}");
        let count: i64 =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *conn).await.unwrap();
        assert_eq!(count, 3, "{relation}");
    }
    drop((conn, db));
    let sql = format!("DROP ROLE {owner}");
    sqlx::query(AssertSqlSafe(sql)).execute(&template.admin).await.unwrap();
}

/// Every query must return no row.
const ROW_SECURITY_LINT: [(&str, &str); 6] = [
    (
        "tenant tables without forced row-level security",
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'store_id' AND NOT a.attisdropped
          WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('log', 'read', 'process', 'vault')
            AND NOT (c.relrowsecurity AND c.relforcerowsecurity)",
    ),
    (
        "serving roles that could bypass it",
        "SELECT rolname::text FROM pg_roles WHERE (rolbypassrls OR rolsuper) AND rolname LIKE 'conche\\_%'",
    ),
    (
        "tables that a serving role owns",
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
          WHERE r.rolname LIKE 'conche\\_%' AND c.relkind IN ('r', 'p', 'v')
            AND c.relnamespace::regnamespace::text IN ('log', 'read', 'process', 'vault')",
    ),
    (
        "views that run with their owner's rights",
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE c.relkind = 'v' AND n.nspname IN ('log', 'read', 'process', 'vault')
            AND NOT coalesce('security_invoker=true' = ANY (c.reloptions), false)",
    ),
    (
        "functions that run with their owner's rights, or look names up where the caller says",
        "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
          WHERE n.nspname IN ('log', 'read', 'process', 'vault')
            AND (p.prosecdef OR (n.nspname = 'log' AND NOT EXISTS (
                    SELECT FROM unnest(p.proconfig) setting WHERE setting LIKE 'search\\_path=%')))",
    ),
    (
        "materialised views",
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE c.relkind = 'm' AND n.nspname IN ('log', 'read', 'process', 'vault')",
    ),
];

#[tokio::test]
async fn the_catalogue_has_no_way_around_row_level_security() {
    let db = Db::new().await;
    for (what, sql) in ROW_SECURITY_LINT {
        let found: Vec<String> = sqlx::query_scalar(sql).fetch_all(&db.admin).await.unwrap();
        assert!(found.is_empty(), "{what}: {found:?}");
    }
}

#[tokio::test]
async fn appends_cross_into_the_next_partition_and_there_is_always_another() {
    let db = Db::new().await;
    db.sabotage("UPDATE log.head SET position = 9999997").await;
    let id = new_id();

    let done = db.engine().append(vec![unit(id, 0, 6)]).await.unwrap();

    assert_eq!(done[0].position, 10_000_003);
    let mut owner = db.admin.acquire().await.unwrap();
    assert_eq!(partitions::ensure(&mut owner).await.unwrap(), 1);
    assert_eq!(partitions::ensure(&mut owner).await.unwrap(), 0);
    let spread: Vec<(String, i64)> = sqlx::query_as(
        "SELECT tableoid::regclass::text, count(*) FROM log.events GROUP BY 1 ORDER BY 1",
    )
    .fetch_all(&db.admin)
    .await
    .unwrap();
    assert_eq!(spread, [("log.events_000000".into(), 3), ("log.events_000001".into(), 3)]);
    let mut conn = db.writer.acquire().await.unwrap();
    let events = read_stream(&mut conn, STORE, ("account", id), 0, 10).await.unwrap();
    assert_eq!(events.len(), 6);
}

#[tokio::test]
async fn old_weeks_of_command_records_go_and_young_ones_stay() {
    let db = Db::new().await;
    let first = unit(new_id(), 0, 1);
    db.engine().append(vec![first.clone()]).await.unwrap();
    let week = "SELECT log.attach_partition('commands', 'commands_20200106',
                    '2020-01-06 00:00:00+00', '2020-01-13 00:00:00+00')";
    sqlx::query(week).execute(&db.admin).await.unwrap();
    let mut owner = db.admin.acquire().await.unwrap();

    assert_eq!(partitions::drop_expired_commands(&mut owner).await.unwrap(), 1);

    assert_eq!(partitions::drop_expired_commands(&mut owner).await.unwrap(), 0);
    let record = db.engine().command(STORE, first.command_id).await.unwrap();
    assert_eq!(record.unwrap().position, 1);
}

#[tokio::test]
async fn a_clock_that_is_ahead_for_a_moment_costs_no_command_records() {
    let db = Db::new().await;
    let week = "SELECT log.attach_partition('commands', 'commands_20200106',
                    '2020-01-06 00:00:00+00', '2020-01-13 00:00:00+00')";
    sqlx::query(week).execute(&db.admin).await.unwrap();
    // By the clock of the log it is still that week, whatever the machine says.
    db.sabotage("UPDATE log.head SET recorded_at = '2020-01-08 00:00:00+00'").await;
    let mut owner = db.admin.acquire().await.unwrap();

    assert_eq!(partitions::drop_expired_commands(&mut owner).await.unwrap(), 0);
}
