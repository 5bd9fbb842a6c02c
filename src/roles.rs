//! What a process can be. A role runs until it is told to stop.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use api_kit::Limits;
use chrono::{SubsecRound as _, Utc};
use commands::Ctx;
use event_store::{Engine, pool::Role, refusals, wakeups};
use providers::Providers;
use read_api::Reads;
use sagas::{GRACE, SagaCtx};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinSet,
};
use uuid::Uuid;
use vault::Vault;
use write_api::WriteState;

use crate::{
    config::{Listen, Place, ReadApi, Reading, Token, Up},
    database::{Database, data_dir},
    http::{self, Door},
    keys,
    terminal::{announce, say},
};

/// How long tasks may take to finish what they are doing after they were told to stop. Longer
/// than any request.
const STOP_DEADLINE: Duration = Duration::from_secs(35);

/// How often partitions are made ahead and old command records dropped. Often, because without
/// one nothing can be appended: a machine that slept for weeks, or whose clock was wrong when the
/// process started, has none for now.
const MAINTENANCE_EVERY: Duration = Duration::from_mins(1);

/// Digits of a second that PostgreSQL keeps: a time that is stored reads back the same.
const MICROSECONDS: u16 = 6;

/// The tasks of a process and the switch that stops them.
struct Tasks {
    set: JoinSet<anyhow::Result<()>>,
    stop: watch::Sender<bool>,
    terminate: Signal,
    interrupt: Signal,
}

impl Tasks {
    /// To be made first of all: from here on a signal is remembered until [`Tasks::run`], so that
    /// one that comes during the start ends in a clean stop, too.
    fn new() -> anyhow::Result<Tasks> {
        Ok(Tasks {
            set: JoinSet::new(),
            stop: watch::Sender::new(false),
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    fn add(&mut self, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.set.spawn(task);
    }

    /// Runs until a signal comes, a task ends or the server behind `database` goes; then stops
    /// everything and waits for it, the database last.
    async fn run(mut self, mut database: Database, engine: &Engine) -> anyhow::Result<()> {
        let cause = tokio::select! {
            _ = self.terminate.recv() => Ok(()),
            _ = self.interrupt.recv() => Ok(()),
            () = database.exited() => Err(anyhow::anyhow!("PostgreSQL has stopped by itself")),
            Some(ended) = self.set.join_next() => ended.context("a task panicked").flatten(),
        };
        self.stop.send_replace(true);
        let finish = async { while self.set.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_DEADLINE, finish).await.is_err() {
            tracing::warn!("some tasks did not stop in time");
        }
        self.set.shutdown().await;
        engine.drain().await;
        database.close().await?;
        cause
    }
}

/// Where the real clock and real ids enter.
pub async fn ctx(database: &Database) -> anyhow::Result<Ctx> {
    let pool = database.pool(Role::Writer).await?;
    #[expect(clippy::disallowed_methods, reason = "the one place where real ids enter")]
    let new_id: fn() -> Uuid = || Uuid::now_v7();
    #[expect(clippy::disallowed_methods, reason = "the one place where the real clock enters")]
    let now = Arc::new(|| Utc::now().trunc_subsecs(MICROSECONDS));
    Ok(Ctx { engine: Engine::new(pool, new_id), now, new_id })
}

/// Everything in one process.
pub async fn up(place: &Place, up: &Up) -> anyhow::Result<()> {
    let mut tasks = Tasks::new()?;
    let database = Database::open(place).await?;
    database.migrate().await?;
    let ctx = ctx(&database).await?;
    add_wakeups(&mut tasks, &database, &ctx.engine);
    let door = door(&mut tasks, place, &database)?;
    let keys = door.keys.clone();
    let vault = database.vault(place).await?;
    let saga = saga_ctx(&database, &ctx, Providers::of_accounts(vault.clone())).await?;
    let reads = add_reads(&mut tasks, &database, &up.reading, &ctx.engine).await?;
    let write = write_state(&mut tasks, &database, (&ctx, &saga), vault);
    let app = http::both(door, write, reads, database.probe())?;
    let address = serve(&mut tasks, up.listen.listen, app).await?;
    for projection in projections::ALL {
        add_projector(&mut tasks, &database, projection, &ctx.engine).await?;
    }
    add_saga(&mut tasks, saga.clone());
    add_maintenance(&mut tasks, &database).await?;
    greet(place, &database, address, &keys, &ctx);
    if up.demo {
        tasks.add(demo(saga, tasks.stop.subscribe()));
    }
    tasks.run(database, &ctx.engine).await
}

/// What a role in a process of its own begins with: a database of this version, and word of what
/// other processes append.
async fn begin(place: &Place) -> anyhow::Result<(Tasks, Database, Ctx)> {
    let mut tasks = Tasks::new()?;
    let database = Database::open(place).await?;
    database.require_migrated().await?;
    let ctx = ctx(&database).await?;
    add_wakeups(&mut tasks, &database, &ctx.engine);
    Ok((tasks, database, ctx))
}

/// The command API alone.
pub async fn write_api(place: &Place, listen: &Listen) -> anyhow::Result<()> {
    let (mut tasks, database, ctx) = begin(place).await?;
    let door = door(&mut tasks, place, &database)?;
    let vault = database.vault(place).await?;
    let saga = saga_ctx(&database, &ctx, Providers::of_accounts(vault.clone())).await?;
    let write = write_state(&mut tasks, &database, (&ctx, &saga), vault);
    let app = http::write(door, write, database.probe())?;
    let address = serve(&mut tasks, listen.listen, app).await?;
    add_maintenance(&mut tasks, &database).await?;
    announce(&format!("command API on http://{address}"));
    tasks.run(database, &ctx.engine).await
}

/// The query API alone.
pub async fn read_api(place: &Place, read_api: &ReadApi) -> anyhow::Result<()> {
    let (mut tasks, database, ctx) = begin(place).await?;
    let door = door(&mut tasks, place, &database)?;
    let reads = add_reads(&mut tasks, &database, &read_api.reading, &ctx.engine).await?;
    let app = http::read(door, &ctx, reads, database.probe())?;
    let address = serve(&mut tasks, read_api.listen.listen, app).await?;
    announce(&format!("query API on http://{address}"));
    tasks.run(database, &ctx.engine).await
}

/// One projector.
pub async fn projector(place: &Place, name: &str) -> anyhow::Result<()> {
    let projection = crate::admin::projections::find(name)?;
    let (mut tasks, database, ctx) = begin(place).await?;
    add_projector(&mut tasks, &database, projection, &ctx.engine).await?;
    announce(&format!("projector {name}"));
    tasks.run(database, &ctx.engine).await
}

/// The process manager.
pub async fn saga(place: &Place) -> anyhow::Result<()> {
    let (mut tasks, database, ctx) = begin(place).await?;
    let providers = Providers::of_accounts(database.vault(place).await?);
    add_saga(&mut tasks, saga_ctx(&database, &ctx, providers).await?);
    add_maintenance(&mut tasks, &database).await?;
    announce("process manager");
    tasks.run(database, &ctx.engine).await
}

/// Migrations and partitions, then the end.
pub async fn migrate(place: &Place) -> anyhow::Result<()> {
    let database = Database::open(place).await?;
    database.migrate().await?;
    say(&format!("{} is at this version", database.place()))?;
    database.close().await
}

/// What the edge needs, with the task that writes what it refused. That ends by itself once
/// nothing is served any more and all is written.
fn door(tasks: &mut Tasks, place: &Place, database: &Database) -> anyhow::Result<Door> {
    let (refusals, journal) = refusals::journal();
    let pool = database.journal();
    tasks.add(async move {
        journal.run(pool).await;
        Ok(())
    });
    let keys = keys::load(&data_dir(place))?;
    Ok(Door { keys, limits: Limits::default(), refusals })
}

/// What commands work with, with the task that stores what payment providers send. That ends by
/// itself once nothing is served any more.
fn write_state(
    tasks: &mut Tasks,
    database: &Database,
    (ctx, saga): (&Ctx, &SagaCtx),
    vault: Vault,
) -> WriteState {
    let (inbox, ingest) = sagas::inbox::inbox(saga.pool.clone());
    let pool = database.ingest();
    tasks.add(async move {
        ingest.run(pool).await;
        Ok(())
    });
    WriteState::new(ctx.clone(), saga.clone(), vault, inbox)
}

async fn serve(
    tasks: &mut Tasks,
    address: SocketAddr,
    app: axum::Router,
) -> anyhow::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind(address).await;
    let listener = listener.with_context(|| {
        format!("cannot listen on {address}; `--listen` or CONCHE_LISTEN names another address")
    })?;
    let address = listener.local_addr()?;
    let mut stop = tasks.stop.subscribe();
    tasks.add(async move {
        let stopped = async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        Ok(axum::serve(listener, app).with_graceful_shutdown(stopped).await?)
    });
    Ok(address)
}

/// What queries work with, and the task that follows the read models for them.
async fn add_reads(
    tasks: &mut Tasks,
    database: &Database,
    reading: &Reading,
    engine: &Engine,
) -> anyhow::Result<Reads> {
    let reads = Reads::new(database.sources(reading).await?);
    let (follower, wakeups, stop) = (reads.clone(), engine.appended(), tasks.stop.subscribe());
    tasks.add(async move {
        follower.follow(wakeups, stop).await;
        Ok(())
    });
    Ok(reads)
}

/// What this process appends wakes the others, and the other way round.
fn add_wakeups(tasks: &mut Tasks, database: &Database, engine: &Engine) {
    let (engine, pool, stop) = (engine.clone(), database.wakeups(), tasks.stop.subscribe());
    tasks.add(async move {
        Box::pin(wakeups::run(engine, pool, stop)).await;
        Ok(())
    });
}

async fn add_projector(
    tasks: &mut Tasks,
    database: &Database,
    projection: &'static projections::Projection,
    engine: &Engine,
) -> anyhow::Result<()> {
    let (pool, owner) = (database.pool(Role::Projector).await?, database.owner().await?);
    let (wakeups, stop) = (engine.appended(), tasks.stop.subscribe());
    tasks.add(async move {
        projections::prepare(&owner, projection, stop.clone()).await;
        owner.close().await;
        projections::run(pool, projection, wakeups, stop).await;
        Ok(())
    });
    Ok(())
}

fn add_saga(tasks: &mut Tasks, saga: SagaCtx) {
    let stop = tasks.stop.subscribe();
    tasks.add(async move {
        sagas::run(saga, stop).await;
        Ok(())
    });
}

async fn add_maintenance(tasks: &mut Tasks, database: &Database) -> anyhow::Result<()> {
    let owner = database.owner().await?;
    let mut stop = tasks.stop.subscribe();
    tasks.add(async move {
        loop {
            let stopped = stop.wait_for(|stop| *stop);
            if tokio::time::timeout(MAINTENANCE_EVERY, stopped).await.is_ok() {
                return Ok(());
            }
            if let Err(error) = crate::database::maintain(&owner).await {
                tracing::error!("keeping the log's partitions failed: {error:#}");
            }
        }
    });
    Ok(())
}

/// What the process manager works with: connections of its own, because a crowd of requests waits
/// for what it does and must not take the connections it does it with. `payments` move the money.
pub async fn saga_ctx(
    database: &Database,
    ctx: &Ctx,
    payments: impl Into<Providers>,
) -> anyhow::Result<SagaCtx> {
    let engine = ctx.engine.beside(database.pool(Role::Writer).await?);
    let ctx = Ctx { engine, ..ctx.clone() };
    let pool = database.pool(Role::Process).await?;
    let saga = SagaCtx::new(ctx, pool, payments);
    Ok(SagaCtx { grace: GRACE, ..saga })
}

async fn demo(saga: SagaCtx, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    tokio::select! {
        loaded = crate::demo::load(&saga) => match loaded {
            Ok(summary) => announce(&summary),
            // The shop runs without its demo; the next start tries again.
            Err(error) => tracing::error!("loading the demo shop failed: {error:#}"),
        },
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
    }
    let _ = stop.wait_for(|stop| *stop).await;
    Ok(())
}

fn greet(
    place: &Place,
    database: &Database,
    address: SocketAddr,
    keys: &api_kit::TokenKeys,
    ctx: &Ctx,
) {
    let store = crate::config::DEFAULT_STORE.to_owned();
    let token = Token { store, permissions: Vec::new(), days: 30 };
    let token = keys::issue(keys, &token, ctx.now());
    let (data, keys) = (database.place(), data_dir(place).display().to_string());
    let data = if data == keys {
        format!("{data} (PostgreSQL, token key, vault key)")
    } else {
        format!("{data} (PostgreSQL), {keys} (token key, vault key)")
    };
    announce(&format!(
        "Conche is up.\n\
         \n  API            http://{address}/api/v1\
         \n  documentation  http://{address}/docs\
         \n  health         http://{address}/health/ready\
         \n  data           {data}\n\
         \nA development token for the store `demo`, good for 30 days:\n\n{token}\n\
         \nTry:  curl -H \"Authorization: Bearer $(conche token)\" http://{address}/api/v1/products\n\
         Stop: Ctrl-C\n",
    ));
}
