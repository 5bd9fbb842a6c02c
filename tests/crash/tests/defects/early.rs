//! The defect itself and not what it leaves behind: a server that says "committed" before it is.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use conche::embedded::{self, Cluster, DATABASE, Settings};
use crash::{Evidence, checks};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tempfile::TempDir;

use crate::shop::Shop;

/// How long commands come in before the server dies: some hundred of them.
const RUSH: Duration = Duration::from_millis(700);

fn settings(data_dir: &Path) -> Settings {
    #[expect(clippy::disallowed_methods, reason = "as the program has them")]
    let pg_bindir = std::env::var("PG_BINDIR").ok().map(Into::into);
    Settings { data_dir: data_dir.to_owned(), pg_bindir, path: std::env::var_os("PATH") }
}

/// What a server with this setting still knows after it was killed under a rush of commands.
async fn lost(
    settings: &Settings,
    mut cluster: Cluster,
    synchronous_commit: &str,
) -> (Cluster, Vec<String>) {
    let pg = cluster.connect_options(DATABASE);
    let mut conn = PgConnection::connect_with(&pg).await.unwrap();
    // The program refuses such a server. Somebody may turn it off while it runs.
    let set = format!("ALTER DATABASE {DATABASE} SET synchronous_commit = {synchronous_commit}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();

    let mut shop = Shop::new(pg.clone(), synchronous_commit);
    let began = Instant::now();
    let variant = shop.product(synchronous_commit, 1).await;
    while began.elapsed() < RUSH {
        shop.receive(variant, 1).await;
    }
    kill_all(&settings.data_dir);
    cluster.exited().await;
    drop(cluster);
    let history = shop.close().await;

    let cluster = embedded::start(settings).await.unwrap();
    let evidence = Evidence { pg, history, quiet: false };
    let violations = checks::all(&evidence).await.unwrap();
    (cluster, violations.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn a_server_that_says_committed_too_early_loses_answers() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder.path().join("shop"));
    let cluster = embedded::start(&settings).await.unwrap();
    migrate(&cluster.connect_options(DATABASE)).await;
    let (cluster, said) = lost(&settings, cluster, "on").await;
    assert!(said.is_empty(), "nothing is lost by a server that waits: {said:#?}");
    let (cluster, said) = lost(&settings, cluster, "off").await;
    assert!(!said.is_empty(), "the last answers are lost");
    let lost = |what: &String| what.starts_with("INV-4") && what.ends_with("and is lost");
    assert!(said.iter().all(lost), "{said:#?}");
    cluster.stop().await.unwrap();
}

async fn migrate(pg: &PgConnectOptions) {
    let mut conn = PgConnection::connect_with(pg).await.unwrap();
    test_database::migrate(&mut conn).await;
    conn.close().await.unwrap();
}

/// The server and its children, so that none of them gets to write what it has in memory.
fn kill_all(data_dir: &Path) {
    let recorded = fs::read_to_string(data_dir.join("postgres/postmaster.pid")).unwrap();
    let postmaster: i32 = recorded.lines().next().unwrap().trim().parse().unwrap();
    for pid in std::iter::once(postmaster).chain(children(postmaster)) {
        // A child may have ended in between.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn children(parent: i32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parent_of = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything; behind it stand the state and the parent.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<i32>().ok()
    };
    pids.filter(|&pid: &i32| parent_of(pid) == Some(parent)).collect()
}
