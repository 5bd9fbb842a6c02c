//! The PostgreSQL behind the program: a private one, or the server it was told of.

use std::path::PathBuf;

use anyhow::Context as _;
use event_store::pool::{self, Role, ServerError};
use sqlx::{Connection as _, PgConnection, PgPool, postgres::PgConnectOptions};
use vault::Vault;

use crate::{
    config::{Place, Reading, Switch},
    embedded::{self, Cluster},
    keys,
};

/// Connections of a pool. All of `up`, its fourteen pools and what the engine opens beside them, stay
/// below the 100 of a default server, by a third; they open only under load.
fn connections_max(role: Role) -> u32 {
    match role {
        Role::Owner | Role::Writer | Role::Reader => 12,
        // Claims, and putting away what they came to, of many processes at a time: short ones.
        Role::Process => 8,
        // A key for each new address is a commit of its own; what several commit is one flush.
        Role::Vault => 6,
        // One batch at a time, and a word about how it went.
        Role::Projector => 2,
    }
}

/// Connections of the task that follows the read models, and of what asks where a time is in the
/// log: they see every store.
const FOLLOWER_MAX: u32 = 2;

/// Connections for probes: one that answers, one that waits for it.
const PROBES_MAX: u32 = 2;

/// Migrations of the whole program, forward only.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// A reachable server with the program's database.
#[derive(Debug)]
pub struct Database {
    options: PgConnectOptions,
    /// The private cluster, if that is what we use.
    cluster: Option<Cluster>,
}

impl Database {
    /// Connects to the server of the settings; without one, starts or adopts the private cluster
    /// of the data directory.
    pub async fn open(place: &Place) -> anyhow::Result<Database> {
        if let Some(url) = &place.database_url {
            let options = url.parse().context("DATABASE_URL is no PostgreSQL address")?;
            return Ok(Database { options, cluster: None });
        }
        let settings = embedded::Settings {
            data_dir: data_dir(place),
            pg_bindir: place.pg_bindir.clone(),
            path: place.path.clone(),
        };
        let cluster = embedded::start(&settings).await?;
        Ok(Database {
            options: cluster.connect_options(embedded::DATABASE),
            cluster: Some(cluster),
        })
    }

    /// Like [`Database::open`], for what has no use for an empty database: a mistyped data
    /// directory is refused, not filled with a new cluster.
    pub async fn open_existing(place: &Place) -> anyhow::Result<Database> {
        let data_dir = data_dir(place);
        // What cannot be seen is left to `open`, which says whose it is.
        if place.database_url.is_none()
            && matches!(data_dir.join("postgres").try_exists(), Ok(false))
        {
            anyhow::bail!(
                "there is no shop in {}; `conche up` makes one, `--data-dir` or CONCHE_DATA_DIR names another place",
                data_dir.display()
            );
        }
        Database::open(place).await
    }

    /// Brings the schema to this version and makes partitions ahead of need. Refuses a server
    /// that would lose acknowledged writes.
    pub async fn migrate(&self) -> anyhow::Result<()> {
        let owner = self.owner().await?;
        MIGRATIONS.run(&owner).await.context("migrating the database")?;
        maintain(&owner).await?;
        owner.close().await;
        Ok(())
    }

    /// Refuses a database that is not at this version: roles that serve must not guess.
    pub async fn require_migrated(&self) -> anyhow::Result<()> {
        let owner = self.owner().await?;
        let found = applied(&owner).await;
        owner.close().await;
        let (found, wanted) = (found?, MIGRATIONS.iter().map(|migration| migration.version).max());
        anyhow::ensure!(
            found.is_some(),
            "the database at {} is empty; `conche up` or `conche migrate` prepares it",
            self.place()
        );
        anyhow::ensure!(
            found == wanted,
            "the database at {} is not at this program's version; run `conche migrate`",
            self.place()
        );
        Ok(())
    }

    /// Connections as the owner of the schema: for migrations, rebuilds and audits only.
    pub async fn owner(&self) -> anyhow::Result<PgPool> {
        self.pool(Role::Owner).await
    }

    /// Connections that act as one of the serving roles.
    pub async fn pool(&self, role: Role) -> anyhow::Result<PgPool> {
        let max = connections_max(role);
        let pool = pool::connect(self.options.clone(), role, max).await;
        if let Err(ServerError::Database(sqlx::Error::PoolTimedOut)) = pool {
            // The pool only says that it has waited; one more attempt says what for.
            let once = PgConnection::connect_with(&self.options);
            if let Ok(Err(error)) = tokio::time::timeout(pool::ACQUIRE_TIMEOUT, once).await {
                let unreachable = || format!("PostgreSQL at {} does not let us in", self.place());
                return Err(error).with_context(unreachable);
            }
        }
        pool.context("connecting to PostgreSQL")
    }

    /// The vault, under the master keys of the settings or of the data directory.
    pub async fn vault(&self, place: &Place) -> anyhow::Result<Vault> {
        Ok(Vault::new(self.pool(Role::Vault).await?, keys::vault(place)?))
    }

    /// Connections of the probes, which see how old the events are that nobody has applied yet.
    pub fn probe(&self) -> PgPool {
        pool::connect_lazy(self.options.clone(), Role::Projector, PROBES_MAX)
    }

    /// Where queries read.
    pub async fn sources(&self, reading: &Reading) -> anyhow::Result<read_api::Sources> {
        let reader = self.pool(Role::Reader).await?;
        let cached = reading.read_cache == Switch::On;
        let Some(url) = &reading.read_url else {
            let follower = pool::connect_lazy(self.options.clone(), Role::Projector, FOLLOWER_MAX);
            return Ok(read_api::Sources { reader, follower, primary: None, cached });
        };
        // The replica may be away now and come back.
        let replica: PgConnectOptions =
            url.parse().context("CONCHE_READ_URL is no PostgreSQL address")?;
        let lazy = |role, max| pool::connect_lazy(replica.clone(), role, max);
        Ok(read_api::Sources {
            reader: lazy(Role::Reader, connections_max(Role::Reader)),
            follower: lazy(Role::Projector, FOLLOWER_MAX),
            primary: Some(reader),
            cached,
        })
    }

    /// The one connection of the journal of refusals: neither waits for the other, the commands
    /// and what is noted of those that were refused.
    pub fn journal(&self) -> PgPool {
        pool::connect_lazy(self.options.clone(), Role::Writer, 1)
    }

    /// The one connection that stores what payment providers send: one statement after the other,
    /// each with all that has come meanwhile.
    pub fn ingest(&self) -> PgPool {
        pool::connect_lazy(self.options.clone(), Role::Writer, 1)
    }

    /// The one connection that hears what other processes append.
    pub fn wakeups(&self) -> PgPool {
        pool::connect_lazy(self.options.clone(), Role::Process, 1)
    }

    /// Where the data is, for people.
    pub fn place(&self) -> String {
        match &self.cluster {
            Some(cluster) => cluster.data_dir().display().to_string(),
            None => format!(
                "{}:{}/{}",
                self.options.get_host(),
                self.options.get_port(),
                self.options.get_database().unwrap_or("postgres")
            ),
        }
    }

    /// Completes when a private server has ended by itself.
    pub async fn exited(&mut self) {
        match &mut self.cluster {
            Some(cluster) => cluster.exited().await,
            None => std::future::pending().await,
        }
    }

    /// Stops a private server that this program started.
    pub async fn close(self) -> anyhow::Result<()> {
        if let Some(cluster) = self.cluster {
            cluster.stop().await?;
        }
        Ok(())
    }
}

/// The data directory of the settings.
pub fn data_dir(place: &Place) -> PathBuf {
    place.data_dir.clone().unwrap_or_else(|| {
        embedded::default_data_dir(place.xdg_data_home.clone(), place.home.clone())
    })
}

/// Makes partitions ahead of need and drops what is past its keeping: command records, refusals.
/// Repeat at will.
pub async fn maintain(owner: &PgPool) -> anyhow::Result<()> {
    let mut conn = owner.acquire().await?;
    event_store::partitions::ensure(&mut conn).await.context("making partitions")?;
    let dropped = event_store::partitions::drop_expired_commands(&mut conn).await;
    if let Err(error) = dropped {
        // Only space is at stake, and the next round tries again.
        tracing::warn!("old command records stay for now: {error}");
    }
    event_store::refusals::prune(&mut conn).await.context("pruning the journal of refusals")?;
    Ok(())
}

/// Version of the last migration that is in the database; `None` if it is empty.
async fn applied(owner: &PgPool) -> anyhow::Result<Option<i64>> {
    let known = "SELECT to_regclass('public._sqlx_migrations') IS NOT NULL";
    if !sqlx::query_scalar::<_, bool>(known).fetch_one(owner).await? {
        return Ok(None);
    }
    let last = "SELECT max(version) FROM public._sqlx_migrations WHERE success";
    Ok(sqlx::query_scalar(last).fetch_one(owner).await?)
}
