//! Connections come back clean, under their role, from a server that keeps its word.

use std::time::Duration;

use event_store::AppendError;
use event_store::pool::{self, Role, ServerError};
use sqlx::PgConnection;
use tokio::time::timeout;

use crate::append::unit;
use crate::db::{Db, new_id};

/// sqlx 0.9 returns a connection whose `BEGIN` was cancelled inside its transaction; without the
/// hooks of the pool some of these acknowledged appends are lost.
#[tokio::test]
async fn a_cancelled_begin_loses_no_later_write() {
    let db = Db::new().await;
    let pool = pool::pool_options(1).connect_lazy_with(pool::session(db.options(), Role::Writer));
    let engine = event_store::Engine::new(pool.clone(), new_id);
    for wait in 0..100 {
        drop(timeout(Duration::from_micros(wait * 5), pool.begin()).await);
        engine.append(vec![unit(new_id(), 0, 1)]).await.unwrap();
    }
    pool.close().await;

    let kept: i64 =
        sqlx::query_scalar("SELECT count(*) FROM log.events").fetch_one(&db.admin).await.unwrap();

    assert_eq!(kept, 100);
}

#[tokio::test]
async fn a_query_reads_one_state_whatever_its_predecessors_left_behind() {
    let db = Db::new().await;
    let table = "CREATE TABLE public.visits (); GRANT SELECT ON public.visits TO conche_reader";
    sqlx::raw_sql(table).execute(&db.admin).await.unwrap();
    let pool = pool::connect_lazy(db.options(), Role::Reader, 1);
    for visits in 0..50_i64 {
        let wait = u64::try_from(visits).unwrap() * 10;
        drop(timeout(Duration::from_micros(wait), pool.acquire()).await);
        let mut conn = pool.acquire().await.unwrap();
        let seen = state(&mut conn).await;
        assert_eq!(seen, ["", "repeatable read", "on", &visits.to_string()]);
        db.sabotage("INSERT INTO public.visits DEFAULT VALUES").await;
        assert_eq!(state(&mut conn).await, seen, "it stays at what it saw first");
        // Left behind for the next.
        let set = sqlx::query("SELECT set_config('app.store', 'somebody', true)");
        set.execute(&mut *conn).await.unwrap();
    }
}

/// Of a session: its store, its transaction, and what it sees.
async fn state(conn: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT ARRAY[coalesce(current_setting('app.store', true), ''),
                      current_setting('transaction_isolation'),
                      current_setting('transaction_read_only'),
                      (SELECT count(*)::text FROM public.visits)]",
    )
    .fetch_one(conn)
    .await
    .unwrap()
}

#[tokio::test]
async fn each_pool_has_its_role_and_its_time_outs() {
    let db = Db::new().await;
    for (role, expected) in [
        (Role::Writer, "30s"),
        (Role::Process, "30s"),
        (Role::Projector, "3s"),
        (Role::Reader, "30s"),
    ] {
        let (user, idle): (String, String) = sqlx::query_as(
            "SELECT current_user::text, current_setting('idle_in_transaction_session_timeout')",
        )
        .fetch_one(&db.pool(role))
        .await
        .unwrap();
        assert_eq!((Some(user.as_str()), idle.as_str()), (role.name(), expected));
    }
}

/// Over the whole life of a connection: `RESET` and a rollback come back to what it began with.
#[tokio::test]
async fn only_sessions_that_cannot_append_do_not_wait_for_the_disk() {
    let db = Db::new().await;
    for (role, expected) in [
        (Role::Owner, "on"),
        (Role::Writer, "on"),
        (Role::Reader, "on"),
        (Role::Process, "off"),
        (Role::Projector, "off"),
    ] {
        let pool = db.session(role);
        for before in ["SELECT 1", "RESET ALL", "DISCARD ALL"] {
            sqlx::query(before).execute(&pool).await.unwrap();
            let waits: String = sqlx::query_scalar("SHOW synchronous_commit")
                .persistent(false)
                .fetch_one(&pool)
                .await
                .unwrap();
            assert_eq!(waits, expected, "{role:?} after {before}");
        }
    }
}

#[tokio::test]
async fn a_server_that_may_forget_is_refused() {
    let db = Db::new().await;
    pool::connect(db.options(), Role::Writer, 1).await.expect("the test server is safe");
    let forgetful = db.options().options([("synchronous_commit", "off")]);

    let refused = pool::connect(forgetful, Role::Writer, 1).await;

    let Err(error @ ServerError::Unsafe { setting: "synchronous_commit", .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(error.to_string().contains("ALTER SYSTEM SET synchronous_commit = 'on'"));
}

#[tokio::test]
async fn an_append_that_waits_too_long_for_its_turn_may_come_again() {
    let db = Db::new().await;
    let options = pool::session(db.options(), Role::Writer).options([("lock_timeout", "50ms")]);
    let engine = event_store::Engine::new(pool::pool_options(1).connect_lazy_with(options), new_id);
    let mut stuck = db.admin.begin().await.unwrap();
    sqlx::query("SELECT FROM log.head FOR UPDATE").execute(&mut *stuck).await.unwrap();

    let error = engine.append(vec![unit(new_id(), 0, 1)]).await.unwrap_err();

    assert!(matches!(&error, AppendError::Store(error) if error.is_passing()), "{error:?}");
    stuck.rollback().await.unwrap();
    engine.append(vec![unit(new_id(), 0, 1)]).await.unwrap();
}

#[tokio::test]
async fn appends_do_not_mind_a_database_with_another_isolation_level() {
    let db = Db::new().await;
    let stricter = db.options().options([("default_transaction_isolation", "repeatable read")]);
    let engine = event_store::Engine::new(pool::connect_lazy(stricter, Role::Writer, 8), new_id);
    let appends = (0..32).map(|_| {
        let engine = engine.clone();
        tokio::spawn(async move { engine.append(vec![unit(new_id(), 0, 1)]).await })
    });

    for append in appends.collect::<Vec<_>>() {
        append.await.unwrap().unwrap();
    }
}
