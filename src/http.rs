//! Both APIs, the documentation and the probes, behind one edge.

use api_kit::{Edge, Limits, Refused, TokenKeys, openapi, problem};
use axum::{Router, response::Redirect, routing::get};
use chrono::{DateTime, Utc};
use commands::Ctx;
use event_store::refusals::{Refusals, RefusedCommand};
use read_api::Reads;
use sqlx::PgPool;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};
use write_api::WriteState;

use crate::health::{self, Probed};

/// Actors over HTTP, as the metadata of events calls them: tokens are given to people.
const ACTOR_KIND: &str = "user";

/// What the edge works with.
#[derive(Clone, Debug)]
pub struct Door {
    /// Keys of the tokens it opens to.
    pub keys: TokenKeys,
    /// How many it lets in at once.
    pub limits: Limits,
    /// Where it notes what was refused.
    pub refusals: Refusals,
}

/// Everything under one address.
pub fn both(door: Door, state: WriteState, reads: Reads, probe: PgPool) -> anyhow::Result<Router> {
    let ctx = &state.ctx.clone();
    let (write, write_document) = write_api::api().finish()?;
    let inbox = Some(state.inbox.clone());
    let probed = Probed { pool: probe, reads: Some(reads.clone()), inbox };
    let (read, read_document) = read_api::router(reads)?;
    let router = write.with_state(state).merge(read);
    finish(door, ctx, router, openapi::merged(write_document, read_document), probed)
}

/// The command API alone.
pub fn write(door: Door, state: WriteState, probe: PgPool) -> anyhow::Result<Router> {
    let ctx = &state.ctx.clone();
    let (router, document) = write_api::api().finish()?;
    let probed = Probed { pool: probe, reads: None, inbox: Some(state.inbox.clone()) };
    finish(door, ctx, router.with_state(state), document, probed)
}

/// The query API alone.
pub fn read(door: Door, ctx: &Ctx, reads: Reads, probe: PgPool) -> anyhow::Result<Router> {
    let probed = Probed { pool: probe, reads: Some(reads.clone()), inbox: None };
    let (router, document) = read_api::router(reads)?;
    finish(door, ctx, router, document, probed)
}

fn finish(
    door: Door,
    ctx: &Ctx,
    router: Router,
    document: OpenApi,
    about: Probed,
) -> anyhow::Result<Router> {
    let (probes, probes_document) = health::api().finish()?;
    let document = openapi::merged(document, probes_document);
    // The validator would be asked from somebody else's server.
    let page = Config::default().validator_url("none").persist_authorization(false);
    let router = router
        .merge(probes.with_state(about))
        .merge(problem::pages::router())
        .route("/", get(async || Redirect::temporary("/docs/")))
        .merge(SwaggerUi::new("/docs").url("/openapi.json", document).config(page));
    let Ctx { now, new_id, .. } = ctx.clone();
    let Door { keys, limits, refusals } = door;
    let clock = now.clone();
    let journal = move |refused| refusals.record(entry(refused, clock()));
    let edge = Edge::new(keys, move || now(), new_id).limited(limits).with_journal(journal);
    Ok(edge.wrap(router))
}

/// A refusal as the journal keeps it.
fn entry(refused: Refused, refused_at: DateTime<Utc>) -> RefusedCommand {
    RefusedCommand {
        store_id: refused.store_id.0,
        refused_at,
        actor_kind: ACTOR_KIND,
        actor_id: refused.actor_id.0,
        operation: refused.operation,
        code: refused.code,
        status: i16::try_from(refused.status).expect("an HTTP status has three digits"),
        request_id: refused.request_id.to_string(),
        correlation_id: refused.correlation_id,
        path: refused.path,
    }
}

/// The OpenAPI document of everything under one address.
pub fn document() -> anyhow::Result<OpenApi> {
    let (_, write) = write_api::api().finish()?;
    let (_, read) = read_api::api().finish()?;
    let (_, probes) = health::api().finish()?;
    Ok(openapi::merged(openapi::merged(write, read), probes))
}
