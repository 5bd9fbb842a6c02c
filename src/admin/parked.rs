//! Streams that a read model cannot go on with: who waits, why, and what to do about it.

use std::process::ExitCode;

use anyhow::Context as _;
use event_schemas::ids::StoreId;
use projections::{
    Projection, ProjectionError,
    parked::{self, Discard, ParkedStream, Resumed},
};
use serde_json::json;
use sqlx::PgPool;

use super::{
    log::{line, pretty, stream_text},
    projections::find,
};
use crate::{config::Parked, terminal::say};

/// Does what is asked. Failure if a stream that should go on still waits.
pub async fn run(owner: &PgPool, ask: &Parked) -> anyhow::Result<ExitCode> {
    match ask {
        Parked::List { name, json } => list(owner, name.as_deref(), *json).await?,
        Parked::Show { which } => {
            let (projection, stream) = one(owner, which).await?;
            show(owner, projection, &stream).await?;
        }
        Parked::Retry { name, stream, store } => {
            let wanted = (stream.as_deref(), store.as_deref());
            return retry(owner, name.as_deref(), wanted).await;
        }
        Parked::Discard { which, reason, by, all } => {
            anyhow::ensure!(!reason.trim().is_empty(), "give a reason that others can understand");
            let (projection, stream) = one(owner, which).await?;
            let decision = Discard { reason, by, all: *all };
            let resumed = parked::discard(owner, projection, &stream, decision).await?;
            let resumed = resumed.context("the stream has moved on meanwhile; look again")?;
            let gone = if *all { stream.events } else { 1 };
            say(&format!("{}: {gone} events left out for good", name_of(&stream)))?;
            report(&stream, &resumed)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(owner: &PgPool, name: Option<&str>, as_json: bool) -> anyhow::Result<()> {
    let streams = parked::list(owner, name.map(find).transpose()?).await?;
    if as_json {
        for stream in &streams {
            let row = json!({
                "projection": stream.projection,
                "store_id": StoreId(stream.store_id),
                "stream": name_of(stream),
                "position": stream.position,
                "version": stream.version,
                "events": stream.events,
                "since": stream.since,
                "attempts": stream.attempts,
                "reason": stream.reason,
            });
            say(&row.to_string())?;
        }
        return Ok(());
    }
    if streams.is_empty() {
        return Ok(say("nothing is parked")?);
    }
    for stream in &streams {
        say(&describe(stream))?;
    }
    Ok(())
}

async fn show(
    owner: &PgPool,
    projection: &Projection,
    stream: &ParkedStream,
) -> anyhow::Result<()> {
    say(&describe(stream))?;
    let events = parked::events(owner, projection, stream).await?;
    for event in &events {
        say(&format!("{}\n{}", line(event), pretty(event)))?;
    }
    let more = stream.events - i64::try_from(events.len())?;
    if more > 0 {
        say(&format!("and {more} more: `conche log show {}`", name_of(stream)))?;
    }
    Ok(())
}

async fn retry(
    owner: &PgPool,
    name: Option<&str>,
    (stream, store): (Option<&str>, Option<&str>),
) -> anyhow::Result<ExitCode> {
    let wanted = name.map(find).transpose()?;
    let mut streams = parked::list(owner, wanted).await?;
    streams.retain(|parked| is(parked, stream, store));
    if streams.is_empty() {
        let what = stream.map_or_else(|| "nothing".to_owned(), |stream| format!("no `{stream}`"));
        say(&format!("{what} is parked"))?;
        return Ok(if stream.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut flowing = true;
    for stream in &streams {
        match parked::retry(owner, find(&stream.projection)?, stream).await {
            Ok(Some(resumed)) => {
                report(stream, &resumed)?;
                flowing &= resumed.parked.is_none();
            }
            // Somebody else was faster.
            Ok(None) => {}
            Err(error @ ProjectionError::NeedsRebuild { .. }) => {
                say(&format!("{}: {error}", name_of(stream)))?;
                flowing = false;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(if flowing { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The stream that is meant.
async fn one(
    owner: &PgPool,
    which: &crate::config::ParkedStream,
) -> anyhow::Result<(&'static Projection, ParkedStream)> {
    let projection = find(&which.name)?;
    let mut streams = parked::list(owner, Some(projection)).await?;
    streams.retain(|parked| is(parked, Some(&which.stream), which.store.as_deref()));
    let found = streams.pop().with_context(|| {
        format!("no `{}` is parked in {}; `list` shows what is", which.stream, which.name)
    })?;
    anyhow::ensure!(streams.is_empty(), "several stores have one: name yours with `--store`");
    Ok((projection, found))
}

fn is(parked: &ParkedStream, stream: Option<&str>, store: Option<&str>) -> bool {
    stream.is_none_or(|stream| name_of(parked) == stream)
        && store.is_none_or(|slug| StoreId::of_slug(slug).0 == parked.store_id)
}

fn name_of(stream: &ParkedStream) -> String {
    stream_text(&stream.category, stream.stream_id)
}

fn describe(stream: &ParkedStream) -> String {
    format!(
        "{:<8} {}  store {}\n  {} events since {}, from position {}, tried {} times\n  {}",
        stream.projection,
        name_of(stream),
        StoreId(stream.store_id),
        stream.events,
        stream.since.format("%Y-%m-%d %H:%M:%S"),
        stream.position,
        stream.attempts,
        stream.reason
    )
}

fn report(stream: &ParkedStream, resumed: &Resumed) -> anyhow::Result<()> {
    let (projection, name) = (&stream.projection, name_of(stream));
    let applied = resumed.applied;
    let outcome = match &resumed.parked {
        None => format!("{projection}: {name} flows again, {applied} events applied"),
        Some(parked) => format!(
            "{projection}: {name} still WAITS at position {} with {} events, {applied} applied: {}",
            parked.position, parked.events, parked.reason
        ),
    };
    Ok(say(&outcome)?)
}
