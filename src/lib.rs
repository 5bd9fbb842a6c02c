//! The program: wiring only. What it does is in the crates; this puts them together.

use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sqlx::PgPool;

pub mod admin;
pub mod config;
#[cfg(feature = "failpoints")]
pub mod crash;
pub mod database;
pub mod demo;
pub mod embedded;
pub mod export;
pub mod health;
pub mod http;
pub mod import;
pub mod keys;
pub mod load;
pub mod roles;
pub mod telemetry;
pub mod terminal;

use config::{
    Analysts, Bench, Command, Config, Export, Import, Log, Money, Place, Projections, Sagas, Vault,
    Webhooks,
};
use database::{Database, data_dir};

/// Open files of the process: its 4,096 live clients, and as many other connections and files.
const FILES_MAX: u64 = 8_192;

/// Runs the program as its arguments ask.
pub fn run(config: Config) -> anyhow::Result<ExitCode> {
    telemetry::start(&config.place)?;
    if let Err(error) = allow_files() {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    #[cfg(feature = "failpoints")]
    config.place.crash_at.as_ref().map(crash::arm).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(dispatch(config));
    match result {
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        result => result,
    }
}

/// Systems give a process 1,024 open files unless it asks for more.
fn allow_files() -> nix::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if FILES_MAX <= soft {
        return Ok(());
    }
    if hard < FILES_MAX {
        tracing::warn!(hard, wanted = FILES_MAX, "the hard limit of open files is low");
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(FILES_MAX), hard)
}

/// Whether the reader of our output has gone, as in `conche log export | head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

async fn dispatch(config: Config) -> anyhow::Result<ExitCode> {
    let place = &config.place;
    match &config.command {
        Command::Up(up) => roles::up(place, up).await?,
        Command::WriteApi(listen) => roles::write_api(place, listen).await?,
        Command::ReadApi(read_api) => roles::read_api(place, read_api).await?,
        Command::Projector { name } => roles::projector(place, name).await?,
        Command::Saga => roles::saga(place).await?,
        Command::Migrate => roles::migrate(place).await?,
        Command::Token(token) => {
            let dir = data_dir(place);
            if !keys::exists(&dir) {
                terminal::complain(&format!(
                    "note: {} had no key, so one is made; the token is good for a conche of that --data-dir",
                    dir.display()
                ));
            }
            let keys = keys::load(&dir)?;
            #[expect(clippy::disallowed_methods, reason = "tokens are for people, now")]
            let now = chrono::Utc::now();
            terminal::say(&keys::issue(&keys, token, now))?;
        }
        Command::Rebuild(ask) => {
            return as_owner(place, async |owner| admin::rebuild::rebuild(owner, ask).await).await;
        }
        Command::Projections(ask) => {
            return as_owner(place, async |owner| projections_command(owner, ask).await).await;
        }
        Command::Log(ask) => return as_owner(place, async |owner| log(owner, ask).await).await,
        Command::Bench(Bench::Load(load)) => return load::run(place, load).await,
        Command::Analysts(ask) => {
            return as_owner(place, async |owner| analysts(owner, ask).await).await;
        }
        Command::Sagas(Sagas::Stuck { json }) => return admin::sagas::stuck(place, *json).await,
        Command::Vault(Vault::Rotate) => admin::vault::rotate(place).await?,
        Command::Payments(ask) => admin::payments::run(place, ask).await?,
        Command::Money(Money::Verify) => return admin::money::verify(place).await,
        Command::Webhooks(Webhooks::Parked(ask)) => admin::webhooks::parked(place, ask).await?,
        Command::Export(Export::Analytics(export)) => export::run(place, export).await?,
        Command::Import(Import::Products(file)) => return import::products(place, file).await,
        Command::Import(Import::Orders(file)) => return import::orders(place, file).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens a database of this version, does something as its owner, closes it.
async fn as_owner(
    place: &Place,
    act: impl AsyncFnOnce(&PgPool) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let database = Database::open_existing(place).await?;
    let result = match database.require_migrated().await {
        Ok(()) => {
            let owner = database.owner().await?;
            let result = act(&owner).await;
            // Before the server goes: a connection that loses it complains.
            owner.close().await;
            result
        }
        Err(error) => Err(error),
    };
    database.close().await?;
    result
}

async fn projections_command(owner: &PgPool, ask: &Projections) -> anyhow::Result<ExitCode> {
    match ask {
        Projections::Status => admin::projections::status(owner).await?,
        Projections::Verify { name } => {
            return admin::projections::verify(owner, name.as_deref()).await;
        }
        Projections::Parked(ask) => return admin::parked::run(owner, ask).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn analysts(owner: &PgPool, ask: &Analysts) -> anyhow::Result<ExitCode> {
    match ask {
        Analysts::Allow(grant) => admin::analysts::allow(owner, &grant.role, &grant.store).await?,
        Analysts::Deny(grant) => admin::analysts::deny(owner, &grant.role, &grant.store).await?,
        Analysts::List => admin::analysts::list(owner).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn log(owner: &PgPool, ask: &Log) -> anyhow::Result<ExitCode> {
    match ask {
        Log::Tail { lines, follow } => admin::log::tail(owner, *lines, *follow).await?,
        Log::Show { stream } => admin::log::show(owner, stream).await?,
        Log::Export { ndjson: _, after } => admin::log::export(owner, *after).await?,
        Log::Stats { json } => admin::log::stats(owner, *json).await?,
        Log::Refusals { store, limit } => admin::log::refusals(owner, store, *limit).await?,
        Log::Check => return admin::log::check(owner).await,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_open_the_files_of_all_its_clients() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 1_024.min(hard), hard).unwrap();
        allow_files().unwrap();
        let expected = (FILES_MAX.min(hard), hard);
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), expected);
    }
}
