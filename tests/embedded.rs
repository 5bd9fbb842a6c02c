//! The private PostgreSQL cluster, with PostgreSQL's own programs and real crashes. Needs nothing
//! but those. As root it also shows that folders closed to user `postgres` are no obstacle: a
//! temporary folder is one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use conche::embedded::{self, DATABASE, EmbeddedError, Origin, Settings};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tempfile::TempDir;

fn settings(data_dir: &Path) -> Settings {
    #[expect(
        clippy::disallowed_methods,
        reason = "the machine's settings, as the program has them"
    )]
    let pg_bindir = std::env::var("PG_BINDIR").ok().map(Into::into);
    Settings { data_dir: data_dir.to_owned(), pg_bindir, path: std::env::var_os("PATH") }
}

async fn ask(options: &PgConnectOptions, sql: &'static str) -> String {
    let mut connection = PgConnection::connect_with(options).await.unwrap();
    let answer = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    answer
}

async fn run(options: &PgConnectOptions, sql: &'static str) {
    let mut connection = PgConnection::connect_with(options).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

fn postmaster(data_dir: &Path) -> Pid {
    let text = fs::read_to_string(data_dir.join("postgres/postmaster.pid")).unwrap();
    Pid::from_raw(text.lines().next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_cluster_is_made_found_stopped_and_started_again() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder.path().join("shop"));
    assert!(embedded::running(&settings.data_dir).await.unwrap().is_none(), "nothing there yet");

    let cluster = embedded::start(&settings).await.unwrap();
    assert_eq!(cluster.origin(), Origin::Started);
    let options = cluster.connect_options(DATABASE);
    assert_eq!(ask(&options, "SELECT current_database()::text").await, "conche");
    for (sql, expected) in [
        ("SELECT current_setting('fsync')", "on"),
        ("SELECT current_setting('full_page_writes')", "on"),
        ("SELECT current_setting('synchronous_commit')", "on"),
        ("SELECT current_setting('data_checksums')", "on"),
        ("SELECT current_setting('listen_addresses')", ""),
        ("SELECT current_setting('server_encoding')", "UTF8"),
    ] {
        assert_eq!(ask(&options, sql).await, expected, "{sql}");
    }
    let by_url: PgConnectOptions = cluster.url(DATABASE).parse().unwrap();
    assert_eq!(ask(&by_url, "SELECT current_database()::text").await, "conche");
    run(&options, "CREATE TABLE kept AS SELECT 'chocolate'::text AS what").await;
    let found = embedded::running(&settings.data_dir).await.unwrap().unwrap();
    assert_eq!(ask(&found, "SELECT what FROM kept").await, "chocolate");
    cluster.stop().await.unwrap();

    assert!(embedded::running(&settings.data_dir).await.unwrap().is_none(), "stopped");
    assert!(!settings.data_dir.join("postgres/postmaster.pid").exists(), "a clean stop");
    let cluster = embedded::start(&settings).await.unwrap();
    let options = cluster.connect_options(DATABASE);
    assert_eq!(ask(&options, "SELECT what FROM kept").await, "chocolate");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_program_adopts_the_server_and_leaves_it_running() {
    let folder = TempDir::new().unwrap();
    let settings = settings(folder.path());
    let (first, second) = tokio::join!(embedded::start(&settings), embedded::start(&settings));
    let (first, second) = (first.unwrap(), second.unwrap());
    let mut origins = [first.origin(), second.origin()];
    origins.sort_by_key(|it| *it == Origin::Adopted);
    assert_eq!(origins, [Origin::Started, Origin::Adopted]);

    let (owner, guest) =
        if first.origin() == Origin::Started { (first, second) } else { (second, first) };
    guest.stop().await.unwrap();
    let options = owner.connect_options(DATABASE);
    assert_eq!(ask(&options, "SELECT current_database()::text").await, "conche");
    let mut guest = embedded::start(&settings).await.unwrap();
    let no_exit = tokio::time::timeout(Duration::from_secs(1), guest.exited()).await;
    assert!(no_exit.is_err(), "it is still running");
    owner.stop().await.unwrap();
    let exit = tokio::time::timeout(Duration::from_secs(5), guest.exited()).await;
    assert!(exit.is_ok(), "an adopted server that is gone is noticed");
    assert!(PgConnection::connect_with(&options).await.is_err(), "the owner has stopped it");
}

#[tokio::test]
async fn a_killed_server_comes_back_with_what_was_committed() {
    let folder = TempDir::new().unwrap();
    let settings = settings(folder.path());
    let mut cluster = embedded::start(&settings).await.unwrap();
    let options = cluster.connect_options(DATABASE);
    run(&options, "CREATE TABLE kept AS SELECT 'committed'::text AS what").await;
    // A busy session holds on to the shared memory of the dead server for a moment.
    let mut busy = PgConnection::connect_with(&options).await.unwrap();
    let sleeping = sqlx::raw_sql("SELECT pg_sleep(3)").execute(&mut busy);
    let killed = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        kill(postmaster(folder.path()), Signal::SIGKILL).unwrap();
        cluster.exited().await;
    };
    let (broken, ()) = tokio::join!(sleeping, killed);
    drop((broken, cluster));

    let cluster = embedded::start(&settings).await.unwrap();
    assert_eq!(cluster.origin(), Origin::Started);
    let options = cluster.connect_options(DATABASE);
    assert_eq!(ask(&options, "SELECT what FROM kept").await, "committed");
    cluster.stop().await.unwrap();
}

/// Not a story of its own: the process that the next one kills.
#[tokio::test]
#[ignore = "run by `a_killed_program_leaves_a_cluster_that_starts_again`"]
async fn holds_a_cluster_until_killed() {
    let Some(data_dir) = std::env::var_os("CONCHE_TEST_HELD_DATA_DIR") else { return };
    let _cluster = embedded::start(&settings(Path::new(&data_dir))).await.unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_program_leaves_a_cluster_that_starts_again() {
    let folder = TempDir::new().unwrap();
    let mut program = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "holds_a_cluster_until_killed"])
        .env("CONCHE_TEST_HELD_DATA_DIR", folder.path())
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let options = loop {
        if let Some(options) = embedded::running(folder.path()).await.unwrap() {
            break options;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    run(&options, "CREATE DATABASE mine").await;
    program.kill().await.unwrap();

    let cluster = embedded::start(&settings(folder.path())).await.unwrap();
    assert_ne!(cluster.origin(), Origin::Adopted, "nobody else answers for it");
    let options = cluster.connect_options("mine");
    assert_eq!(ask(&options, "SELECT current_database()::text").await, "mine");
    cluster.stop().await.unwrap();
    assert!(embedded::running(folder.path()).await.unwrap().is_none());
}

/// What is left by a killed program where the system has no parent-death signal.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_orphaned_server_is_taken_over_and_stopped_at_the_end() {
    use std::os::unix::{fs::MetadataExt as _, process::CommandExt as _};
    let folder = TempDir::new().unwrap();
    let settings = settings(folder.path());
    let cluster = embedded::start(&settings).await.unwrap();
    let options = cluster.connect_options(DATABASE);
    let directory = ask(&options, "SELECT setting FROM pg_config() WHERE name = 'BINDIR'").await;
    cluster.stop().await.unwrap();
    let home = folder.path().join("postgres");
    let owner = fs::metadata(&home).unwrap();
    let mut orphan = std::process::Command::new(Path::new(&directory).join("postgres"));
    orphan.arg("-D").arg(&home).arg("-k").arg(folder.path().join("run")).args(["-h", ""]);
    if nix::unistd::Uid::effective().is_root() {
        orphan.uid(owner.uid()).gid(owner.gid());
    }
    let mut orphan = orphan.current_dir("/").stderr(std::process::Stdio::null()).spawn().unwrap();
    while embedded::running(folder.path()).await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let cluster = embedded::start(&settings).await.unwrap();
    assert_eq!(cluster.origin(), Origin::TakenOver);
    cluster.stop().await.unwrap();
    assert!(orphan.wait().unwrap().success());
}

#[tokio::test]
async fn a_number_left_by_a_crash_that_is_another_programs_now_does_not_stop_the_start() {
    let folder = TempDir::new().unwrap();
    let settings = settings(folder.path());
    embedded::start(&settings).await.unwrap().stop().await.unwrap();
    let file = folder.path().join("postgres/postmaster.pid");
    let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    fs::write(&file, format!("{}\n{}\n1\n5432\n", stranger.id(), folder.path().display())).unwrap();
    // Readable for the server's user, as its own file would be.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();

    let cluster = embedded::start(&settings).await.unwrap();
    assert_eq!(cluster.origin(), Origin::Started);
    cluster.stop().await.unwrap();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn an_interrupted_initdb_is_made_anew() {
    let folder = TempDir::new().unwrap();
    let half_made = folder.path().join("postgres.new.4711");
    fs::create_dir_all(half_made.join("base")).unwrap();
    fs::write(half_made.join("PG_VERSION"), "15\n").unwrap();

    let cluster = embedded::start(&settings(folder.path())).await.unwrap();
    assert!(!half_made.exists());
    cluster.stop().await.unwrap();
}

/// The children of a killed `initdb` live a little longer than it.
#[tokio::test]
async fn an_orphan_that_still_writes_to_an_interrupted_initdb_does_not_stop_the_start() {
    let folder = TempDir::new().unwrap();
    let half_made = folder.path().join("postgres.new.4711");
    let base = half_made.join("base");
    fs::create_dir_all(&base).unwrap();
    // Removing these takes a while, in which new ones appear behind the remover's back.
    for number in 0..5_000 {
        fs::write(base.join(number.to_string()), "").unwrap();
    }
    let started = Arc::new(AtomicBool::new(false));
    let orphan = std::thread::spawn({
        let started = Arc::clone(&started);
        move || {
            let begun = Instant::now();
            for number in (0..5_000).cycle() {
                // It cannot make its folder again, whose name it does not know.
                let written = fs::write(base.join(number.to_string()), "");
                let ended = started.load(Ordering::Relaxed) || written.is_err();
                if ended || begun.elapsed() > Duration::from_secs(10) {
                    break;
                }
            }
        }
    });

    let cluster = embedded::start(&settings(folder.path())).await;
    started.store(true, Ordering::Relaxed);
    orphan.join().unwrap();
    cluster.unwrap().stop().await.unwrap();
    embedded::start(&settings(folder.path())).await.unwrap().stop().await.unwrap();
    assert!(!half_made.exists(), "the next start at the latest removes it");
}

#[tokio::test]
async fn a_cluster_of_another_major_version_is_refused_untouched() {
    let folder = TempDir::new().unwrap();
    let settings = settings(folder.path());
    embedded::start(&settings).await.unwrap().stop().await.unwrap();
    let version = folder.path().join("postgres/PG_VERSION");
    fs::write(&version, "9\n").unwrap();

    let error = embedded::start(&settings).await.unwrap_err();
    assert!(matches!(&error, EmbeddedError::OtherVersion { cluster, .. } if cluster == "9"));
    assert!(error.to_string().contains("apt-get install postgresql-9"), "{error}");
    assert_eq!(fs::read_to_string(version).unwrap(), "9\n");
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_works_all_the_same() {
    let folder = TempDir::new().unwrap();
    let settings =
        settings(&folder.path().join("a-very-long-name".repeat(6)).join("shop, \"mine\""));
    let cluster = embedded::start(&settings).await.unwrap();
    let by_url: PgConnectOptions = cluster.url(DATABASE).parse().unwrap();
    assert_eq!(ask(&by_url, "SELECT current_database()::text").await, "conche");
    let found = embedded::running(&settings.data_dir).await.unwrap().unwrap();
    assert_eq!(ask(&found, "SELECT current_database()::text").await, "conche");
    cluster.stop().await.unwrap();
    assert!(!found.get_socket().unwrap().exists(), "nothing is left outside");
}

#[tokio::test]
async fn an_empty_bindir_is_named() {
    let folder = TempDir::new().unwrap();
    let settings = Settings {
        data_dir: folder.path().join("shop"),
        pg_bindir: Some(folder.path().to_owned()),
        path: Some(OsString::new()),
    };
    let error = embedded::start(&settings).await.unwrap_err();
    assert!(error.to_string().starts_with("PG_BINDIR is "), "{error}");
}
