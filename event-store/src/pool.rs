//! Connections: under which role, with which time-outs, and always outside a transaction.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Executor as _, PgConnection};

use crate::connection::within;

/// What a pool may do: the role each of its connections takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Whoever the URL names: migrations, partitions, roles. Serves nobody.
    Owner,
    /// Appends. Sees every store.
    Writer,
    /// Reads the log and keeps what the processes have to do. Sees every store, cannot append.
    Process,
    /// Reads the log and writes read models. Sees every store, cannot append.
    Projector,
    /// Keeps the keys of persons and the secrets of stores. Sees nothing else.
    Vault,
    /// Answers queries. Sees the store its transaction sets with `app.store`, and no other.
    Reader,
}

impl Role {
    /// The role in PostgreSQL; `None` stays who it is.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Role::Owner => None,
            Role::Writer => Some("conche_writer"),
            Role::Process => Some("conche_process"),
            Role::Projector => Some("conche_projector"),
            Role::Vault => Some("conche_vault"),
            Role::Reader => Some("conche_reader"),
        }
    }

    /// Longest run of one statement. Requests end sooner than their callers' patience (30 s);
    /// projectors rewrite whole tables when they rebuild; owners build indexes.
    fn statement_timeout(self) -> &'static str {
        match self {
            Role::Owner => "0",
            Role::Writer | Role::Process | Role::Vault | Role::Reader => "20s",
            Role::Projector => "10min",
        }
    }

    /// How long a transaction may wait for its client. One whose process hangs would hold up vacuum
    /// and, worse, the head of the log; that of a projector holds the checkpoint, and another process
    /// stands by that has to take over within 5 s.
    fn idle_timeout(self) -> &'static str {
        match self {
            Role::Owner | Role::Writer | Role::Process | Role::Vault | Role::Reader => "30s",
            Role::Projector => "3s",
        }
    }

    /// Whether a commit may be acknowledged before it is on the disk. Only for roles that store
    /// nothing but what follows from the log (docs/adr/0012): a crash of the server takes back
    /// their last 600 ms at most, effects and checkpoint together, and they are made again. Never
    /// for a role that can append.
    fn may_forget(self) -> bool {
        match self {
            Role::Owner | Role::Writer | Role::Vault | Role::Reader => false,
            Role::Process | Role::Projector => true,
        }
    }
}

/// How long a request waits for a free connection before it is refused as busy.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection is replaced after this long, so that memory the server keeps per connection does
/// not grow for ever.
pub const CONNECTION_LIFETIME_MAX: Duration = Duration::from_mins(30);

/// Settings of every session, with those that depend on the role beside them.
const SESSION: [(&str, &str); 7] = [
    // No lock of ours is held for more than a moment; who waits longer waits behind a fault.
    ("lock_timeout", "10s"),
    // A server notices within this time that the client of a running statement is gone, so that a
    // cut cable does not hold a lock for the two hours TCP would wait.
    ("client_connection_check_interval", "5s"),
    // The same for answers that nobody acknowledges.
    ("tcp_user_timeout", "10s"),
    // The hook below may begin a transaction inside one; no notice of that over the wire.
    ("client_min_messages", "error"),
    ("timezone", "UTC"),
    // A report that takes a tenth of a second would be compiled for a whole one first.
    ("jit", "off"),
    // `log.append` must see what was committed while it waited for the head, whatever the default
    // of the database is.
    ("default_transaction_isolation", "read committed"),
];

/// Why a server is not fit to hold the log.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(
        "PostgreSQL runs with {setting} = {value}: a crash would lose acknowledged commands. \
         Set {setting} = on (ALTER SYSTEM SET {setting} = 'on'; SELECT pg_reload_conf();) and \
         start again"
    )]
    Unsafe { setting: &'static str, value: String },
    #[error("PostgreSQL {version} is too old: at least 15 is needed")]
    TooOld { version: String },
    #[error("PostgreSQL cannot be asked for its settings")]
    Database(#[from] sqlx::Error),
}

/// A pool of up to `connections_max` connections under `role`, which connects on first use.
///
/// One of [`Role::Reader`] lends each connection inside a transaction of its own: read only, at one
/// snapshot (repeatable read), rolled back when it comes back. Begin none in it.
pub fn connect_lazy(options: PgConnectOptions, role: Role, connections_max: u32) -> PgPool {
    options_of(role, connections_max).connect_lazy_with(session(options, role))
}

/// Like [`connect_lazy`], but connects once and checks the server (see [`check_server`]) first.
pub async fn connect(
    options: PgConnectOptions,
    role: Role,
    connections_max: u32,
) -> Result<PgPool, ServerError> {
    let pool = options_of(role, connections_max).connect_with(session(options, role)).await?;
    check_server(&pool, role).await?;
    Ok(pool)
}

/// Connect options with the role and every setting of a session. All travel in the start-up
/// message, so they cost no round trip, and `RESET` and `ROLLBACK` come back to them.
pub fn session(options: PgConnectOptions, role: Role) -> PgConnectOptions {
    options
        .options(SESSION)
        .options([("statement_timeout", role.statement_timeout())])
        .options([("idle_in_transaction_session_timeout", role.idle_timeout())])
        .options(role.may_forget().then_some(("synchronous_commit", "off")))
        .options(role.name().map(|name| ("role", name)))
}

/// Pool options with our hooks. Every connection is rolled back when it comes back and again
/// before it is handed out: sqlx 0.9 puts a connection back whose `BEGIN` was cancelled on its
/// way, and the next borrower's writes would be acknowledged inside that transaction and lost
/// with it. Rolling back is a round trip, and takes the place of the ping sqlx would send.
pub fn pool_options(connections_max: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .max_lifetime(CONNECTION_LIFETIME_MAX)
        .test_before_acquire(false)
        .before_acquire(|conn, _| Box::pin(roll_back(conn)))
        .after_release(|conn, _| Box::pin(roll_back(conn)))
}

fn options_of(role: Role, connections_max: u32) -> PgPoolOptions {
    let options = pool_options(connections_max);
    match role {
        Role::Owner | Role::Writer | Role::Process | Role::Projector | Role::Vault => options,
        Role::Reader => options
            .after_connect(|conn, _| Box::pin(async { begin_snapshot(conn).await.map(drop) }))
            .before_acquire(|conn, _| Box::pin(begin_snapshot(conn)))
            .after_release(|conn, _| Box::pin(end_snapshot(conn))),
    }
}

/// Connections for queries are lent inside a transaction that reads one state of everything and
/// changes nothing, and come back out of it: the round trip that makes sure of the connection
/// begins the transaction as well.
async fn begin_snapshot(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let begin = "BEGIN; ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    within(ACQUIRE_TIMEOUT, conn.execute(begin)).await.map(|_| true)
}

async fn end_snapshot(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    within(ACQUIRE_TIMEOUT, conn.execute("ROLLBACK")).await.map(|_| true)
}

async fn roll_back(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    // Alone, `ROLLBACK` would leave a warning in the server's log nearly each time. If a failed
    // transaction is open, `BEGIN` is refused and the connection is closed, which is as good.
    let rolled_back = within(ACQUIRE_TIMEOUT, conn.execute("BEGIN; ROLLBACK")).await;
    rolled_back.map(|_| true)
}

/// Refuses a server that could lose what it has acknowledged to sessions of `role`, or is too old.
pub async fn check_server(pool: &PgPool, role: Role) -> Result<(), ServerError> {
    let settings = sqlx::query!(
        r#"SELECT current_setting('fsync') AS "fsync!",
                  current_setting('full_page_writes') AS "full_page_writes!",
                  current_setting('synchronous_commit') AS "synchronous_commit!",
                  current_setting('server_version') AS "version!",
                  current_setting('server_version_num')::int AS "number!""#
    )
    .fetch_one(pool)
    .await?;
    if settings.number < VERSION_MIN {
        return Err(ServerError::TooOld { version: settings.version });
    }
    let switches = [
        ("fsync", settings.fsync),
        ("full_page_writes", settings.full_page_writes),
        ("synchronous_commit", settings.synchronous_commit),
    ];
    let off = switches.into_iter().find(|(setting, value)| {
        value == "off" && !(role.may_forget() && *setting == "synchronous_commit")
    });
    match off {
        Some((setting, value)) => Err(ServerError::Unsafe { setting, value }),
        None => Ok(()),
    }
}

/// `server_version_num` of the first version with `security_invoker` views.
const VERSION_MIN: i32 = 150_000;
